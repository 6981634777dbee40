//! A carbon that goes, stalls or is full: everything that was acknowledged arrives, whole lines only, and
//! what has no room stays with its sender.

use std::{collections::BTreeSet, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    metrics::v1::Metric,
};
use pushpull::collector::{batch::Signal, stats::Event};
use tonic_types::StatusExt as _;

use crate::{away::Away, carbon::Carbon, support::*};

/// Gauges of many paths at one second, as metrics and as the lines that they become.
fn many(paths: usize, time: u64) -> (Vec<Metric>, BTreeSet<String>) {
    let names: Vec<String> = (0..paths).map(|path| format!("path{path:05}")).collect();
    let points = names.iter().map(|name| int(&[("k", name)], time, time.cast_signed())).collect();
    let lines = names.iter().map(|name| format!("level;k={name};service.name=shop {time} {time}"));
    (vec![gauge("level", points)], lines.collect())
}

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
}

#[tokio::test]
async fn what_was_acknowledged_arrives_after_the_peer_went() {
    for (read, end) in [(0, End::Close), (0, End::Reset), (100_001, End::Close), (100_001, End::Reset)] {
        let carbon = Carbon::listen();
        let collector = Running::start(&format!("--graphite {}", carbon.address()));
        let mut wanted = BTreeSet::new();
        for time in [T, T + 1] {
            let (metrics, lines) = many(5_000, time);
            collector.take(metrics).await;
            wanted.extend(lines);
        }
        let mut first = carbon.accept().await;
        first.read(read).await;
        match end {
            End::Close => drop(first),
            End::Reset => first.reset(),
        }
        let (metrics, lines) = many(5_000, T + 2);
        collector.take(metrics).await;
        wanted.extend(lines);

        let mut second = carbon.accept().await;
        second.until(&wanted).await;
        let lines = second.lines();
        for line in &lines {
            assert!(wanted.contains(*line), "{line:?} after {read} bytes and {end:?}");
        }
        let of_a_path = lines.iter().filter(|line| line.starts_with("level;k=path00007;"));
        let seconds_of_a_path: Vec<_> = of_a_path.map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert!(seconds_of_a_path.is_sorted(), "{seconds_of_a_path:?}");
    }
}

/// An idle connection that goes has taken everything into the buffers of the system: only writing it again
/// brings it to the next one.
#[tokio::test]
async fn what_lay_in_buffers_is_written_again() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let (metrics, wanted) = many(500, T);
    collector.take(metrics).await;
    let first = carbon.accept().await;
    eventually("the batch is written", async || {
        (collector.count(Event::Sent, "graphite", "") == 500).then_some(())
    })
    .await;
    first.reset();
    carbon.accept().await.until(&wanted).await;
    assert_eq!(collector.count(Event::Sent, "graphite", ""), 500, "what is written again counts once");
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let (metrics, wanted) = many(20_000, T);
    collector.take(metrics).await;
    let mut connection = carbon.accept().await;
    let mut now_and_then = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..40 {
        now_and_then.tick().await;
        connection.read(1).await;
    }
    connection.until(&wanted).await;
    assert_eq!(connection.lines().len(), wanted.len(), "nothing is written twice on one connection");
}

#[tokio::test]
async fn going_and_coming_back_is_one_line_each() {
    let (logs, _guard) = Logs::capture();
    let away = Away::new();
    let collector = Running::start(&format!("--graphite {}", away.address()));
    let (metrics, wanted) = many(10, T);
    collector.take(metrics).await;
    eventually("the sink is gone", async || {
        let (_, text) = collector.get("/readyz").await;
        text.contains("graphite: down").then_some(())
    })
    .await;
    let carbon = Carbon::on(away.listen());
    // A peer that takes connections only to end them is not back.
    for _ in 0..3 {
        drop(carbon.accept().await);
    }
    let mut connection = carbon.accept().await;
    connection.until(&wanted).await;
    eventually("the sink is back", async || {
        let (_, text) = collector.get("/readyz").await;
        text.contains("graphite: up").then_some(())
    })
    .await;
    assert_eq!(logs.lines_with("is gone").len(), 1, "{:?}", logs.lines_with(""));
    assert_eq!(logs.lines_with("is back").len(), 1, "{:?}", logs.lines_with(""));
}

#[tokio::test]
async fn the_second_address_takes_over_and_the_first_again() {
    let (first, second) = (Carbon::listen(), Carbon::listen());
    let flags = format!("--graphite {} --graphite {}", first.address(), second.address());
    let collector = Running::start(&flags);
    let (metrics, wanted) = many(100, T);
    collector.take(metrics).await;
    let mut connection = first.accept().await;
    connection.until(&wanted).await;
    drop(connection);
    let (metrics, wanted) = many(100, T + 1);
    collector.take(metrics).await;
    let mut connection = second.accept().await;
    connection.until(&wanted).await;
    drop(connection);
    let (metrics, wanted) = many(100, T + 2);
    collector.take(metrics).await;
    first.accept().await.until(&wanted).await;
}

/// A batch of that size while the sink has room for it, until it has none.
async fn fill(collector: &Running) {
    for time in T.. {
        let (metrics, _) = many(200, time);
        let answer = collector.post(Signal::Metrics, &request(SHOP, metrics)).await;
        if answer.status() == 503 {
            let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!(seconds > 0);
            return;
        }
        assert_eq!(answer.status(), 200);
    }
}

/// Deltas of new and of known series, of a resource that is known to nobody.
fn deltas() -> ExportMetricsServiceRequest {
    let names: Vec<String> = (0..2_000).map(|path| format!("path{path:05}")).collect();
    let points = names.iter().map(|name| int(&[("k", name)], T, 5)).collect();
    request(&[("service.name", "late"), ("host.name", "h")], vec![counter("late", DELTA, points)])
}

#[tokio::test]
async fn without_room_nothing_is_taken_and_the_retry_counts_once() {
    let away = Away::new();
    let collector = Running::start(&format!("--queue-limit 64KiB --graphite {}", away.address()));
    fill(&collector).await;
    assert_eq!(collector.get("/readyz").await.0, 503);
    let before = collector.scrape().await;

    let answer = collector.post(Signal::Metrics, &deltas()).await;
    assert_eq!(answer.status(), 503);
    let mut client = MetricsServiceClient::connect(format!("http://{}", collector.grpc)).await.unwrap();
    let status = client.export(deltas()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));

    let after = collector.scrape().await;
    assert_eq!(after.of_senders(), before.of_senders());
    let series = "pushpull_collector_series{}";
    assert_eq!(after.samples[series], before.samples[series]);
    assert_eq!(collector.count(Event::Refused, "otlp_grpc", "no_room"), 2_000);

    let carbon = Carbon::on(away.listen());
    let mut connection = carbon.accept().await;
    let wanted = (0..2_000).map(|path| format!("late;k=path{path:05};service.name=late 5 {T}")).collect();
    let reading = connection.until(&wanted);
    let sending = eventually("there is room again", async || {
        let answer = collector.post(Signal::Metrics, &deltas()).await;
        (answer.status() == 200).then_some(())
    });
    tokio::join!(sending, reading);
    let scrape = collector.scrape().await;
    for (sample, value) in scrape.of_senders().iter().filter(|(sample, _)| sample.starts_with("late_total")) {
        assert_eq!(*value, 5.0, "{sample}");
    }
    assert_eq!(scrape.samples["late_total{job=late,k=path00000}"], 5.0);
    assert_eq!(collector.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn of_two_sinks_the_one_with_room_gets_nothing_that_the_other_has_none_for() {
    let (away, carbon) = (Away::new(), Carbon::listen());
    let target = Running::start("");
    // Carbon is away, the target has room.
    let flags = format!("--queue-limit 64KiB --graphite {} --forward http://{}", away.address(), target.http);
    let collector = Running::start(&flags);
    fill(&collector).await;
    let answer = collector.post(Signal::Metrics, &deltas()).await;
    assert_eq!(answer.status(), 503);
    // What is sent on in order behind it shows that it was not sent on.
    let mark = opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest::default();
    assert_eq!(collector.post(Signal::Logs, &mark).await.status(), 200);
    eventually("the queue to the target is empty", async || {
        let queue = |scrape: Scrape| {
            scrape.samples[&format!("pushpull_collector_queue_bytes{{sink=http://{}}}", target.http)]
        };
        (queue(collector.scrape().await) == 0.0).then_some(())
    })
    .await;
    let samples = target.scrape().await.of_senders();
    assert!(samples.keys().any(|key| key.starts_with("level{")), "{samples:?}");
    assert!(!samples.keys().any(|key| key.starts_with("late")), "{samples:?}");

    // The target is away, carbon has room.
    let away = Away::new();
    let flags =
        format!("--queue-limit 64KiB --graphite {} --forward http://{}", carbon.address(), away.address());
    let collector = Running::start(&flags);
    let mut connection = carbon.accept().await;
    fill(&collector).await;
    let answer = collector.post(Signal::Metrics, &deltas()).await;
    assert_eq!(answer.status(), 503);
    collector.stop(Duration::from_millis(500)).await;
    connection.read(1).await;
    let text = connection.closed().await;
    assert!(text.contains("level;") && !text.contains("late"), "what was refused is at carbon");
}
