//! What a scrape shows of what was pushed. Expected names, labels and types are those of the stock
//! Collector's `prometheus` exporter.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::metrics_service_client::MetricsServiceClient,
    metrics::v1::{
        DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
        exponential_histogram_data_point::Buckets, summary_data_point::ValueAtQuantile,
    },
};
use pushpull::exposition::parse::Kind;

use crate::support::*;

#[tokio::test]
async fn every_kind_arrives_by_grpc_as_by_http() {
    let quantiles = [(0.5, 0.2), (0.99, 0.9)].map(|(quantile, value)| ValueAtQuantile { quantile, value });
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: seconds(T),
        count: 8,
        sum: Some(20.0),
        scale: 0,
        zero_count: 1,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![2, 4] }),
        negative: Some(Buckets { offset: 1, bucket_counts: vec![1] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let summary_point = SummaryDataPoint {
        time_unix_nano: seconds(T),
        count: 7,
        sum: 2.5,
        quantile_values: quantiles.to_vec(),
        ..SummaryDataPoint::default()
    };
    let mut requests = counter("requests", CUMULATIVE, vec![int(&[("endpoint", "/")], T, 20)]);
    requests.description = "Application Request Count".to_owned();
    let metrics = vec![
        requests,
        sum("in.flight", CUMULATIVE, false, vec![int(&[], T, -3)]),
        gauge("temperature", vec![double(&[], T, 21.5)]),
        histogram("slow", CUMULATIVE, vec![buckets(T, &[0.5, 1.0], &[1, 2, 3], 9.25)]),
        exponential("sizes", CUMULATIVE, vec![point]),
        summary("rpc", vec![summary_point]),
    ];
    let request = request(SHOP, metrics);

    let by_http = Running::start("--histogram-bounds 1,2,5");
    assert_eq!(by_http.send(&request).await, (0, String::new()));
    let by_grpc = Running::start("--histogram-bounds 1,2,5");
    let mut client = MetricsServiceClient::connect(format!("http://{}", by_grpc.grpc)).await.unwrap();
    assert_eq!(client.export(request).await.unwrap().into_inner().partial_success, None);

    let scrape = by_http.scrape().await;
    assert_eq!(scrape.of_senders(), by_grpc.scrape().await.of_senders());
    for (family, kind) in [
        ("requests_total", Kind::Counter),
        ("in_flight", Kind::Gauge),
        ("temperature", Kind::Gauge),
        ("slow", Kind::Histogram),
        ("sizes", Kind::Histogram),
        ("rpc", Kind::Summary),
        ("target_info", Kind::Gauge),
    ] {
        assert_eq!(scrape.types[family], kind, "{family}");
    }
    assert_eq!(scrape.families().len(), 7, "{:?}", scrape.families());
    assert_eq!(scrape.helps["requests_total"], "Application Request Count");
    for (sample, value) in [
        ("requests_total{endpoint=/}", 20.0),
        ("in_flight", -3.0),
        ("temperature", 21.5),
        ("slow_bucket{le=0.5}", 1.0),
        ("slow_bucket{le=1}", 3.0),
        ("slow_bucket{le=+Inf}", 6.0),
        ("slow_sum", 9.25),
        ("slow_count", 6.0),
        // (1, 2] and (2, 4] by the definition of scale 0; zero and what is below it are under 1.
        ("sizes_bucket{le=1}", 2.0),
        ("sizes_bucket{le=2}", 4.0),
        ("sizes_bucket{le=5}", 8.0),
        ("sizes_bucket{le=+Inf}", 8.0),
        ("sizes_sum", 20.0),
        ("sizes_count", 8.0),
        ("rpc{quantile=0.5}", 0.2),
        ("rpc{quantile=0.99}", 0.9),
        ("rpc_sum", 2.5),
        ("rpc_count", 7.0),
        ("target_info{service_version=2.1}", 1.0),
    ] {
        assert_eq!(scrape.shop(sample), Some(value), "{sample} in {:?}", scrape.of_senders());
    }
    assert_eq!(scrape.of_senders().len(), 19, "{:?}", scrape.of_senders());
}

#[tokio::test]
async fn deltas_add_up_whatever_their_kind() {
    let collector = Running::start("--histogram-bounds 1,2");
    for time in [T, T + 10, T + 20] {
        let point = ExponentialHistogramDataPoint {
            time_unix_nano: seconds(time),
            count: 3,
            sum: Some(3.5),
            positive: Some(Buckets { offset: 0, bucket_counts: vec![3] }),
            ..ExponentialHistogramDataPoint::default()
        };
        collector
            .take(vec![
                counter("jobs", DELTA, vec![int(&[("q", "a")], time, 5), int(&[("q", "b")], time, 1)]),
                sum("balance", DELTA, false, vec![double(&[], time, -0.5)]),
                histogram("wait", DELTA, vec![buckets(time, &[1.0], &[1, 2], 4.0)]),
                exponential("size", DELTA, vec![point]),
            ])
            .await;
    }
    let scrape = collector.scrape().await;
    for (sample, value) in [
        ("jobs_total{q=a}", 15.0),
        ("jobs_total{q=b}", 3.0),
        ("balance", -1.5),
        ("wait_bucket{le=1}", 3.0),
        ("wait_count", 9.0),
        ("wait_sum", 12.0),
        ("size_bucket{le=1}", 0.0),
        ("size_bucket{le=2}", 9.0),
        ("size_sum", 10.5),
    ] {
        assert_eq!(scrape.shop(sample), Some(value), "{sample}");
    }
}

#[tokio::test]
async fn an_older_point_changes_nothing_and_a_late_delta_counts() {
    let collector = Running::start("");
    for (time, value) in [(T + 10, 7), (T, 3), (T + 5, 6)] {
        collector.take(vec![counter("done", CUMULATIVE, vec![int(&[], time, value)])]).await;
        collector.take(vec![counter("steps", DELTA, vec![int(&[], time, value)])]).await;
    }
    let scrape = collector.scrape().await;
    assert_eq!(scrape.shop("done_total"), Some(7.0));
    assert_eq!(scrape.shop("steps_total"), Some(16.0));
}

#[tokio::test]
async fn a_broken_clock_does_not_stop_a_series() {
    let collector = Running::start("");
    let far = u64::MAX / 1_000_000_000;
    for (time, value) in [(far, 1), (T, 2), (T + 1, 3)] {
        collector.take(vec![gauge("level", vec![int(&[], time, value)])]).await;
        collector.take(vec![counter("steps", DELTA, vec![int(&[], time, value)])]).await;
    }
    let scrape = collector.scrape().await;
    assert_eq!((scrape.shop("level"), scrape.shop("steps_total")), (Some(3.0), Some(6.0)));
}

#[tokio::test]
async fn no_recorded_value_ends_a_series_with_its_target() {
    let flags = DataPointFlags::NoRecordedValueMask as u32;
    let collector = Running::start("");
    let one = || int(&[("k", "1")], T, 5);
    let two = || int(&[("k", "2")], T, 6);
    collector
        .take(vec![
            counter("steps", DELTA, vec![one(), two()]),
            histogram("wait", DELTA, vec![buckets(T, &[1.0], &[1, 2], 4.0)]),
        ])
        .await;
    let end = |point: NumberDataPoint| NumberDataPoint { flags, value: None, ..point };
    let ended = HistogramDataPoint { flags, ..buckets(T + 1, &[], &[], 0.0) };
    collector
        .take(vec![counter("steps", DELTA, vec![end(one())]), histogram("wait", DELTA, vec![ended])])
        .await;
    let scrape = collector.scrape().await;
    assert_eq!(scrape.families(), ["steps_total", "target_info"].into());
    assert_eq!((scrape.shop("steps_total{k=1}"), scrape.shop("steps_total{k=2}")), (None, Some(6.0)));

    collector.take(vec![counter("steps", DELTA, vec![one()])]).await;
    assert_eq!(collector.scrape().await.shop("steps_total{k=1}"), Some(5.0), "it begins anew");
    collector.take(vec![counter("steps", DELTA, vec![end(one()), end(two())])]).await;
    let scrape = collector.scrape().await;
    assert_eq!(scrape.families(), [].into(), "a target without series is none");
}

#[tokio::test]
async fn job_instance_and_target_info_are_the_resources() {
    let collector = Running::start("");
    for resource in [
        &[("service.name", "plain")][..],
        &[
            ("service.name", "b"),
            ("service.namespace", "a"),
            ("service.instance.id", "i"),
            ("host.name", "h"),
        ],
        &[("service.namespace", "only"), ("host.name", "lost")],
        &[("service.instance.id", "alone"), ("job", "mine"), ("instance", "its")],
    ] {
        let metrics = vec![gauge("up", vec![int(&[], T, 1)])];
        assert_eq!(collector.send(&request(resource, metrics)).await.0, 0);
    }
    let samples = collector.scrape().await.of_senders();
    let keys: Vec<&str> = samples.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "target_info{exported_instance=its,exported_job=mine,instance=alone}",
            "target_info{host_name=h,instance=i,job=a/b}",
            "target_info{job=plain}",
            "up{instance=alone}",
            "up{instance=i,job=a/b}",
            "up{job=plain}",
            "up{}",
        ]
    );
}

#[tokio::test]
async fn attributes_with_the_names_of_the_formats_labels_make_way() {
    let own = [("job", "j"), ("instance", "i"), ("le", "l"), ("quantile", "q"), ("__name__", "n")];
    let mut wait = buckets(T, &[1.0], &[1, 2], 4.0);
    wait.attributes = attributes(&own);
    let quantile = ValueAtQuantile { quantile: 0.5, value: 1.0 };
    let rpc = SummaryDataPoint {
        attributes: attributes(&own),
        time_unix_nano: seconds(T),
        count: 1,
        sum: 1.0,
        quantile_values: vec![quantile, quantile],
        ..SummaryDataPoint::default()
    };
    let collector = Running::start("");
    collector
        .take(vec![
            gauge("level", vec![int(&own, T, 1)]),
            histogram("wait", CUMULATIVE, vec![wait]),
            summary("rpc", vec![rpc]),
        ])
        .await;
    let scrape = collector.scrape().await;
    let exported = "exported_instance=i,exported_job=j,exported_name=n";
    for (sample, value) in [
        (format!("level{{{exported},le=l,quantile=q}}"), 1.0),
        (format!("wait_bucket{{{exported},exported_le=l,le=1,quantile=q}}"), 1.0),
        (format!("wait_count{{{exported},exported_le=l,quantile=q}}"), 3.0),
        (format!("rpc{{{exported},exported_quantile=q,le=l,quantile=0.5}}"), 1.0),
    ] {
        assert_eq!(scrape.shop(&sample), Some(value), "{sample} in {:?}", scrape.of_senders());
    }
}

#[tokio::test]
async fn below_zero_there_is_no_zero() {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let rpc = |quantile_values| SummaryDataPoint {
        time_unix_nano: seconds(T),
        count: 1,
        quantile_values,
        ..SummaryDataPoint::default()
    };
    let collector = Running::start("");
    collector
        .take(vec![
            summary("both", vec![rpc(vec![quantile(0.0, 1.0), quantile(-0.0, 2.0), quantile(1.0, 3.0)])]),
            summary("one", vec![rpc(vec![quantile(-0.0, 2.0)])]),
            histogram("wait", CUMULATIVE, vec![buckets(T, &[-0.0, 1.0], &[1, 2, 0], 1.0)]),
        ])
        .await;
    let scrape = collector.scrape().await;
    for (sample, value) in [
        ("both{quantile=0}", Some(1.0)),
        ("both{quantile=-0}", None),
        ("both{quantile=1}", Some(3.0)),
        ("one{quantile=0}", Some(2.0)),
        ("wait_bucket{le=0}", Some(1.0)),
    ] {
        let sample = sample.replace('{', "{instance=one,job=eu/shop,");
        assert_eq!(scrape.samples.get(&sample).copied(), value, "{sample} in {:?}", scrape.of_senders());
    }
}

#[tokio::test]
async fn what_is_the_same_after_sanitising_is_shown_once_by_the_first_name() {
    let collector = Running::start("");
    collector
        .take(vec![
            gauge("queue.size", vec![int(&[("a.b", "1")], T + 1, 10)]),
            gauge("queue_size", vec![int(&[("a_b", "1")], T, 20)]),
            gauge("other", vec![int(&[("a.b", "x"), ("a_b", "y")], T, 30)]),
        ])
        .await;
    let scrape = collector.scrape().await;
    assert_eq!(scrape.shop("queue_size{a_b=1}"), Some(10.0));
    assert_eq!(scrape.shop("other{a_b=x;y}"), Some(30.0));
    collector.take(vec![gauge("queue_size", vec![int(&[("a_b", "1")], T + 2, 21)])]).await;
    assert_eq!(collector.scrape().await.shop("queue_size{a_b=1}"), Some(10.0));
}

/// [`Scrape::of`] checks the rules at each scrape.
#[tokio::test]
async fn conflicting_types_never_make_an_invalid_exposition() {
    let collector = Running::start("");
    collector.take(vec![gauge("x", vec![int(&[], T, 1)])]).await;
    // Of another service each, since one service has one type for a name.
    let count = SummaryDataPoint { time_unix_nano: seconds(T), ..SummaryDataPoint::default() };
    let wait = histogram("x", CUMULATIVE, vec![buckets(T, &[1.0], &[1, 2], 4.0)]);
    for (service, metric) in [("bakery", wait), ("garden", summary("x", vec![count]))] {
        let answer = collector.send(&request(&[("service.name", service)], vec![metric])).await;
        assert_eq!(answer, (0, String::new()));
    }
    let scrape = collector.scrape().await;
    assert_eq!((scrape.types["x"], scrape.shop("x")), (Kind::Gauge, Some(1.0)));
    assert_eq!(scrape.samples["pushpull_collector_hidden_series{reason=type}"], 2.0);

    collector
        .take(vec![
            gauge("wait.count", vec![int(&[], T, 1)]),
            gauge("wait.bucket", vec![int(&[("le", "1")], T, 1)]),
            histogram("wait", CUMULATIVE, vec![buckets(T, &[1.0], &[1, 2], 4.0)]),
            gauge("target_info", vec![int(&[], T, 1)]),
            gauge("pushpull.collector.series", vec![int(&[], T, 1)]),
            gauge("pushpull.collector.unheard.of", vec![int(&[], T, 1)]),
        ])
        .await;
    let scrape = collector.scrape().await;
    assert_eq!(scrape.families(), ["x", "wait", "target_info"].into());
    assert_eq!(scrape.shop("wait_count"), Some(3.0));
    assert_eq!(scrape.samples["pushpull_collector_series{}"], 9.0);
    let hidden = ["name", "reserved", "type"]
        .map(|reason| scrape.samples[&format!("pushpull_collector_hidden_series{{reason={reason}}}")]);
    assert_eq!(hidden, [2.0, 3.0, 2.0]);
}

#[tokio::test]
async fn statsd_reaches_the_exposition() {
    let collector = Running::start("--statsd-flush 20ms --histogram-bounds 0.1,1");
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(collector.statsd).await.unwrap();
    for datagram in ["visits:2|c|#page:home\nvisits:3|c|#page:home", "load:0.5|g", "took:250|ms"] {
        sender.send(datagram.as_bytes()).await.unwrap();
    }
    let scrape = eventually("the series of StatsD", async || {
        let scrape = collector.scrape().await;
        (scrape.samples.contains_key("took_seconds_count{}")).then_some(scrape)
    })
    .await;
    assert_eq!(scrape.samples["visits_total{page=home}"], 5.0);
    assert_eq!(scrape.samples["load{}"], 0.5);
    assert_eq!(scrape.samples["took_seconds_bucket{le=1}"], 1.0);
    assert_eq!(scrape.samples["took_seconds_sum{}"], 0.25);
    assert_eq!(scrape.samples["pushpull_collector_accepted_total{receiver=statsd,signal=metrics}"], 4.0);
}
