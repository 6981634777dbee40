//! What the routes answer, what is counted, and what is traced.

use crate::{
    http::ask,
    process::{Launch, eventually},
    watcher::{Watcher, attribute},
};

const TEXT: &str = "text/plain; charset=utf-8";

#[test]
fn every_route_answers_letter_by_letter() {
    let service = Launch::serve().quick_database().start();
    let home = "Development Prometheus-backed Flash App";
    let database = "Completed expensive database operation";
    for (path, body) in [("/", home), ("/database", database), ("/database/", database), ("/healthz", "ok\n")]
    {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        assert_eq!(answer.header("content-type"), TEXT, "{path}");
        assert_eq!(answer.header("content-length"), body.len().to_string(), "{path}");
    }
    for path in ["/metrics", "/metrics/"] {
        let answer = service.get(path);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        assert!(answer.body.contains("# TYPE requests_total counter\n"), "{}", answer.body);
    }
    for path in ["/nothing", "/database/x", "/databases", "//", "/metrics/x"] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (404, TEXT), "{path}");
    }
}

#[test]
fn head_is_get_without_a_body_and_other_methods_are_told_which_are_allowed() {
    let service = Launch::serve().quick_database().start();
    let address = service.address("service");
    for path in ["/", "/database", "/database/", "/healthz"] {
        let (get, head) = (ask(&address, &format!("GET {path}")), ask(&address, &format!("HEAD {path}")));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for header in ["content-type", "content-length"] {
            assert_eq!(head.header(header), get.header(header), "{path}");
        }
    }
    for path in ["/", "/database", "/database/", "/metrics", "/metrics/", "/healthz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let answer = ask(&address, &format!("{method} {path}"));
            assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"), "{method} {path}");
        }
    }
    // Neither a method that is not allowed nor a path that is not there is a request of an endpoint.
    assert_eq!(service.get("/metrics/").sum("requests_total", &[]), 6.0, "two of /, four of /database");
}

#[test]
fn requests_and_slow_are_counted_exactly_and_scrapes_are_not() {
    let service = Launch::serve().quick_database().start();
    for call in 0..20 {
        service.get("/");
        service.get("/healthz");
        service.get(if call % 2 == 0 { "/metrics" } else { "/metrics/" });
    }
    for _ in 0..3 {
        service.get("/database");
        service.get("/database/");
    }
    // A request is counted by the HTTP layer when its body has ended, which may be after it was read.
    let scrape = eventually("26 requests", || {
        let scrape = service.get("/metrics/");
        (scrape.sum("http_server_request_duration_seconds_count", &[]) == 26.0).then_some(scrape)
    });
    for line in [
        "# HELP requests_total Application Request Count",
        "# TYPE requests_total counter",
        "requests_total{endpoint=\"/\"} 20",
        "requests_total{endpoint=\"/database\"} 6",
        "# TYPE slow histogram",
        "slow_count{endpoint=\"/database\"} 6",
        "slow_bucket{endpoint=\"/database\",le=\"+Inf\"} 6",
    ] {
        assert_eq!(scrape.body.lines().filter(|known| *known == line).count(), 1, "{line}: {}", scrape.body);
    }
    assert_eq!(scrape.sum("requests_total", &[]), 26.0, "no other endpoint");
    let bound = |line: &str| Some(line.strip_prefix("slow_bucket{")?.split('"').nth(3)?.to_owned());
    let bounds: Vec<_> = scrape.body.lines().filter_map(bound).collect();
    let expected = "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 +Inf";
    assert_eq!(bounds.join(" "), expected);
    let sum = scrape.sample("slow_sum{endpoint=\"/database\"}").unwrap();
    assert!(sum > 0.0 && sum < 60.0, "seconds: {sum}");
    assert!(!scrape.body.contains("healthz") && !scrape.body.contains("/metrics"), "{}", scrape.body);
    assert!(!scrape.body.contains("otel_scope"), "{}", scrape.body);

    // What is evaluated at the scrape itself differs, and moves without it too.
    let evaluated = ["pushpull_scrape_", "process_", "tokio_runtime_"];
    let moved_by_scrapes = |body: &str| {
        let lines = body.lines().filter(|line| !evaluated.iter().any(|name| line.starts_with(name)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let again = service.get("/metrics");
    assert_eq!(moved_by_scrapes(&scrape.body), moved_by_scrapes(&again.body));
    assert_eq!(again.sample("pushpull_scrape_size_bytes"), Some(scrape.body.len() as f64));
    assert!(again.sample("pushpull_scrape_duration_seconds").unwrap() > 0.0);
}

#[test]
fn all_three_routes_carry_spans_and_the_query_is_a_child() {
    let watcher = Watcher::new();
    let collector = Launch::collect().arguments(&["--forward", &watcher.url()]).start();
    let service = Launch::serve()
        .pushing_to("grpc", &collector.address("otlp_grpc"))
        .exporting_often()
        .quick_database()
        .start();
    for path in ["/healthz", "/", "/database", "/database/", "/metrics", "/metrics/", "/nothing"] {
        service.get(path);
    }
    for path in ["/", "/database", "/database/", "/metrics", "/metrics/"] {
        let span = watcher.span(&format!("GET {path}"));
        assert_eq!((span.kind, span.parent_id.as_str(), span.error), ("server", "", false), "{path}");
        for (key, value) in [
            ("http.request.method", "GET"),
            ("http.route", path),
            ("http.response.status_code", "200"),
            ("url.path", path),
            ("url.scheme", "http"),
        ] {
            assert_eq!(attribute(&span.attributes, key), Some(value), "{path}");
        }
    }
    let query = watcher.span("SELECT reading");
    let parent = eventually("the query's parent", || {
        watcher.spans().into_iter().find(|span| span.span_id == query.parent_id)
    });
    assert_eq!((query.kind, parent.kind), ("client", "server"));
    assert_eq!(query.trace_id, parent.trace_id);
    assert!(parent.name.starts_with("GET /database"), "{}", parent.name);
    assert_eq!(attribute(&query.attributes, "db.system.name"), Some("sqlite"));
    assert_eq!(attribute(&query.attributes, "db.operation.name"), Some("SELECT"));

    service.stop().assert_orderly();
    collector.stop().assert_orderly();
    let spans = watcher.spans();
    assert_eq!(spans.len(), 8, "6 requests and 2 queries, and not one of /healthz: {spans:?}");
}

/// Whoever opens a port reads what is there, and so does who mistakes a path.
#[test]
fn every_port_says_what_it_has() {
    let collector = Launch::collect().arguments(&["--console", "127.0.0.1:0"]).start();
    let service = Launch::serve()
        .pushing_to("grpc", &collector.address("otlp_grpc"))
        .variable("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
        .variable("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
        .start();
    for (address, names) in [
        (collector.address("exposition"), &["/metrics", "/healthz", "/readyz"][..]),
        (
            collector.address("otlp_http"),
            &["/v1/metrics", "/v1/traces", "/v1/logs", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        ),
        (collector.address("otlp_grpc"), &["OTLP over gRPC", "OTEL_EXPORTER_OTLP_ENDPOINT"]),
        (service.address("prometheus"), &["/metrics"]),
    ] {
        let home = ask(&address, "GET /");
        assert_eq!((home.status, home.header("content-type")), (200, TEXT), "{home:?}");
        let elsewhere = ask(&address, "GET /nothing");
        assert!(elsewhere.status == 404 || elsewhere.status == 415, "{elsewhere:?}");
        for name in names {
            assert!(home.body.contains(name), "{name}: {home:?}");
            let is_path = name.starts_with('/');
            assert!(!is_path || elsewhere.body.contains(name), "{name}: {elsewhere:?}");
        }
        let posted = ask(&address, "POST /");
        assert!((400..500).contains(&posted.status), "{posted:?}");
    }
    let elsewhere = ask(&collector.address("console"), "GET /nothing");
    assert_eq!((elsewhere.status, elsewhere.body.as_str()), (404, "There is no such page: try /\n"));
}
