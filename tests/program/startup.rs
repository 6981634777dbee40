//! What a person sees first, and where.

use crate::{
    http::ask,
    process::{Launch, Program, eventually},
};

/// What was printed by when it says how to stop, which is its end.
fn block(printed: impl Fn() -> String) -> String {
    eventually("the start-up text", || Some(printed()).filter(|text| text.ends_with("Ctrl-C stops\n\n")))
}

/// The links of a line that begins with `what`.
fn link(block: &str, what: &str) -> (String, String) {
    let line = block.lines().find(|line| line.trim_start().starts_with(&format!("{what} ")));
    let line = line.unwrap_or_else(|| panic!("no {what}: {block}"));
    let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
    let (address, path) = url.unwrap_or_else(|| panic!("no link: {line}")).split_once('/').unwrap();
    (address.to_owned(), format!("/{path}"))
}

#[test]
fn one_block_with_links_that_answer_and_then_quiet() {
    let service = Launch::text(&["serve", "--console", "127.0.0.1:0"]).quick_database().start();
    let block = block(|| service.stdout());
    for (what, expected) in [
        ("service", "Development Prometheus-backed Flash App"),
        ("pull", "# TYPE requests_total counter"),
        ("console", "<!DOCTYPE html>"),
        ("pushed", "pushpull_collector_series"),
    ] {
        let (address, path) = link(&block, what);
        let answer = ask(&address, &format!("GET {path}"));
        assert!(answer.status == 200 && answer.body.contains(expected), "{what}: {answer:?}");
    }
    let (address, _) = link(&block, "service");
    for path in ["/", "/database/", "/metrics/"] {
        assert!(block.contains(&format!("http://{address}{path}")), "{path}: {block}");
        ask(&address, &format!("GET {path}"));
    }
    for port in ["OTLP/gRPC", "OTLP/HTTP", "StatsD"] {
        assert!(block.contains(&format!("\n  {port} ")), "{port}: {block}");
    }
    assert!(block.contains("since no OTEL_EXPORTER_OTLP_ENDPOINT is set"), "{block}");
    assert!(block.lines().count() < 25, "short: {block}");
    let finished = service.stop();
    finished.assert_orderly();
    assert_eq!((finished.stdout, finished.stderr.as_str()), (block, ""));
}

#[test]
fn serve_is_the_default_command() {
    let service = Launch::text(&[]).start();
    let (address, path) = link(&block(|| service.stdout()), "service");
    assert_eq!(ask(&address, &format!("GET {path}")).status, 200);
    service.stop().assert_orderly();
}

#[test]
fn standard_output_carries_carbon_lines_alone() {
    let service = Launch::text(&["serve", "--graphite", "-"]).exporting_often().quick_database().start();
    let block = block(|| service.stderr());
    assert!(block.contains("Graphite's lines go to standard output"), "{block}");
    let (address, _) = link(&block, "service");
    for _ in 0..3 {
        ask(&address, "GET /");
    }
    eventually("three requests in Graphite's words", || {
        service.stdout().contains("requests;endpoint=/;service.name=pushpull 3 ").then_some(())
    });
    let finished = service.stop();
    finished.assert_orderly();
    assert_eq!(finished.stderr, block);
    for line in finished.stdout.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [path, value, seconds] = words[..] else { panic!("no carbon line: {line}") };
        assert!(path.contains(";service.name=pushpull"), "{line}");
        assert!(value.parse::<f64>().is_ok() && seconds.parse::<u32>().is_ok(), "{line}");
    }
}

/// What a person reads on the console's page.
fn page(program: &Program) -> String {
    let answer = ask(&program.address("console"), "GET /");
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = answer.body.split('<').filter_map(|part| Some(part.split_once('>')?.1));
    parts.collect::<String>().replace("&quot;", "\"")
}

#[test]
fn the_console_shows_both_views_of_the_embedded_collector() {
    let service =
        Launch::serve().arguments(&["--console", "127.0.0.1:0"]).exporting_often().quick_database().start();
    service.get("/database/");
    let page = eventually("the three signals on the page", || {
        let page = page(&service);
        let shown = [
            "requests_total{endpoint=\"/database\"}",
            "requests;endpoint=/database;service.name=pushpull",
            "SELECT reading",
            "database operation completed",
        ];
        shown.iter().all(|shown| page.contains(shown)).then_some(page)
    });
    for listener in ["service", "otlp_grpc", "otlp_http", "statsd", "exposition"] {
        assert!(page.contains(&service.address(listener)), "{listener}");
    }
    service.stop().assert_orderly();
}

#[test]
fn the_console_is_beside_an_endpoint_elsewhere_only_where_it_is_given() {
    let collector = Launch::collect().start();
    let endpoint = collector.address("otlp_grpc");
    let launch = || Launch::serve().pushing_to("grpc", &endpoint).quick_database();
    let without = launch().without_variable("PUSHPULL_CONSOLE").start();
    assert!(!without.listens("console"));

    let with = launch().arguments(&["--console", "127.0.0.1:0"]).start();
    assert!(!with.listens("otlp_grpc") && !with.listens("exposition"));
    with.get("/");
    let page = page(&with);
    assert!(page.contains("requests_total{endpoint=\"/\"}"), "what is pulled: {page}");
    assert!(page.contains(&with.address("service")), "{page}");
    with.stop().assert_orderly();
}

#[test]
fn collect_says_what_listens_and_shows_it() {
    let collector = Launch::text(&["collect", "--console", "127.0.0.1:0"]).start();
    let block = block(|| collector.stdout());
    let (address, path) = link(&block, "pushed");
    assert!(ask(&address, &format!("GET {path}")).body.contains("pushpull_collector_series 0"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&address, &format!("GET {path}")).status, 200, "{path}");
    }
    let (address, path) = link(&block, "console");
    assert_eq!(ask(&address, &format!("GET {path}")).status, 200);
    assert!(block.contains(&format!("\nOpen http://{address}/ to see what arrives\n")), "{block}");
    let finished = collector.stop_by("INT");
    finished.assert_orderly();
    assert_eq!((finished.stdout, finished.stderr.as_str()), (block, ""));
}

#[test]
fn collect_names_the_console_where_none_is_on() {
    let collector = Launch::text(&["collect"]).start();
    let block = block(|| collector.stdout());
    assert!(block.contains("\nTo see what arrives on a page, add --console 127.0.0.1:5001\n"), "{block}");
    collector.stop().assert_orderly();
}

#[test]
fn what_listens_on_all_addresses_is_shown_by_one_that_can_be_opened() {
    for (all, loopback) in [("0.0.0.0:0", "127.0.0.1:"), ("[::]:0", "[::1]:")] {
        if std::net::TcpListener::bind(all).is_err() {
            // A machine without IPv6.
            continue;
        }
        let launch = Launch::text(&["serve", "--listen", all, "--exposition", all]);
        let service = launch.arguments(&["--console", "127.0.0.1:0"]).quick_database().start();
        let block = block(|| service.stdout());
        for what in ["service", "pull", "pushed", "console"] {
            let (address, path) = link(&block, what);
            assert!(what == "console" || address.starts_with(loopback), "{what}: {block}");
            assert_eq!(ask(&address, &format!("GET {path}")).status, 200, "{what}");
        }
        assert!(!block.contains("0.0.0.0") && !block.contains("[::]"), "{block}");
        let told = "\nReachable from other machines: service, pushed\n";
        assert_eq!(block.matches(told).count(), 1, "{block}");
        service.stop().assert_orderly();
    }
}

/// Said where the name stands, and no reason not to start.
#[test]
fn a_name_that_does_not_resolve_is_told() {
    let told = |launch: Launch, sentence: &str| {
        let program = launch.start();
        let block = block(|| program.stdout());
        let line = block.lines().find(|line| line.starts_with(sentence)).unwrap_or_else(|| panic!("{block}"));
        assert!(
            line.contains("; but nosuch.invalid cannot be resolved now (")
                && line.ends_with("is tried again"),
            "{line}"
        );
        program.stop().assert_orderly();
    };
    for command in ["serve", "collect"] {
        let launch = Launch::text(&[command, "--graphite", "nosuch.invalid:2003"]);
        told(launch, "Graphite's lines go to nosuch.invalid:2003; but");
        let launch = Launch::text(&[command, "--forward", "http://nosuch.invalid:4318"]);
        told(launch, "Everything is forwarded by OTLP to http://nosuch.invalid:4318; but");
    }
    let launch = Launch::text(&["serve", "--stop-within", "100ms"]).pushing_to("grpc", "nosuch.invalid:4317");
    told(launch, "Telemetry (metrics, traces, logs) goes by OTLP to http://nosuch.invalid:4317; but");
    let known = Launch::text(&["collect", "--graphite", "localhost:2003"]).start();
    assert!(!block(|| known.stdout()).contains("cannot be resolved"), "{}", known.stdout());
    known.stop().assert_orderly();
}
