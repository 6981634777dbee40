//! What a console shows that is elsewhere: links, listeners by the host that was asked, and pushed values out of
//! another process's exposition.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use pushpull::{collector::view::Service, console::Console};
use url::Url;

use crate::support::{Made, Served, ago, listening, nothing, rows, section, series, text};

async fn exposition(body: &'static str) -> Served {
    Served::new(Router::new().route("/metrics", get(move || async move { body }))).await
}

const PULLED: &str = "# TYPE target_info gauge\n\
    target_info{service_name=\"till\",service_instance_id=\"one\"} 1\n\
    requests_total{endpoint=\"/\"} 20\n\
    slow_count{endpoint=\"/database\"} 6\n\
    scrape_size 7\n";

/// The console of a service that pushes to a collector with this exposition.
async fn beside(pulled: &Served, pushed: Url) -> Served {
    Served::of(Console { pull: vec![pulled.url("/metrics")], pushed: Some(pushed), ..nothing() }).await
}

fn headings(html: &str) -> Vec<String> {
    html.split("<h3>").skip(1).map(|part| text(part.split("</h3>").next().unwrap())).collect()
}

#[tokio::test]
async fn shows_what_a_collector_elsewhere_has_of_this_service_beside_what_is_pulled() {
    let pulled = exposition(PULLED).await;
    let pushed = exposition(
        "target_info{job=\"shop/till\",instance=\"one\",service_version=\"1\"} 1\n\
         requests_total{job=\"shop/till\",instance=\"one\",endpoint=\"/\"} 19\n\
         slow_bucket{job=\"shop/till\",instance=\"one\",endpoint=\"/database\",le=\"+Inf\"} 6\n\
         slow_count{exported_job=\"shop/till\",exported_instance=\"one\",job=\"bridge\",instance=\"b:1\",endpoint=\"/database\"} 6\n\
         requests_total{job=\"shop/till\",instance=\"two\",endpoint=\"/\"} 3\n\
         requests_total{job=\"other\",instance=\"three\",endpoint=\"/\"} 400\n\
         pushpull_collector_series 5\n",
    )
    .await;
    let page = beside(&pulled, pushed.url("/metrics")).await.page().await;
    let shown = section(&page, "series");
    let expected = [
        vec!["scrape_size", "7", "–"],
        vec!["requests_total{endpoint=\"/\"}", "20", "19"],
        vec!["slow_count{endpoint=\"/database\"}", "6", "6"],
        vec!["requests_total{endpoint=\"/\"}", "–", "400"],
        vec!["requests_total{endpoint=\"/\"}", "–", "3"],
        vec!["pushpull_collector_series", "–", "5"],
    ];
    assert_eq!(rows(shown), expected);
    let url = pushed.url("/metrics");
    assert_eq!(headings(shown), ["shop/till one", "other three", "shop/till two", url.as_str()]);
    assert!(text(shown).contains(&format!("Pushed values read from {url} at ")), "{shown}");
    assert!(!shown.contains(&format!("href=\"{url}\"")), "its name may be another network's: {shown}");
    for id in ["services", "traces", "logs", "losses", "signals", "faults", "load"] {
        assert!(!page.contains(&format!("<section id=\"{id}\"")), "nothing of {id} is in this process");
    }
}

#[tokio::test]
async fn says_why_what_was_pushed_could_not_be_read() {
    let pulled = exposition(PULLED).await;
    let failing =
        Served::new(Router::new().route("/metrics", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))).await;
    // Nobody accepts there: the kernel takes the connection, and no answer ever comes.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent: Url = format!("http://{}/metrics", silent.local_addr().unwrap()).parse().unwrap();
    // Bound and not listening: every connection is refused.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing: Url = format!("http://{}/metrics", held.local_addr().unwrap()).parse().unwrap();
    for (pushed, reason) in [
        (failing.url("/metrics"), "it answered 503 Service Unavailable"),
        (refusing, "no connection: "),
        (silent, "no full answer within 1s"),
    ] {
        let page = beside(&pulled, pushed.clone()).await.page().await;
        let shown = section(&page, "series");
        let said = format!("Pushed values read from {pushed} could not be read: {reason}");
        assert!(text(shown).contains(&said), "{said}: {}", text(shown));
        assert_eq!(rows(shown).len(), 3, "what is pulled is shown all the same");
    }
}

#[tokio::test]
async fn links_lead_to_the_host_that_the_request_named() {
    let links =
        [("Prometheus", "http://0.0.0.0:9090/graph"), ("Grafana <3", "https://grafana.example/d/x?a=1&b=2")];
    let console = Served::of(Console {
        links: links.map(|(name, url)| (name.to_owned(), url.parse().unwrap())).to_vec(),
        listening: vec![
            listening("service", "0.0.0.0:5000", Some("http://0.0.0.0:5000/")),
            listening("OTLP/gRPC", "[::]:4317", None),
            listening("StatsD", "10.0.0.1:8125", None),
        ],
        source: Some(Arc::new(Made {
            services: vec![Service {
                name: "till".to_owned(),
                version: String::new(),
                instance: String::new(),
                heard: ago(1.0),
                points: 1,
                spans: 1,
                logs: 1,
            }],
            series: vec![series("till", "one", "requests_total", &[], 1.0)],
            ..Made::default()
        })),
        token: pushpull::console::Token::new("0123456789abcdef"),
        hosts: pushpull::hosts::Hosts::default(),
        ..nothing()
    })
    .await;
    let page = async |host: &str| {
        let answer = console.ask("GET / HTTP/1.1", &[host, "Authorization: Bearer 0123456789abcdef"]).await;
        assert_eq!(answer.status, 200, "{host}");
        assert!(!answer.body.contains("0.0.0.0") && !answer.body.contains("[::]"), "{}", answer.body);
        answer.body
    };
    for (host, shown) in [
        ("Host: 127.0.0.1:5001", "127.0.0.1"),
        ("Host: console.example", "console.example"),
        ("Host: [::1]:5001", "[::1]"),
        ("Host: 0.0.0.0:5001", "127.0.0.1"),
    ] {
        let page = page(host).await;
        assert!(page.contains(&format!("<a href=\"http://{shown}:9090/graph\">Prometheus</a>")), "{page}");
        assert!(page.contains("<a href=\"https://grafana.example/d/x?a=1&amp;b=2\">Grafana &lt;3</a>"));
        let listening = section(&page, "listening");
        assert!(listening.contains(&format!("<a href=\"http://{shown}:5000/\">")), "{listening}");
        let addresses: Vec<_> = rows(listening).into_iter().map(|row| row[1].clone()).collect();
        let expected = [format!("http://{shown}:5000/"), format!("{shown}:4317"), "10.0.0.1:8125".to_owned()];
        assert_eq!(addresses, expected);
        assert!(section(&page, "traces").contains(&format!("<a href=\"http://{shown}:5000/database/\">")));
    }
    // What is no host becomes part of no link.
    for host in ["Host: a@evil.example", "Host: \"><script>", "Host: a b", "Host:"] {
        let page = page(host).await;
        assert!(text(&page).contains("Also here: Prometheus, Grafana <3"), "{page}");
        assert!(!page.contains("evil") && !page.contains("<script"), "{page}");
        let addresses: Vec<_> =
            rows(section(&page, "listening")).into_iter().map(|row| row[1].clone()).collect();
        assert_eq!(addresses, ["port 5000", "port 4317", "10.0.0.1:8125"]);
    }
}
