//! The console's page over real sockets: what it shows of a source and of the endpoints that it pulls, and
//! what it refuses.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

#[path = "console/elsewhere.rs"]
mod elsewhere;
#[path = "console/scopes.rs"]
mod scopes;
#[path = "console/support.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use pushpull::collector::view::{Service, Span};
use support::{Made, Served, ago, labels, listening, log, rows, section, series, span, text};
use tokio::net::{TcpListener, TcpSocket};

const TARGET: &str = "# TYPE target_info gauge\n\
    target_info{service_name=\"flash\",service_instance_id=\"one\"} 1\n";

async fn exposition(body: String) -> Served {
    Served::new(Router::new().route("/metrics/", get(move || async { body }))).await
}

#[tokio::test]
async fn shows_pulled_beside_pushed() {
    let scrapes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&scrapes);
    let endpoint = Served::new(Router::new().route(
        "/metrics/",
        get(move || async move {
            let scrapes = counted.fetch_add(1, Ordering::Relaxed) + 1;
            format!(
                "{TARGET}requests_total{{endpoint=\"/\"}} {}\n\
                 slow_bucket{{endpoint=\"/database\",le=\"+Inf\"}} 6\n\
                 slow_sum{{endpoint=\"/database\"}} 1.5250000000000001\n\
                 slow_count{{endpoint=\"/database\",empty=\"\",job=\"a\",instance=\"b\"}} 6\n\
                 odd +Inf\n",
                20 * scrapes
            )
        }),
    ))
    .await;
    let mut lost = series("flash", "two", "requests_total", &[("endpoint", "/")], 7.0);
    lost.graphite = None;
    let made = Made {
        series: vec![
            series("flash", "one", "slow_count", &[("endpoint", "/database")], 6.0),
            series("flash", "one", "requests_total", &[("endpoint", "/")], 19.0),
            series("flash", "one", "slow_bucket", &[("endpoint", "/database"), ("le", "+Inf")], 6.0),
            lost,
            series("", "", "old_hits_total", &[], 3.0),
        ],
        ..Made::default()
    };
    let console = Served::console(made, Vec::new(), vec![endpoint.url("/metrics/")]).await;

    let page = console.page().await;
    let shown = section(&page, "series");
    let mut table = rows(shown);
    for row in &mut table {
        let age = row.remove(3);
        assert!(age == "–" || age.ends_with(" s"), "{age}");
    }
    let expected = [
        ["odd", "+Inf", "–", "–"],
        ["requests_total{endpoint=\"/\"}", "20", "19", "requests_total;service.name=flash"],
        ["slow_count{endpoint=\"/database\"}", "6", "6", "slow_count;service.name=flash"],
        ["slow_sum{endpoint=\"/database\"}", "1.5250000000000001", "–", "–"],
        ["requests_total{endpoint=\"/\"}", "–", "7", "–"],
        ["old_hits_total", "–", "3", "old_hits_total;service.name="],
    ];
    assert_eq!(table, expected);
    let headings: Vec<_> =
        shown.split("<h3>").skip(1).map(|part| text(part.split("</h3>").next().unwrap())).collect();
    assert_eq!(headings, ["flash one", "flash two", "StatsD"]);

    let again = console.page().await;
    assert_eq!(rows(section(&again, "series"))[1][1], "40", "reloading pulls again");
}

#[tokio::test]
async fn keeps_an_endpoint_apart_that_does_not_say_whose_it_is() {
    let endpoint = exposition("requests_total{endpoint=\"/\"} 20\n".to_owned()).await;
    let made = Made {
        series: vec![series("flash", "one", "requests_total", &[("endpoint", "/")], 19.0)],
        ..Made::default()
    };
    let url = endpoint.url("/metrics/");
    let console = Served::console(made, Vec::new(), vec![url.clone()]).await;
    let page = console.page().await;
    let shown = section(&page, "series");
    let values: Vec<_> = rows(shown).into_iter().map(|row| (row[1].clone(), row[2].clone())).collect();
    assert_eq!(values, [("–".to_owned(), "19".to_owned()), ("20".to_owned(), "–".to_owned())]);
    assert!(shown.contains(&format!("<h3>{url}</h3>")), "{shown}");
}

#[tokio::test]
async fn says_which_endpoint_could_not_be_read_and_shows_the_rest() {
    let good = exposition(format!("{TARGET}up 1\nup{{ 2\ndown 3\nlast")).await;
    // Bound and not listening: the port is held, and every connection to it is refused.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing = held.local_addr().unwrap();
    // Nobody accepts here: the kernel takes the connection, and no answer ever comes.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failing =
        Served::new(Router::new().route("/metrics/", get(|| async { StatusCode::SERVICE_UNAVAILABLE })))
            .await;
    let huge = exposition("x".repeat((4 << 20) + 1)).await;
    let long = exposition("up 1\n".repeat(20_001)).await;
    let binary =
        Served::new(Router::new().route("/metrics/", get(|| async { b"up 1\n\xff 2\n".to_vec() }))).await;
    let urls = vec![
        good.url("/metrics/"),
        format!("http://{refusing}/metrics/").parse().unwrap(),
        format!("http://{}/metrics/", silent.local_addr().unwrap()).parse().unwrap(),
        failing.url("/metrics/"),
        huge.url("/metrics/"),
        long.url("/metrics/"),
        binary.url("/metrics/"),
        "https://localhost/metrics/".parse().unwrap(),
    ];
    let console = Served::console(Made::default(), Vec::new(), urls.clone()).await;
    let page = console.page().await;
    let shown = section(&page, "series");
    let reasons = [
        "2 malformed lines, the first: line 4: ",
        "could not be read: no connection: ",
        "could not be read: no full answer within 1s",
        "could not be read: it answered 503 Service Unavailable",
        "could not be read: the answer is larger than 4 MiB",
        "could not be read: the answer has more than 20000 samples",
        "could not be read: the answer is not UTF-8",
        "could not be read: only http: addresses can be pulled here",
    ];
    let items: Vec<_> = shown.split("<li>").skip(1).collect();
    assert_eq!(items.len(), urls.len());
    for ((item, url), reason) in items.iter().zip(&urls).zip(reasons) {
        let item = text(item);
        assert!(item.starts_with(&format!("Pulled from {url} ")) && item.contains(reason), "{item}");
    }
    let names: Vec<_> = rows(shown).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["down", "up"], "a malformed line costs only itself");
}

#[tokio::test]
async fn indents_spans_below_their_parents() {
    let id = "0AF7651916CD43DD8448EB211C80319C";
    let start = ago(10.0);
    let at = |millis| start + Duration::from_millis(millis);
    let mut query = span(id, "c", "b", "SELECT", at(2));
    query.error = true;
    query.attributes = labels(&[("db.system.name", "sqlite")]);
    let mut root = span(id, "a", "", "GET /database", start);
    root.duration = Duration::from_millis(250);
    let spans = vec![
        query,
        span(id, "d", "a", "respond", at(200)),
        span(id, "b", "a", "acquire", at(1)),
        root,
        span("0bf7651916cd43dd8448eb211c80319c", "e", "f", "adopted", at(500)),
    ];
    let made = Made { spans: spans.into_iter().map(Arc::new).collect(), ..Made::default() };
    let page = Served::console(made, Vec::new(), Vec::new()).await.page().await;
    let shown = section(&page, "traces");
    let outline: Vec<_> = shown
        .split("class=\"depth d")
        .skip(1)
        .map(|part| {
            let name = part.split("class=\"name\">").nth(1).unwrap().split('<').next().unwrap();
            format!("{}{name}", " ".repeat(part[..1].parse().unwrap()))
        })
        .collect();
    assert_eq!(outline, ["adopted", "GET /database", " acquire", "  SELECT", " respond"]);
    let table = rows(shown);
    assert!(table[0][0].contains("parent not here"), "{table:?}");
    assert_eq!(table[1][2..], ["+0 s", "250 ms"]);
    assert!(table[3][0].contains("error") && table[3][0].contains("db.system.name=sqlite"), "{table:?}");
    assert_eq!(table[4][2..], ["+200 ms", "5.00 ms"]);
    let bar = shown.split("<rect class=\"part\"").nth(5).unwrap().split('>').next().unwrap();
    assert!(bar.contains("x=\"800.0\"") && bar.contains("width=\"20.0\""), "{bar}");
    assert!(shown.contains(&format!("id=\"trace-{}\"", id.to_lowercase())));
}

#[tokio::test]
async fn links_a_log_record_to_its_trace_where_that_is_on_the_page() {
    let here = "0af7651916cd43dd8448eb211c80319c";
    let gone = "1af7651916cd43dd8448eb211c80319c";
    let made = Made {
        spans: vec![Arc::new(span(here, "a", "", "GET /", ago(4.0)))],
        logs: vec![Arc::new(log("older", gone)), Arc::new(log("newer", here)), Arc::new(log("newest", ""))],
        ..Made::default()
    };
    let page = Served::console(made, Vec::new(), Vec::new()).await.page().await;
    let shown = section(&page, "logs");
    let bodies: Vec<_> = rows(shown).into_iter().map(|row| (row[3].clone(), row[4].clone())).collect();
    let expected = [("newest", "–"), ("newer", "0af76519…"), ("older", "1af76519…")];
    assert_eq!(bodies, expected.map(|(body, trace)| (body.to_owned(), trace.to_owned())));
    assert!(shown.contains(&format!("href=\"#trace-{here}\"")));
    assert!(!shown.contains("#trace-1"), "no link into nothing");
}

#[tokio::test]
async fn shows_losses_in_red_where_there_are_any() {
    let loss = |reason: &str, items| ("graphite".to_owned(), "metrics".to_owned(), reason.to_owned(), items);
    let made = Made { losses: vec![loss("queue_full", 12), loss("too_long", 0)], ..Made::default() };
    let page = Served::console(made, Vec::new(), Vec::new()).await.page().await;
    let shown = section(&page, "losses");
    assert_eq!(
        rows(shown),
        [["graphite", "metrics", "queue_full", "12"], ["graphite", "metrics", "too_long", "0"]]
    );
    assert_eq!(shown.matches("<tr class=\"lost\">").count(), 1);
    assert!(page.contains("<span class=\"count bad\">12</span>"), "also at the top");

    let calm = Served::console(Made::default(), Vec::new(), Vec::new()).await.page().await;
    assert!(section(&calm, "losses").contains("Nothing was refused or dropped."));
    assert!(!calm.contains("class=\"count bad\""));
}

#[tokio::test]
async fn says_what_to_do_while_there_is_nothing() {
    let service = listening("service", "127.0.0.1:5000", Some("http://127.0.0.1:5000/"));
    let otlp = || listening("OTLP/gRPC", "127.0.0.1:4317", None);
    let page = Served::console(Made::default(), vec![service, otlp()], Vec::new()).await.page().await;
    assert!(section(&page, "listening").contains("<a href=\"http://127.0.0.1:5000/\">"));
    for (id, url) in [
        ("services", "http://127.0.0.1:5000/"),
        ("series", "http://127.0.0.1:5000/"),
        ("traces", "http://127.0.0.1:5000/database/"),
        ("logs", "http://127.0.0.1:5000/database/"),
    ] {
        let shown = section(&page, id);
        assert!(shown.contains(&format!("Open <a href=\"{url}\">{url}</a>")), "{shown}");
    }
    let alone = Served::console(Made::default(), vec![otlp()], Vec::new()).await.page().await;
    assert!(
        section(&alone, "services")
            .contains("<code>OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317</code>")
    );
}

/// Data with markup in every field; each field has a number of its own.
fn hostile() -> (Made, usize) {
    let mut fields = 0;
    let mut field = || {
        fields += 1;
        format!("<script>f{fields}</script>\"'&")
    };
    let mut hit = series("", "", "", &[], 1.0);
    hit.service = field();
    hit.instance = field();
    hit.sample = field();
    hit.labels = vec![(field(), field())];
    hit.graphite = Some(field());
    let span = Span {
        service: field(),
        trace_id: field(),
        span_id: "a".to_owned(),
        parent_id: String::new(),
        name: field(),
        attributes: vec![(field(), field())],
        ..span("", "", "", "", ago(1.0))
    };
    let mut record = log("", "");
    record.service = field();
    record.severity = field().chars().take(20).collect();
    record.body = field();
    record.attributes = vec![(field(), field())];
    let service = Service {
        name: field(),
        version: field(),
        instance: field(),
        heard: ago(1.0),
        points: 1,
        spans: 1,
        logs: 1,
    };
    let losses = vec![(field(), field(), field(), 1)];
    let made = Made {
        hidden: Vec::new(),
        series: vec![hit],
        spans: vec![Arc::new(span)],
        logs: vec![Arc::new(record)],
        losses,
        services: vec![service],
    };
    (made, fields)
}

#[tokio::test]
async fn escapes_whatever_came_from_the_wire() {
    let (made, fields) = hostile();
    let pulled = "target_info{service_name=\"<script>p1</script>\",service_instance_id=\"<script>p2</script>\"} 1\n\
        up{a=\"<script>p3</script>\"} 1\n\
        <script>p4</script>\n";
    let endpoint = exposition(pulled.to_owned()).await;
    let console = Served::console(
        made,
        vec![listening("<script>l1</script>", "<script>l2</script>", Some("javascript:alert(1)"))],
        vec![endpoint.url("/metrics/")],
    )
    .await;
    let page = console.page().await;
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("href=\"javascript:"), "{page}");
    let names = (1..=fields).map(|n| format!("f{n}")).chain((1..=4).map(|n| format!("p{n}")));
    for name in names.chain(["l1".to_owned(), "l2".to_owned()]) {
        assert!(page.contains(&format!("&lt;script&gt;{name}&lt;")), "{name} is not shown: {page}");
    }
    for forbidden in [" style=", " onclick=", " onerror=", "<form", "<iframe", "http-equiv"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(!page.contains(" id=\"trace-"), "an id that is not hexadecimal makes no anchor");
}

#[tokio::test]
async fn bounds_every_list_and_every_text() {
    let long = "long ".repeat(10_000);
    let mut record = log(&long, "");
    record.attributes = (0..30).map(|n| (format!("k{n}"), long.clone())).collect();
    let trace = |n: u64| Arc::new(span(&format!("{n:032x}"), "a", "", "GET /", ago(100.0 - n as f64)));
    let mut wide: Vec<_> =
        (0..100).map(|n| Arc::new(span("ff", &format!("{n:016x}"), "", &long, ago(1.0)))).collect();
    let made = Made {
        hidden: Vec::new(),
        series: (0..250).map(|n| series("flash", "one", &format!("s{n:03}"), &[("l", &long)], 1.0)).collect(),
        spans: (0..25).map(trace).chain(wide.drain(..)).collect(),
        logs: std::iter::repeat_n(Arc::new(record), 60).collect(),
        losses: (0..130).map(|n| (format!("place {n}"), long.clone(), long.clone(), 1)).collect(),
        services: (0..70)
            .map(|n| Service {
                name: format!("{n} {long}"),
                version: long.clone(),
                instance: long.clone(),
                heard: ago(1.0),
                points: 1,
                spans: 1,
                logs: 1,
            })
            .collect(),
    };
    let page = Served::console(made, Vec::new(), Vec::new()).await.page().await;
    for (id, shown, more) in [
        ("services", 50, "and 20 more services"),
        ("series", 200, "and 50 more series"),
        ("traces", 60 + 19, "and 6 older traces"),
        ("logs", 50, "and 10 older records"),
        ("losses", 100, "and 30 more reasons"),
    ] {
        let section = section(&page, id);
        assert_eq!(rows(section).len(), shown, "{id}");
        assert!(section.contains(more), "{id}: {more}");
    }
    assert!(section(&page, "traces").contains("and 40 more spans"));
    assert!(section(&page, "logs").contains("and 22 more"));
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[tokio::test]
async fn sets_the_headers_on_every_answer() {
    let console = Served::console(Made::default(), Vec::new(), Vec::new()).await;
    for (request, host, status) in [
        ("GET / HTTP/1.1", "Host: localhost", 200),
        ("GET /style.css HTTP/1.1", "Host: [::1]:5001", 200),
        ("GET /nothing HTTP/1.1", "Host: 127.0.0.1:5001", 404),
        ("POST / HTTP/1.1", "Host: localhost:1", 405),
        ("GET / HTTP/1.1", "Host: rebound.example", 421),
    ] {
        let answer = console.ask(request, &[host]).await;
        assert_eq!(answer.status, status, "{request} {host}");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
             frame-ancestors 'none'"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let style = console.ask("GET /style.css HTTP/1.1", &["Host: localhost"]).await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(style.body.contains("prefers-color-scheme"));
}

#[tokio::test]
async fn answers_get_and_head_only() {
    let console = Served::console(Made::default(), Vec::new(), Vec::new()).await;
    let head = console.ask("HEAD / HTTP/1.1", &["Host: localhost"]).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(head.body, "");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in ["/", "/style.css"] {
            let answer = console.ask(&format!("{method} {path} HTTP/1.1"), &["Host: localhost"]).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), "GET,HEAD");
        }
    }
}

#[tokio::test]
async fn answers_no_request_for_another_name() {
    let made =
        Made { series: vec![series("secret service", "one", "requests_total", &[], 1.0)], ..Made::default() };
    let console = Served::console(made, Vec::new(), Vec::new()).await;
    let refused: [(&str, &[&str]); 7] = [
        ("GET / HTTP/1.1", &["Host: rebound.example"]),
        ("GET / HTTP/1.1", &["Host: rebound.example:5001"]),
        ("GET / HTTP/1.1", &["Host: localhost.rebound.example"]),
        ("GET / HTTP/1.1", &["Host: localhost", "Host: rebound.example"]),
        ("GET http://rebound.example/ HTTP/1.1", &["Host: localhost"]),
        ("GET / HTTP/1.1", &["Host: 192.0.2.1"]),
        ("GET / HTTP/1.1", &[]),
    ];
    for (request, headers) in refused {
        let answer = console.ask(request, headers).await;
        assert_eq!(answer.status, 421, "{request} {headers:?}");
        assert_eq!(answer.body.lines().count(), 1, "{}", answer.body);
        assert!(!answer.body.contains("secret"));
    }
    let answer = console.ask("GET http://localhost:5001/ HTTP/1.1", &["Host: LOCALHOST:5001"]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("secret service"));
}
