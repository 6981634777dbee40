//! What the page shows of series that differ in what an exposition does not show.

use axum::{Router, routing::get};
use pushpull::{collector::view::Hidden, console::Console};

use crate::support::{Made, Served, nothing, rows, section, series, text};

async fn exposition(body: &'static str) -> Served {
    Served::new(Router::new().route("/metrics", get(move || async move { body }))).await
}

const PULLED: &str = "# TYPE target_info gauge\n\
    target_info{service_name=\"till\",service_instance_id=\"one\"} 1\n\
    requests_total{endpoint=\"/\"} 20\n";

#[tokio::test]
async fn what_is_hidden_is_named_with_its_remedy() {
    let hidden = |family: &str, series| Hidden {
        family: family.to_owned(),
        reason: "scope",
        series,
        remedy: "they differ in <a>: set --exposition-scope on".to_owned(),
    };
    let made = Made { hidden: vec![hidden("hits_total", 1), hidden("jobs_total", 12)], ..Made::default() };
    let page = Served::console(made, vec![], vec![]).await.page().await;
    let shown = text(section(&page, "series"));
    for part in [
        "1 series of hits_total is not shown to Prometheus",
        "12 series of jobs_total are not shown to Prometheus",
        "they differ in <a>: set --exposition-scope on",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[tokio::test]
async fn labels_of_the_scope_that_one_view_has_alone_do_not_part_a_series() {
    let pulled = exposition(PULLED).await;
    let pushed = exposition(
        "requests_total{job=\"till\",instance=\"one\",endpoint=\"/\",otel_scope_name=\"a\"} 19\n\
         requests_total{job=\"till\",instance=\"one\",endpoint=\"/\",otel_scope_name=\"b\"} 7\n",
    )
    .await;
    let console =
        Console { pull: vec![pulled.url("/metrics")], pushed: Some(pushed.url("/metrics")), ..nothing() };
    let page = Served::of(console).await.page().await;
    let rows = rows(section(&page, "series"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0][1], &rows[0][2]), (&"20".to_owned(), &"19".to_owned()));

    let alone = Made {
        series: ["a", "b"]
            .map(|scope| series("till", "one", "hits", &[("otel_scope_name", scope)], 1.0))
            .into(),
        ..Made::default()
    };
    let page = Served::console(alone, vec![], vec![]).await.page().await;
    assert!(text(section(&page, "series")).contains("otel_scope_name=\"b\""));
}
