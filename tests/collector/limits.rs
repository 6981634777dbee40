//! The bounds of the series table: what is over them is refused by name, and costs nothing beside it.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};
use prost::Message as _;
use pushpull::{
    collector::{
        series::{STALE_AFTER, Table},
        stats::Event,
        wire::Metrics,
    },
    exposition::text,
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::{carbon::Carbon, support::*};

#[tokio::test]
async fn new_series_over_the_limit_are_refused_and_the_others_are_untouched() {
    let (target, carbon) = (Running::start(""), Carbon::listen());
    let flags = format!("--max-series 4 --graphite {} --forward grpc://{}", carbon.address(), target.grpc);
    let collector = Running::start(&flags);
    let points = |time, value: i64, keys: &[&str]| -> Vec<Metric> {
        let points = keys.iter().zip(value..).map(|(key, value)| int(&[("k", key)], time, value)).collect();
        vec![counter("hits", DELTA, points)]
    };
    collector.take(points(T, 1, &["a", "b"])).await;
    // Between the refused ones are known series, whose values must stay theirs.
    let metrics = points(T + 1, 10, &["new1", "a", "new2", "b", "new3"]);
    let (rejected, message) = collector.send(&request(SHOP, metrics)).await;
    assert_eq!(rejected, 2);
    assert!(message.contains("--max-series") && message.contains("\"hits\""), "{message}");

    let scrape = collector.scrape().await;
    let values = ["a", "b", "new1", "new2", "new3"].map(|key| scrape.shop(&format!("hits_total{{k={key}}}")));
    assert_eq!(values, [Some(12.0), Some(15.0), Some(10.0), None, None]);
    assert_eq!(collector.count(Event::Refused, "series", "max_series"), 2);
    assert_eq!(collector.count(Event::Accepted, "otlp_http", ""), 5);

    let arrived = eventually("the forwarded points", async || {
        let scrape = target.scrape().await;
        (scrape.shop("hits_total{k=b}") == Some(15.0)).then_some(scrape)
    })
    .await;
    assert_eq!(arrived.of_senders(), scrape.of_senders());
    assert_eq!(target.count(Event::Accepted, "otlp_grpc", ""), 5, "only what was accepted is sent on");
    let mut connection = carbon.accept().await;
    let second = T + 1;
    assert_eq!(
        connection.exactly(5).await,
        [
            format!("hits;k=a;service.name=shop 1 {T}"),
            format!("hits;k=b;service.name=shop 2 {T}"),
            format!("hits;k=new1;service.name=shop 10 {second}"),
            format!("hits;k=a;service.name=shop 12 {second}"),
            format!("hits;k=b;service.name=shop 15 {second}"),
        ]
    );
}

#[tokio::test]
async fn what_names_a_series_is_bounded_and_the_points_beside_it_are_kept() {
    let collector = Running::start("");
    let megabyte = "x".repeat(1 << 20);
    let keys: Vec<String> = (0..10_000).map(|key| format!("key{key}")).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    let long = |name: &str, points: Vec<HistogramDataPoint>| histogram(name, CUMULATIVE, points);
    let bounds: Vec<f64> = (0..2_000_u32).map(f64::from).collect();
    let metrics = vec![
        gauge("level", vec![int(&[("k", &megabyte)], T, 1), int(&many, T, 2), int(&[("k", "good")], T, 3)]),
        gauge(&megabyte, vec![int(&[], T, 4)]),
        long("wide", vec![buckets(T, &bounds, &vec![1; 2_001], 1.0), buckets(T, &[1.0], &[1, 2], 1.0)]),
    ];
    let (rejected, message) = collector.send(&request(SHOP, metrics)).await;
    assert_eq!(rejected, 4);
    assert!(message.len() < 1_000, "{} bytes", message.len());
    let scrape = collector.scrape().await;
    assert_eq!((scrape.shop("level{k=good}"), scrape.shop("wide_count")), (Some(3.0), Some(3.0)));
    assert_eq!(scrape.of_senders().len(), 6, "{:?}", scrape.of_senders().keys());
    assert_eq!(collector.count(Event::Refused, "series", "too_long"), 3);
    assert_eq!(collector.count(Event::Refused, "series", "too_many_buckets"), 1);

    let resource = [("service.name", "shop"), ("process.command_line", &megabyte)];
    let metrics = vec![gauge("level", vec![int(&[], T, 1)])];
    assert_eq!(collector.send(&request(&resource, metrics)).await.0, 1);
    let mut described = gauge("level", vec![int(&[("k", "good")], T, 5)]);
    described.description = megabyte;
    collector.take(vec![described]).await;
    assert_eq!(collector.scrape().await.shop("level{k=good}"), Some(5.0));
    assert!(collector.get("/metrics").await.1.len() < 10_000);
}

#[tokio::test]
async fn labels_times_buckets_are_bounded_and_a_large_page_comes_whole() {
    let collector = Running::start("");
    let bounds: Vec<f64> = (0..1_000_u32).map(f64::from).collect();
    let wide = |value: &str| {
        let mut point = buckets(T, &bounds, &vec![1; 1_001], 1.0);
        point.attributes = attributes(&[("k", value)]);
        point
    };
    let labels = ["x".repeat(500), "y".repeat(2_000), "z".repeat(900)];
    let metrics = vec![histogram("wide", CUMULATIVE, labels.iter().map(|label| wide(label)).collect())];
    assert_eq!(
        collector.send(&request(SHOP, metrics)).await.0,
        1,
        "two megabytes in the lines of one series"
    );
    // A known series may not grow beyond the bound either.
    let grown = |bounds: &[f64]| {
        let mut point = buckets(T + 1, bounds, &vec![1; bounds.len() + 1], 1.0);
        point.attributes = attributes(&[("k", &"g".repeat(8_000))]);
        vec![histogram("grown", CUMULATIVE, vec![point])]
    };
    collector.take(grown(&[1.0])).await;
    assert_eq!(collector.send(&request(SHOP, grown(&bounds))).await.0, 1);
    assert_eq!(collector.count(Event::Refused, "series", "too_long"), 2);
    let (status, page) = collector.get("/metrics").await;
    assert_eq!((status, page.lines().filter(|line| line.starts_with("wide_bucket{")).count()), (200, 2_002));
    assert!(page.len() > 1_400_000 && page.ends_with('\n'), "{}", page.len());
}

/// Somebody who asks for pages and takes nothing of them keeps nobody else from one for long.
#[tokio::test]
async fn readers_that_take_nothing_of_a_page_are_let_go() {
    let collector = Running::start("");
    let points = (0..50_000).map(|at| int(&[("k", &format!("{at:0>100}"))], T, at)).collect();
    collector.take(vec![gauge("level", points)]).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = TcpStream::connect(collector.exposition).await.unwrap();
        reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        readers.push(reader);
    }
    for reader in &mut readers {
        reader.readable().await.unwrap();
    }
    let page = async {
        loop {
            match collector.get("/metrics").await {
                (200, page) => break page,
                (status, text) => assert_eq!(status, 503, "{text}"),
            }
        }
    };
    let page = timeout(PATIENCE, page).await.unwrap();
    assert_eq!(page.lines().filter(|line| line.starts_with("level{")).count(), 50_000);
    drop(readers);
}

#[tokio::test]
async fn thousands_of_points_in_one_request_each_go_to_their_series() {
    let collector = Running::start("");
    let series: Vec<String> = (0..1_500).map(|series| series.to_string()).collect();
    // Each series twice, all over two metrics, and a point without a time among them.
    let points = |turn: i64| -> Vec<_> {
        let times = series.iter().map(|key| (key, T)).chain([(&series[7], 0)]);
        let times = times.chain(series.iter().map(|key| (key, T + 1)));
        times.map(|(key, time)| int(&[("k", key)], time, turn + key.parse::<i64>().unwrap())).collect()
    };
    for turn in [10_000, 20_000] {
        let metrics = vec![gauge("level", points(turn)), counter("hits", DELTA, points(1))];
        let request = request(SHOP, metrics);
        assert_eq!(collector.send(&request).await.0, 0);
    }
    let scrape = collector.scrape().await;
    assert_eq!(scrape.of_senders().len(), 2 * series.len() + 1, "with target_info");
    for key in ["0", "7", "1023", "1024", "1499"] {
        let number = key.parse::<f64>().unwrap();
        let hits = 4.0 * (number + 1.0) + if key == "7" { 2.0 * (number + 1.0) } else { 0.0 };
        assert_eq!(scrape.shop(&format!("hits_total{{k={key}}}")), Some(hits), "{key}");
        assert_eq!(scrape.shop(&format!("level{{k={key}}}")), Some(20_000.0 + number), "{key}");
    }
}

#[test]
fn a_series_that_is_silent_for_long_is_forgotten() {
    let mut table = Table::new(2, &[1.0]);
    let start = Instant::now();
    let take = |table: &mut Table, key, value, now| {
        let request = request(SHOP, vec![counter("hits", DELTA, vec![int(&[("k", key)], T, value)])]);
        let wire = request.encode_to_vec();
        let request = Metrics::read(&wire, &mut |_| true).unwrap();
        let mut plan = table.plan(&request, now, SystemTime::now());
        let _ = table.apply(&request, &mut plan, None, SystemTime::now());
        plan.rejected_points()
    };
    let shown = |table: &Table| Scrape::of(&text::encode(&table.families().families));
    let almost = start + STALE_AFTER - Duration::from_secs(1);
    assert_eq!(take(&mut table, "a", 1, start), 0);
    assert_eq!(take(&mut table, "b", 2, start), 0);
    assert_eq!(take(&mut table, "c", 3, start), 1, "there are two already");
    table.sweep(almost);
    assert_eq!(table.len(), 2);

    assert_eq!(take(&mut table, "b", 2, almost), 0);
    table.sweep(start + STALE_AFTER);
    assert_eq!(table.len(), 1);
    assert_eq!(shown(&table).shop("hits_total{k=a}"), None);
    assert_eq!(shown(&table).shop("hits_total{k=b}"), Some(4.0), "what was heard of goes on");
    assert_eq!(take(&mut table, "c", 3, almost), 0, "its room is free");

    table.sweep(almost + STALE_AFTER);
    assert_eq!((table.len(), shown(&table).samples.len()), (0, 0), "target_info ends with its series");
}
