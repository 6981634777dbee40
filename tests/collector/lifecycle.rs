//! Health, readiness, the collector's counts of itself, and how it stops.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use pushpull::collector::stats::Event;
use tokio::net::TcpListener;

use crate::{away::Away, carbon::Carbon, support::*};

#[tokio::test]
async fn healthy_ready_and_counted() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {} --max-series 7", carbon.address()));
    assert_eq!(collector.get("/healthz").await, (200, "ok\n".to_owned()));
    let _connection = carbon.accept().await;
    let ready = eventually("carbon is reached", async || {
        let (status, text) = collector.get("/readyz").await;
        text.contains("graphite: up").then_some((status, text))
    })
    .await;
    assert_eq!(ready, (200, "exposition: up\ngraphite: up; 0 of 67108864 bytes queued\n".to_owned()));
    collector.take(vec![gauge("level", vec![int(&[], T, 1), double(&[], T + 1, f64::NAN)])]).await;
    let malformed = collector.post_as(
        pushpull::collector::batch::Signal::Metrics,
        "application/x-protobuf",
        b"\xff".to_vec(),
    );
    assert_eq!(malformed.await.status(), 400);
    eventually("the line is written", async || {
        (collector.count(Event::Sent, "graphite", "") == 1).then_some(())
    })
    .await;
    let samples = collector.scrape().await.samples;
    for (sample, value) in [
        ("accepted_total{receiver=otlp_http,signal=metrics}", 2.0),
        ("refused_total{reason=malformed,receiver=otlp_http,signal=metrics}", 1.0),
        ("sent_total{signal=metrics,sink=graphite}", 1.0),
        ("dropped_total{reason=not_a_number,signal=metrics,sink=graphite}", 1.0),
        ("queue_bytes{sink=graphite}", 0.0),
        ("queue_limit_bytes{sink=graphite}", 67_108_864.0),
        ("series{}", 1.0),
        ("series_limit{}", 7.0),
    ] {
        let sample = format!("pushpull_collector_{sample}");
        assert_eq!(samples.get(&sample), Some(&value), "{sample} in {samples:#?}");
    }
}

#[tokio::test]
async fn a_stop_sends_what_is_queued_and_the_last_statsd() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {} --statsd-flush 1h", carbon.address()));
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(b"visits:5|c", collector.statsd).await.unwrap();
    eventually("the datagram is read", async || {
        (collector.count(Event::Accepted, "statsd", "") == 1).then_some(())
    })
    .await;
    let points: Vec<_> = (0..20_000).map(|key| int(&[("k", &key.to_string())], T, 1)).collect();
    collector.take(vec![gauge("level", points)]).await;
    let (pipeline, mut connection) = (collector.pipeline.clone(), carbon.accept().await);
    let wanted: BTreeSet<String> =
        (0..20_000).map(|key| format!("level;k={key};service.name=shop 1 {T}")).collect();
    tokio::join!(collector.stop(PATIENCE), connection.until(&wanted));
    let text = connection.closed().await;
    assert!(text.lines().any(|line| line.starts_with("visits 5 ")), "the last flush is missing");
    // With what the collector said of itself, where it lived for ten seconds.
    let own = text.lines().filter(|line| line.contains("pushpull.collector.")).count() as u64;
    assert_eq!(count(&pipeline, Event::Sent, "graphite", ""), 20_001 + own);
    assert_eq!(count(&pipeline, Event::Dropped, "graphite", "stopped"), 0);
}

/// Two sinks, of which one refuses connections and the other takes a request and never answers.
#[tokio::test]
async fn what_cannot_be_sent_in_time_is_counted_and_told_once() {
    let (logs, _guard) = Logs::capture();
    let (away, silent) = (Away::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let target = silent.local_addr().unwrap();
    let collector = Running::start(&format!("--graphite {} --forward http://{target}", away.address()));
    for time in [T, T + 1] {
        collector
            .take(vec![gauge("level", vec![int(&[("k", "1")], time, 1), int(&[("k", "2")], time, 1)])])
            .await;
    }
    let _taken = silent.accept().await.unwrap();
    let pipeline = collector.pipeline.clone();
    let began = Instant::now();
    collector.stop(Duration::from_millis(300)).await;
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert_eq!(count(&pipeline, Event::Dropped, "graphite", "stopped"), 4);
    assert_eq!(count(&pipeline, Event::Dropped, &format!("http://{target}"), "stopped"), 4);
    let told = logs.lines_with("stopped before");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("items=8"), "{told:?}");
}
