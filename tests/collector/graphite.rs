//! What is written to Graphite, under which names and at which times.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::metrics::v1::{
    DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
    exponential_histogram_data_point::Buckets, summary_data_point::ValueAtQuantile,
};
use prost::Message as _;
use pushpull::{
    collector::{
        export::graphite::{
            Lines,
            spool::{Need, Spool, Values},
        },
        series::{STALE_AFTER, Table},
        stats::Event,
        wire::Metrics,
    },
    config::{GraphiteLines, SpoolSettings},
};

use crate::{carbon::Carbon, support::*};

pub(crate) const PLACE: &str = "graphite";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) async fn lines_of(
    flags: &str,
    metrics: Vec<opentelemetry_proto::tonic::metrics::v1::Metric>,
    count: usize,
) -> Vec<String> {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {} {flags}", carbon.address()));
    collector.take(metrics).await;
    let mut connection = carbon.accept().await;
    connection.exactly(count).await.into_iter().map(str::to_owned).collect()
}

fn one_of_each() -> Vec<opentelemetry_proto::tonic::metrics::v1::Metric> {
    let mut slow = buckets(T, &[0.005, 1.0], &[1, 2, 3], 9.25);
    (slow.min, slow.max) = (Some(0.001), Some(4.5));
    slow.attributes = attributes(&[("endpoint", "/database")]);
    let rpc = SummaryDataPoint {
        time_unix_nano: seconds(T),
        count: 7,
        sum: 2.5,
        quantile_values: vec![ValueAtQuantile { quantile: 0.999, value: 0.25 }],
        ..SummaryDataPoint::default()
    };
    vec![
        counter(
            "http.requests",
            DELTA,
            vec![int(&[("m", "GET"), ("a", "")], T, 2), int(&[("m", "GET"), ("a", "")], T + 1, 3)],
        ),
        histogram("slow", DELTA, vec![slow]),
        summary("rpc", vec![rpc]),
    ]
}

#[tokio::test]
async fn dotted_names_are_paths_of_files() {
    assert_eq!(
        lines_of("--graphite-names dotted --graphite-prefix prod.otel --graphite-tags service.name,service.version", one_of_each(), 12).await,
        [
            format!("prod.otel.shop.http.requests._.GET.2_1_{} 2 {T}", hash("2.1")),
            format!("prod.otel.shop.http.requests._.GET.2_1_{} 5 {}", hash("2.1"), T + 1),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.bucket.0_005 1 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.bucket.1 3 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.bucket.inf 6 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.sum 9.25 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.count 6 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.min 0.001 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.slow._database_{}.2_1_{}.max 4.5 {T}", hash("/database"), hash("2.1")),
            format!("prod.otel.shop.rpc.2_1_{}.quantile.0_999 0.25 {T}", hash("2.1")),
            format!("prod.otel.shop.rpc.2_1_{}.sum 2.5 {T}", hash("2.1")),
            format!("prod.otel.shop.rpc.2_1_{}.count 7 {T}", hash("2.1")),
        ]
    );
}

/// From `printf '%s' TEXT | sha256sum`.
fn hash(text: &str) -> &'static str {
    match text {
        "2.1" => "ad78cfa0ead35ff9d0d6",
        "/database" => "edfdc939c5d450585f90",
        _ => panic!("{text}"),
    }
}

#[tokio::test]
async fn the_collectors_exporter_wrote_these() {
    assert_eq!(
        lines_of("--graphite-names carbonexporter", one_of_each(), 10).await,
        [
            format!("http.requests;m=GET;a=<empty> 2 {T}"),
            format!("http.requests;m=GET;a=<empty> 3 {}", T + 1),
            format!("slow.count;endpoint=/database 6 {T}"),
            format!("slow;endpoint=/database 9.25 {T}"),
            format!("slow.bucket;endpoint=/database;upper_bound=0.005 1 {T}"),
            format!("slow.bucket;endpoint=/database;upper_bound=1 2 {T}"),
            format!("slow.bucket;endpoint=/database;upper_bound=inf 3 {T}"),
            format!("rpc.count 7 {T}"),
            format!("rpc 2.5 {T}"),
            format!("rpc.quantile;quantile=99.9 0.25 {T}"),
        ]
    );
}

#[tokio::test]
async fn only_what_is_included_and_not_excluded_is_written() {
    let metrics = ["http.a", "http.b", "cpu", "mem"].map(|name| gauge(name, vec![int(&[], T, 1)]));
    let flags = "--graphite-include http.*,c?u --graphite-exclude *.b --graphite-prefix p --graphite-tags service.version";
    assert_eq!(
        lines_of(flags, metrics.to_vec(), 2).await,
        [format!("p.http.a;service.version=2.1 1 {T}"), format!("p.cpu;service.version=2.1 1 {T}")]
    );
}

#[tokio::test]
async fn a_stream_that_begins_has_one_line_of_zero() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let from = |start: u64, point: NumberDataPoint| NumberDataPoint {
        start_time_unix_nano: seconds(start),
        ..point
    };
    let wait = |time, counts: &[u64]| HistogramDataPoint {
        start_time_unix_nano: seconds(T - 5),
        ..buckets(time, &[1.0], counts, 2.5)
    };
    collector
        .take(vec![
            counter("new", CUMULATIVE, vec![from(T - 10, int(&[], T, 5)), from(T - 10, int(&[], T + 1, 6))]),
            counter("deltas", DELTA, vec![from(T - 10, int(&[], T, 5)), from(T, int(&[], T + 1, 6))]),
            counter("old", CUMULATIVE, vec![from(T - 601, int(&[], T, 5))]),
            counter("at.once", CUMULATIVE, vec![from(T, int(&[], T, 5))]),
            sum("balance", CUMULATIVE, false, vec![from(T - 10, int(&[], T, 5))]),
            histogram("wait", CUMULATIVE, vec![wait(T, &[1, 2])]),
        ])
        .await;
    let mut connection = carbon.accept().await;
    let line = |path: &str, value: u64, at: u64| format!("{path};service.name=shop {value} {at}");
    assert_eq!(
        connection.exactly(17).await,
        [
            line("new", 0, T - 10),
            line("new", 5, T),
            line("new", 6, T + 1),
            line("deltas", 0, T - 10),
            line("deltas", 5, T),
            line("deltas", 11, T + 1),
            line("old", 5, T),
            line("at.once", 5, T),
            line("balance", 5, T),
            line("wait.bucket;le=1", 0, T - 5),
            line("wait.bucket;le=+Inf", 0, T - 5),
            line("wait.sum", 0, T - 5),
            line("wait.count", 0, T - 5),
            line("wait.bucket;le=1", 1, T),
            line("wait.bucket;le=+Inf", 3, T),
            format!("wait.sum;service.name=shop 2.5 {T}"),
            line("wait.count", 3, T),
        ]
    );
    // A stream that ends and goes on has begun before; one that is reset begins anew.
    let ended = NumberDataPoint { flags: DataPointFlags::NoRecordedValueMask as u32, ..int(&[], T + 2, 0) };
    collector
        .take(vec![
            counter("new", CUMULATIVE, vec![ended, from(T - 10, int(&[], T + 3, 7))]),
            counter("old", CUMULATIVE, vec![from(T + 2, int(&[], T + 4, 3))]),
        ])
        .await;
    assert_eq!(
        connection.exactly(20).await[17..],
        [line("new", 7, T + 3), line("old", 0, T + 2), line("old", 3, T + 4)]
    );
}

#[tokio::test]
async fn quantiles_are_those_of_the_increments() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!(
        "--graphite {} --graphite-quantiles 0.5,1 --histogram-bounds 1,10",
        carbon.address()
    ));
    let wide = |time, counts: &[u64]| ExponentialHistogramDataPoint {
        time_unix_nano: seconds(time),
        count: counts.iter().sum(),
        positive: Some(Buckets { offset: 0, bucket_counts: counts.to_vec() }),
        ..ExponentialHistogramDataPoint::default()
    };
    collector
        .take(vec![
            histogram(
                "wait",
                CUMULATIVE,
                vec![
                    buckets(T, &[1.0, 2.0], &[4, 0, 0], 1.0),
                    buckets(T + 1, &[1.0, 2.0], &[4, 4, 0], 7.0),
                    buckets(T + 2, &[1.0, 2.0], &[4, 4, 0], 7.0),
                ],
            ),
            histogram(
                "deltas",
                DELTA,
                vec![buckets(T, &[1.0, 2.0], &[4, 0, 0], 1.0), buckets(T + 1, &[1.0, 2.0], &[0, 4, 0], 6.0)],
            ),
            exponential("wide", CUMULATIVE, vec![wide(T, &[2, 0]), wide(T + 1, &[2, 2])]),
        ])
        .await;
    let mut connection = carbon.accept().await;
    let lines = connection.exactly(5 * 3 + 4 + 4 + 4 + 5 * 2 - 4 + 4 * 2 + 4).await;
    let quantiles: Vec<_> = lines.iter().filter(|line| line.contains("quantile=")).copied().collect();
    let root = 2_f64.powf(1.5);
    assert_eq!(
        quantiles,
        [
            format!("wait;quantile=0.5;service.name=shop 0.5 {T}"),
            format!("wait;quantile=1;service.name=shop 1 {T}"),
            format!("wait;quantile=0.5;service.name=shop 1.5 {}", T + 1),
            format!("wait;quantile=1;service.name=shop 2 {}", T + 1),
            format!("deltas;quantile=0.5;service.name=shop 0.5 {T}"),
            format!("deltas;quantile=1;service.name=shop 1 {T}"),
            format!("deltas;quantile=0.5;service.name=shop 1.5 {}", T + 1),
            format!("deltas;quantile=1;service.name=shop 2 {}", T + 1),
            format!("wide;quantile=0.5;service.name=shop {} {T}", 2_f64.sqrt()),
            format!("wide;quantile=1;service.name=shop 2 {T}"),
            format!("wide;quantile=0.5;service.name=shop {root} {}", T + 1),
            format!("wide;quantile=1;service.name=shop 4 {}", T + 1),
        ]
    );
}

#[tokio::test]
async fn times_that_carbon_cannot_keep_are_refused() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {} --max-age 1h", carbon.address()));
    let now = now();
    let at = |nanos: u64| NumberDataPoint { time_unix_nano: nanos, ..int(&[], 0, 1) };
    let points = vec![
        at(0),
        at((-5_i64).cast_unsigned()),
        at(seconds(1 << 32)),
        at(seconds(now + 700)),
        at(seconds(now - 3_700)),
        at(seconds(now + 500)),
        at(seconds(now - 3_500)),
    ];
    let (rejected, message) = collector.send(&request(SHOP, vec![gauge("level", points)])).await;
    assert_eq!(rejected, 5, "{message}");
    for (reason, points) in [("timestamp", 3), ("timestamp_ahead", 1), ("timestamp_old", 1)] {
        assert_eq!(collector.count(Event::Refused, "series", reason), points, "{reason}");
    }
    for part in ["10 minutes ahead", "--max-age", "2106"] {
        assert!(message.contains(part), "{message}");
    }
    let mut connection = carbon.accept().await;
    let line = |at: u64| format!("level;service.name=shop 1 {at}");
    assert_eq!(connection.exactly(2).await, [line(now + 500), line(now - 3_500)]);
}

#[tokio::test]
async fn the_newest_point_of_a_second_is_written_last() {
    let at = |nanos: u64, value| NumberDataPoint { time_unix_nano: seconds(T) + nanos, ..int(&[], 0, value) };
    let points = vec![at(5, 1), at(900, 3), at(700, 2), at(900, 4)];
    let lines = lines_of("", vec![gauge("level", points)], 4).await;
    assert_eq!(lines.last(), Some(&format!("level;service.name=shop 4 {T}")));
    assert_eq!(lines[2], format!("level;service.name=shop 3 {T}"), "not the older one");
}

#[tokio::test]
async fn a_second_type_of_a_name_is_refused_and_named_once() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("--graphite -");
    collector.take(vec![counter("jobs", CUMULATIVE, vec![int(&[], T, 20)])]).await;
    for time in [T + 1, T + 2] {
        let metrics =
            vec![gauge("jobs", vec![int(&[], time, 1)]), counter("jobs", DELTA, vec![int(&[], time, 1)])];
        let (rejected, message) = collector.send(&request(SHOP, metrics)).await;
        assert_eq!(rejected, 1);
        assert!(message.contains("jobs") && message.contains("another type"), "{message}");
    }
    let other = [("service.name", "bakery")];
    assert_eq!(collector.send(&request(&other, vec![gauge("jobs", vec![int(&[], T, 1)])])).await.0, 0);
    assert_eq!(collector.count(Event::Refused, "series", "type_conflict"), 2);
    assert_eq!(collector.scrape().await.shop("jobs_total"), Some(22.0));
    let named = logs.lines_with("jobs");
    assert!(named.len() == 1 && named[0].contains("counter") && named[0].contains("gauge"), "{named:?}");
}

#[tokio::test]
async fn two_instances_of_one_path_are_both_written_and_named_once() {
    let (logs, _guard) = Logs::capture();
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let send = async |instance: &str, name: &str, time, value| {
        let resource = [("service.name", "shop"), ("service.instance.id", instance)];
        let metrics = vec![counter(name, CUMULATIVE, vec![int(&[], time, value)])];
        assert_eq!(collector.send(&request(&resource, metrics)).await, (0, String::new()));
    };
    // One ends and another takes its place, with the last of the first late.
    for (instance, time) in [("a", T), ("a", T + 10), ("b", T + 20), ("a", T + 15), ("b", T + 30)] {
        send(instance, "restarted", time, 1).await;
    }
    assert_eq!(collector.count(Event::Shared, PLACE, ""), 0);
    for (instance, time) in [("a", T), ("b", T + 1), ("a", T + 10), ("b", T + 11), ("b", T + 21)] {
        send(instance, "both", time, 1).await;
    }
    assert_eq!(collector.count(Event::Shared, PLACE, ""), 2);
    let mut connection = carbon.accept().await;
    assert_eq!(connection.exactly(10).await.len(), 10);
    let named = logs.lines_with("both;service.name=shop");
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named[0].contains("--graphite-tags service.name,service.instance.id"), "{named:?}");
    assert!(logs.lines_with("restarted").is_empty());
    assert_eq!(
        collector.scrape().await.samples["pushpull_collector_shared_total{signal=metrics,sink=graphite}"],
        2.0
    );

    let apart = Running::start(&format!(
        "--graphite {} --graphite-tags service.name,service.instance.id",
        carbon.address()
    ));
    for (instance, time) in [("a", T), ("b", T + 1), ("a", T + 10), ("b", T + 11)] {
        let resource = [("service.name", "shop"), ("service.instance.id", instance)];
        apart.send(&request(&resource, vec![counter("both", CUMULATIVE, vec![int(&[], time, 1)])])).await;
    }
    assert_eq!(apart.count(Event::Shared, PLACE, ""), 0);
}

#[tokio::test]
async fn what_is_no_number_is_counted() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let points = [f64::NAN, f64::INFINITY, 1.5].map(|value| double(&[], T, value));
    collector.take(vec![gauge("level", points.to_vec())]).await;
    let mut connection = carbon.accept().await;
    assert_eq!(connection.exactly(1).await, [format!("level;service.name=shop 1.5 {T}")]);
    assert_eq!(collector.count(Event::Dropped, PLACE, "not_a_number"), 2);
}

/// The table forgets a series that is silent for long, but not that its beginning was written.
#[test]
fn the_beginning_of_a_stream_that_comes_back_is_not_written_again() {
    let mut table = Table::new(10, &[1.0]).with_graphite(&GraphiteLines::default(), true);
    let start = Instant::now();
    let mut take = |from, time, now| {
        let point = NumberDataPoint { start_time_unix_nano: seconds(from), ..int(&[], time, 5) };
        let request = request(SHOP, vec![counter("jobs", CUMULATIVE, vec![point])]);
        table.sweep(now);
        let wire = request.encode_to_vec();
        let request = Metrics::read(&wire, &mut |_| true).unwrap();
        let mut plan = table.plan(&request, now, SystemTime::now());
        let lines = table.apply(&request, &mut plan, Some(Vec::new()), SystemTime::now()).lines;
        assert!(lines.len() <= plan.line_bytes);
        String::from_utf8(lines).unwrap()
    };
    let zero = format!("jobs;service.name=shop 0 {T}\n");
    let five = |time: u64| format!("jobs;service.name=shop 5 {time}\n");
    assert_eq!(take(T, T + 10, start), format!("{zero}{}", five(T + 10)));
    assert_eq!(take(T, T + 400, start + STALE_AFTER), five(T + 400));
    let later = start + STALE_AFTER * 2;
    let again = format!("jobs;service.name=shop 0 {}\n{}", T + 500, five(T + 510));
    assert_eq!(take(T + 500, T + 510, later), again, "another process");
}

/// What of a table goes into its spool, without the connection to carbon.
struct Keeping {
    table: Table,
    spool: Arc<Spool>,
}

impl Keeping {
    /// On a spool, with what an earlier one left there.
    fn on(folder: &std::path::Path, now: Instant) -> Self {
        let settings = SpoolSettings { folder: folder.to_owned(), limit: 1 << 20, age: None };
        let (spool, _) = Spool::open(&settings, Duration::from_secs(60), Arc::default()).unwrap();
        let table = Table::new(10, &[1.0]).with_graphite(&GraphiteLines::default(), true);
        Self { table: table.with_kept(spool.load_state().unwrap(), now), spool }
    }

    fn kept(&self) -> Values {
        self.spool.load_state().unwrap()
    }

    /// Takes one metric; its lines.
    fn take(&mut self, metric: opentelemetry_proto::tonic::metrics::v1::Metric, now: Instant) -> String {
        let wire = request(SHOP, vec![metric]).encode_to_vec();
        let metrics = Metrics::read(&wire, &mut |_| true).unwrap();
        let mut plan = self.table.plan(&metrics, now, SystemTime::now());
        let applied = self.table.apply(&metrics, &mut plan, Some(Vec::new()), SystemTime::now());
        assert!(applied.lines.len() <= plan.line_bytes && applied.state.len() <= plan.state_bytes);
        let room = self
            .spool
            .reserve(Need {
                lines: plan.line_bytes,
                state: plan.state_bytes,
                new_state: plan.new_state_bytes,
            })
            .unwrap();
        let lines = Lines { text: applied.lines.into(), points: applied.points };
        room.commit(lines.clone(), &applied.state);
        String::from_utf8(lines.text.into()).unwrap()
    }

    fn sweep(&mut self, now: Instant) {
        self.table.sweep(now);
        self.table.forget_kept(|entries| {
            self.spool
                .reserve(Need { state: entries.len(), ..Need::default() })
                .unwrap()
                .commit(Lines::default(), entries);
            true
        });
    }
}

/// A spool would grow for ever with the totals of series that have ended.
#[test]
fn what_is_kept_of_a_series_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut keeping = Keeping::on(folder.path(), start);
    let point = |time| NumberDataPoint { start_time_unix_nano: seconds(time - 5), ..int(&[], time, 5) };
    let delta = |time| counter("jobs", DELTA, vec![point(time)]);
    keeping.take(delta(T), start);
    assert_eq!(keeping.kept().len(), 2, "its total and its beginning");
    let buckets = |time| histogram("slow", DELTA, vec![buckets(time, &[1.0, 2.0], &[1, 2, 3], 4.5)]);
    keeping.take(buckets(T), start);
    assert_eq!(keeping.kept().len(), 3);
    // The sender ends the series; a cumulative one is not kept.
    let end = int(&[], T + 1, 0);
    let end = NumberDataPoint { flags: DataPointFlags::NoRecordedValueMask as u32, ..end };
    keeping.take(counter("jobs", DELTA, vec![end]), start);
    keeping.take(counter("loaves", CUMULATIVE, vec![int(&[], T, 5)]), start);
    assert_eq!(keeping.kept().len(), 2);
    keeping.take(delta(T + 2), start);
    keeping.sweep(start + STALE_AFTER / 2);
    assert_eq!(keeping.kept().len(), 3);
    keeping.sweep(start + STALE_AFTER);
    assert_eq!(keeping.kept().len(), 1, "a beginning is not written again within ten minutes");
    keeping.sweep(start + STALE_AFTER * 4);
    assert_eq!(keeping.kept(), HashMap::default());

    keeping.take(delta(T + 10), start);
    keeping.spool.close();
    // A sender comes back late, and another never.
    let mut keeping = Keeping::on(folder.path(), start);
    assert_eq!(keeping.kept().len(), 2);
    keeping.sweep(start + STALE_AFTER * 2);
    let line = format!("jobs;service.name=shop 10 {}\n", T + 20);
    assert_eq!(keeping.take(delta(T + 20), start + STALE_AFTER * 2), line);
    keeping.spool.close();
    let mut keeping = Keeping::on(folder.path(), start);
    keeping.sweep(start + STALE_AFTER * 2 + Duration::from_secs(1));
    assert_eq!(keeping.kept(), HashMap::default());
    let line = format!("jobs;service.name=shop 0 {}\njobs;service.name=shop 5 {}\n", T + 25, T + 30);
    assert_eq!(keeping.take(delta(T + 30), start), line);
}
