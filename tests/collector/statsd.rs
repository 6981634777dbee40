//! What StatsD's senders really send, and what comes of it at the exposition, at carbon and at an OTLP peer.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use opentelemetry_proto::tonic::metrics::v1::{DataPointFlags, Metric, NumberDataPoint};
use prost::Message as _;
use pushpull::collector::{
    series::{STALE_AFTER, Table},
    stats::Event,
    wire::{Metrics, Receiver},
};
use tokio::net::UdpSocket;

use crate::{
    carbon::{Carbon, Connection},
    support::*,
};

/// A sender of datagrams to a collector.
struct Sender(UdpSocket);

impl Sender {
    async fn to(collector: &Running) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(collector.statsd).await.unwrap();
        Self(socket)
    }

    async fn send(&self, datagram: &str) {
        self.0.send(datagram.as_bytes()).await.unwrap();
    }
}

/// The samples of senders once these are among them.
async fn shown(collector: &Running, wanted: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let mut last = BTreeMap::new();
    let samples = tokio::time::timeout(PATIENCE, async {
        loop {
            let samples = collector.scrape().await.of_senders();
            if wanted.iter().all(|(key, value)| samples.get(*key) == Some(value)) {
                return samples;
            }
            last = samples;
            tokio::task::yield_now().await;
        }
    })
    .await;
    samples.unwrap_or_else(|_| panic!("{wanted:?} is not in {last:#?}"))
}

/// Reads until there is a line with this beginning.
async fn line(connection: &mut Connection, start: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = connection.lines().into_iter().find(|line| line.starts_with(start)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no {start:?} in {:#?}", connection.lines());
        connection.read_some(usize::MAX).await;
    }
}

fn statsd_refused(collector: &Running, reason: &str) -> u64 {
    collector.count(Event::Refused, "statsd", reason)
}

#[tokio::test]
async fn every_form_of_a_line_is_read() {
    let collector = Running::start("--statsd-flush 20ms --histogram-bounds 1");
    let sender = Sender::to(&collector).await;
    for datagram in [
        "req:3|ms:6|ms",
        "hits:1|c:2|c",
        "mixed:1|c|@0.5:250|ms|#k:v",
        "blanks: 3 | c\nblanks:4|c | @0.5 ",
        "tags:1|c|#a:b, #c:d,#e",
        "meter:5|m",
        "stamped:7|c|T1700000000",
        "hexadecimal:0x10|c",
        "by,k=v,l=w:1|c\nby;k=v;l=w:1|c\nby#k=v,l=w:1|c\nby[k=v,l=w]:1|c\nby:1|c|#k:v,l:w",
        "inner[k=v].name:1|c",
        "no,tags:1|c",
    ] {
        sender.send(datagram).await;
    }
    let wanted = [
        ("req_seconds_count{}", 2.0),
        ("hits_total{}", 3.0),
        ("mixed_total{k=v}", 2.0),
        ("mixed_seconds_sum{k=v}", 0.25),
        ("blanks_total{}", 11.0),
        ("tags_total{a=b,c=d,e=true}", 1.0),
        ("meter_total{}", 5.0),
        ("stamped_total{}", 7.0),
        ("hexadecimal_total{}", 16.0),
        ("by_total{k=v,l=w}", 5.0),
        ("inner_name_total{k=v}", 1.0),
        ("no_tags_total{}", 1.0),
    ];
    shown(&collector, &wanted).await;
    let refused = collector.pipeline.stats().snapshot();
    assert!(refused.iter().all(|(count, _)| count.event != Event::Refused), "{refused:?}");
}

#[tokio::test]
async fn tags_in_names_are_read_where_they_are_wanted() {
    let collector = Running::start("--statsd-flush 20ms --statsd-tags graphite,librato");
    let sender = Sender::to(&collector).await;
    sender.send("a;k=v:1|c\nb#k=v:1|c\nc,k=v:1|c\nd[k=v]:1|c\ne:1|c|#k:v").await;
    let samples =
        shown(&collector, &[("a_total{k=v}", 1.0), ("b_total{k=v}", 1.0), ("e_total{k=v}", 1.0)]).await;
    assert!(!samples.contains_key("c_total{k=v}") && !samples.contains_key("d_total{k=v}"), "{samples:?}");
    assert_eq!(samples.len(), 5);
    let off = Running::start("--statsd-flush 20ms --statsd-tags off");
    Sender::to(&off).await.send("a;k=v:1|c\ne:1|c|#k:v").await;
    let samples = shown(&off, &[("e_total{k=v}", 1.0)]).await;
    assert!(!samples.contains_key("a_total{k=v}") && samples.len() == 2, "{samples:?}");
}

#[tokio::test]
async fn a_counter_that_falls_is_a_gauge_at_once() {
    let (carbon, target) = (Carbon::listen(), Running::start(""));
    let flags =
        format!("--statsd-flush 50ms --graphite {} --forward grpc://{}", carbon.address(), target.grpc);
    let collector = Running::start(&flags);
    let sender = Sender::to(&collector).await;
    let mut connection = carbon.accept().await;
    sender.send("stock:5|c").await;
    shown(&collector, &[("stock_total{}", 5.0)]).await;
    sender.send("stock:-2|c").await;
    let samples = shown(&collector, &[("stock{}", 3.0)]).await;
    assert_eq!(samples.len(), 1, "{samples:?}");
    sender.send("stock:10|c").await;
    let samples = shown(&collector, &[("stock{}", 13.0)]).await;
    assert_eq!(samples.len(), 1, "{samples:?}");
    for value in [5, 3, 13] {
        line(&mut connection, &format!("stock {value} ")).await;
    }
    assert_eq!(shown(&target, &[("stock{}", 13.0)]).await.len(), 1, "where it is forwarded to, too");
    sender.send("new:5|c\nnew:-2|c").await;
    shown(&target, &[("new{}", 3.0)]).await;
    for collector in [&collector, &target] {
        let refused = collector.pipeline.stats().snapshot();
        assert!(refused.iter().all(|(count, _)| count.event != Event::Refused), "{refused:?}");
    }
    assert_eq!(collector.count(Event::Shared, "graphite", ""), 0);
}

#[tokio::test]
async fn a_collector_that_is_forwarded_to_takes_both_types_of_a_name_too() {
    let target = Running::start("");
    let collector = Running::start(&format!("--statsd-flush 50ms --forward grpc://{}", target.grpc));
    let sender = Sender::to(&collector).await;
    sender.send("work:3|c\nwork:20|ms").await;
    shown(&target, &[("work_total{}", 3.0), ("work_seconds_count{}", 1.0)]).await;
    for collector in [&collector, &target] {
        assert_eq!(collector.count(Event::Refused, "series", "type_conflict"), 0);
    }
}

#[tokio::test]
async fn one_name_of_several_types_is_kept_as_each() {
    let (logs, _guard) = Logs::capture();
    let carbon = Carbon::listen();
    let flags = format!("--statsd-flush 20ms --histogram-bounds 1 --graphite {}", carbon.address());
    let collector = Running::start(&flags);
    let sender = Sender::to(&collector).await;
    sender.send("req:1|c:5|ms:7|g:x|s:9|h").await;
    sender.send("size:1|c\nsize:12|h").await;
    let wanted = [
        ("req_total{}", 1.0),
        ("req_seconds_count{}", 1.0),
        ("req_gauge{}", 7.0),
        ("req_distribution_sum{}", 9.0),
        ("size_total{}", 1.0),
        ("size_sum{}", 12.0),
    ];
    let samples = shown(&collector, &wanted).await;
    assert!(samples.contains_key("req_set{}"), "{samples:?}");
    let mut connection = carbon.accept().await;
    for start in
        ["req 1 ", "req.sum 0.005 ", "req.gauge 7 ", "req.distribution.sum 9 ", "size 1 ", "size.sum 12 "]
    {
        line(&mut connection, start).await;
    }
    sender.send("req:1|c:5|ms:7|g").await;
    shown(&collector, &[("req_total{}", 2.0)]).await;
    let logged = logs.lines_with("StatsD sends the name");
    assert_eq!(logged.len(), 3, "{logged:?}");
    assert!(logged.iter().any(|line| line.contains("req.gauge")), "{logged:?}");
    assert_eq!(collector.count(Event::Shared, "graphite", ""), 0);
}

#[tokio::test]
async fn a_series_that_nobody_sends_leaves_and_its_total_goes_on() {
    let (carbon, target) = (Carbon::listen(), Running::start(""));
    let flags = format!(
        "--statsd-flush 50ms --statsd-expiry 1s --graphite {} --forward grpc://{}",
        carbon.address(),
        target.grpc
    );
    let collector = Running::start(&flags);
    let sender = Sender::to(&collector).await;
    sender.send("job:5|c\nlevel:3|g\ntook:100|ms\nusers:x|s").await;
    shown(&collector, &[("job_total{}", 5.0), ("level{}", 3.0), ("took_seconds_count{}", 1.0)]).await;
    eventually("it is forwarded", async || (!target.scrape().await.of_senders().is_empty()).then_some(()))
        .await;
    for collector in [&collector, &target] {
        eventually("all have left", async || collector.scrape().await.of_senders().is_empty().then_some(()))
            .await;
    }
    assert_eq!(collector.pipeline.series_count(), 0, "their room is free");
    let mut connection = carbon.accept().await;
    line(&mut connection, "job 5 ").await;
    sender.send("job:2|c\nlevel:+1|g\ntook:100|ms").await;
    shown(&collector, &[("job_total{}", 7.0), ("level{}", 4.0), ("took_seconds_count{}", 2.0)]).await;
    line(&mut connection, "job 7 ").await;
}

#[tokio::test]
async fn neither_statsd_nor_otlp_takes_the_others_share() {
    let points = |from: i64, to: i64| -> Vec<Metric> {
        let points = (from..to).map(|key| int(&[("k", &key.to_string())], T, 1)).collect();
        vec![gauge("level", points)]
    };
    let statsd = |from: i64, to: i64| (from..to).map(|key| format!("hits{key}:1|c\n")).collect::<String>();

    let collector = Running::start("--statsd-flush 20ms --max-series 20 --statsd-expiry 1s");
    let sender = Sender::to(&collector).await;
    sender.send(&statsd(0, 30)).await;
    eventually("it is full", async || (collector.pipeline.series_count() == 15).then_some(())).await;
    assert_eq!(statsd_refused(&collector, "max_series"), 15);
    assert_eq!(collector.send(&request(SHOP, points(0, 8))).await.0, 3, "what is left");
    // What is new comes in the place of what has expired, in one flush.
    eventually("new ones get in", async || {
        sender.send(&statsd(100, 115)).await;
        let samples = collector.scrape().await.samples;
        (100..115).all(|key| samples.contains_key(&format!("hits{key}_total{{}}"))).then_some(())
    })
    .await;
    assert_eq!(collector.count(Event::Refused, "statsd", "rejected"), 0);
    assert_eq!(collector.pipeline.series_count(), 20);

    let collector = Running::start("--statsd-flush 20ms --max-series 20");
    let names = (0..60).map(|name| gauge(&format!("n{name}"), vec![int(&[], T, 1)])).collect();
    assert_eq!(collector.send(&request(SHOP, names)).await.0, 45);
    Sender::to(&collector).await.send(&statsd(0, 5)).await;
    shown(&collector, &[("hits0_total{}", 1.0), ("hits4_total{}", 1.0)]).await;
}

#[tokio::test]
async fn sampled_values_count_for_what_they_stand_for() {
    let collector = Running::start("--statsd-flush 20ms --histogram-bounds 1");
    let sender = Sender::to(&collector).await;
    for rate in ["0.7", "0.6", "0.4", "0.35"] {
        let name = rate.replace('.', "_");
        for _ in 0..10 {
            sender.send(&format!("t{name}:2000|ms|@{rate}\nh{name}:2|h|@{rate}\n").repeat(100)).await;
        }
        let stands_for = 1000.0 / rate.parse::<f64>().unwrap();
        let sample = |name: &str, part: &str| format!("{name}_{part}{{}}");
        let names = [format!("t{name}_seconds"), format!("h{name}")];
        let samples = eventually("all of them", async || {
            let samples = collector.scrape().await.samples;
            let count = |name: &String| samples.get(&sample(name, "count")).copied().unwrap_or_default();
            names.iter().all(|name| (count(name) - stands_for).abs() <= 1.0).then_some(samples)
        })
        .await;
        for name in &names {
            let count = samples[&sample(name, "count")];
            assert_eq!(samples[&sample(name, "sum")], 2.0 * count, "{name}");
            assert_eq!(samples[&format!("{name}_bucket{{le=+Inf}}")], count, "{name}");
            assert_eq!(samples[&format!("{name}_bucket{{le=1}}")], 0.0, "{name}");
        }
    }
}

#[tokio::test]
async fn what_would_spoil_a_total_is_refused_and_the_total_goes_on() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("--statsd-flush 20ms --histogram-bounds 1");
    let sender = Sender::to(&collector).await;
    sender.send("c:1|c\nc:1e17|c\nc:inf|c\nc:nan|c\nc:-1e300|c\nc:1e16|c|@0.5").await;
    sender.send("h:1|h\nh:1e300|h\nt:1000|ms\nt:1e200|ms\ng:1|g\ng:nan|g\ng:-Infinity|g").await;
    sender.send("c:5|c\nh:5|h\nt:5000|ms\ng:+1|g").await;
    let wanted =
        [("c_total{}", 6.0), ("h_sum{}", 6.0), ("h_count{}", 2.0), ("t_seconds_sum{}", 6.0), ("g{}", 2.0)];
    shown(&collector, &wanted).await;
    assert_eq!((statsd_refused(&collector, "overflow"), statsd_refused(&collector, "bad_value")), (5, 4));
    let logged = logs.lines_with("refused a line of StatsD");
    assert_eq!(logged.len(), 2, "once for each reason: {logged:?}");
    assert!(logged.iter().any(|line| line.contains("c:1e17|c") && line.contains("overflow")), "{logged:?}");
}

#[tokio::test]
async fn a_gauges_point_has_the_time_that_it_was_sent_for() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--statsd-flush 20ms --graphite {}", carbon.address()));
    let sender = Sender::to(&collector).await;
    sender.send(&format!("fuel:1|g|T{T}\nfuel:2|g|T{}\njobs:1|c|T{T}", T + 10)).await;
    let mut connection = carbon.accept().await;
    line(&mut connection, &format!("fuel 1 {T}")).await;
    line(&mut connection, &format!("fuel 2 {}", T + 10)).await;
    let jobs = line(&mut connection, "jobs 1 ").await;
    assert_ne!(jobs, format!("jobs 1 {T}"), "an increment is of now");
    shown(&collector, &[("fuel{}", 2.0), ("jobs_total{}", 1.0)]).await;
}

#[test]
fn a_series_of_statsd_ends_when_its_receiver_says_so_however_seldom_it_flushes() {
    let mut table = Table::new(10, &[1.0]).with_statsd(true);
    let start = Instant::now();
    let mut take = |receiver, name: &str, flags| {
        let point = NumberDataPoint { flags, ..int(&[("k", "v")], T, 1) };
        let wire = request(&[], vec![counter(name, CUMULATIVE, vec![point])]).encode_to_vec();
        let mut metrics = Metrics::read(&wire, &mut |_| true).unwrap();
        metrics.receiver = receiver;
        let mut plan = table.plan(&metrics, start, SystemTime::now());
        let _ = table.apply(&metrics, &mut plan, None, SystemTime::now());
        table.sweep(start + 2 * STALE_AFTER);
        table.len()
    };
    let ended = DataPointFlags::NoRecordedValueMask as u32;
    assert_eq!(take(Receiver::Otlp, "a", 0), 0);
    assert_eq!(take(Receiver::Statsd, "a", 0), 1);
    assert_eq!(take(Receiver::Statsd, "b", ended), 1, "it is not known");
    assert_eq!(take(Receiver::Statsd, "a", ended), 0);
}

#[tokio::test]
async fn the_daemons_lines_of_idle_names_go_on_and_the_longest_idle_one_makes_room() {
    let carbon = Carbon::listen();
    let flags = "--statsd-names legacy --statsd-flush 100ms --statsd-expiry 1s --max-series 4";
    let collector = Running::start(&format!("{flags} --graphite {}", carbon.address()));
    let sender = Sender::to(&collector).await;
    sender.send("a:1|c\nb,k=v:2|c:3|c\nc:1|g\nd:x|s").await;
    shown(&collector, &[("a_total{}", 1.0), ("b_total{k=v}", 5.0)]).await;
    eventually("the series have left", async || {
        collector.scrape().await.of_senders().is_empty().then_some(())
    })
    .await;
    let mut connection = carbon.accept().await;
    line(&mut connection, "stats_counts.bk=v 5 ").await;
    // What is written from now on.
    connection.read.clear();
    for start in ["stats_counts.a 0 ", "stats_counts.bk=v 0 ", "stats.gauges.c 1 ", "stats.sets.d.count 0 "] {
        line(&mut connection, start).await;
    }
    sender.send("a:1|c\ne:7|c\na:1|c").await;
    line(&mut connection, "stats_counts.e 7 ").await;
    connection.read.clear();
    line(&mut connection, "stats_counts.e 0 ").await;
    line(&mut connection, "stats.statsd.graphiteStats.flush_length ").await;
    connection.read.clear();
    line(&mut connection, "stats.statsd.graphiteStats.flush_length ").await;
    let written = connection.lines().join("\n");
    assert!(written.contains("stats_counts.a ") && !written.contains("bk=v"), "{written}");
    assert_eq!(statsd_refused(&collector, "statsd_names_limit"), 0);
}

#[tokio::test]
async fn a_good_value_beside_a_bad_one_is_in_the_series_and_in_the_daemons_lines() {
    let carbon = Carbon::listen();
    let flags = "--statsd-names legacy --statsd-flush 50ms";
    let collector = Running::start(&format!("{flags} --graphite {}", carbon.address()));
    let sender = Sender::to(&collector).await;
    sender.send("stamped:4|c|T1700000000:x|c\npacked:1:x:2|c\nby[k=http://v]:7|g:x|g").await;
    shown(&collector, &[("stamped_total{}", 4.0), ("packed_total{}", 3.0), ("by{k=http://v}", 7.0)]).await;
    let mut connection = carbon.accept().await;
    for start in ["stats_counts.stamped 4 ", "stats_counts.packed 3 ", "stats.gauges.byk=http--v 7 "] {
        line(&mut connection, start).await;
    }
    assert_eq!(statsd_refused(&collector, "bad_value"), 3);
}

#[tokio::test]
async fn a_gauge_shows_its_newest_value_by_time_however_late_or_early_its_sender_is() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--statsd-flush 20ms --graphite {}", carbon.address()));
    let sender = Sender::to(&collector).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // Each is in the second of a point that was written.
    for value in [1, 2, 3] {
        let (late, early) = (now - 2, now + 30);
        sender.send(&format!("late:{value}|g|T{late}\nearly:{value}|g|T{early}")).await;
        let value = f64::from(value);
        shown(&collector, &[("late{}", value), ("early{}", value)]).await;
    }
    sender.send("level:5|g").await;
    shown(&collector, &[("level{}", 5.0)]).await;
    sender.send(&format!("level:9|g|T{}\nearly:9|g\nmoved:4|g|T{}:+1|g\nmark:1|c", now - 5, now - 3)).await;
    shown(&collector, &[("mark_total{}", 1.0), ("level{}", 5.0), ("early{}", 3.0), ("moved{}", 5.0)]).await;
    let mut connection = carbon.accept().await;
    line(&mut connection, &format!("level 9 {}", now - 5)).await;
    line(&mut connection, &format!("moved 4 {}", now - 3)).await;
    line(&mut connection, "moved 5 ").await;
    let refused = collector.pipeline.stats().snapshot();
    assert!(refused.iter().all(|(count, _)| count.event != Event::Refused), "{refused:?}");
}

#[tokio::test]
async fn a_counter_that_becomes_a_gauge_hides_no_distribution_of_its_name() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("--statsd-flush 20ms --histogram-bounds 1");
    let sender = Sender::to(&collector).await;
    sender.send("size:5|c\nsize:12|h").await;
    shown(&collector, &[("size_total{}", 5.0), ("size_sum{}", 12.0)]).await;
    sender.send("size:-2|c\nsize:3|h").await;
    let wanted = [("size{}", 3.0), ("size_distribution_sum{}", 15.0), ("size_distribution_count{}", 2.0)];
    let samples = shown(&collector, &wanted).await;
    assert!(!samples.contains_key("size_total{}") && !samples.contains_key("size_sum{}"), "{samples:?}");
    sender.send("size:1|c\nsize:1|h\nlater:1|h\nlater:1|c\nlater:-1|c").await;
    shown(&collector, &[("size{}", 4.0), ("later{}", 0.0), ("later_distribution_sum{}", 1.0)]).await;
    assert_eq!(logs.lines_with("StatsD sends the name \"size\"").len(), 1, "once");
    let refused = collector.pipeline.stats().snapshot();
    assert!(refused.iter().all(|(count, _)| count.event != Event::Refused), "{refused:?}");
}

#[tokio::test]
async fn a_gauges_increment_that_would_swallow_others_is_refused() {
    let collector = Running::start("--statsd-flush 20ms");
    let sender = Sender::to(&collector).await;
    sender.send("g:1|g\ng:+9007199254740994|g\ng:-1e17|g\ng:+1|g").await;
    shown(&collector, &[("g{}", 2.0)]).await;
    assert_eq!(statsd_refused(&collector, "overflow"), 2);
}
