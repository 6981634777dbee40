//! `--forward-temporality cumulative`: a peer that takes no deltas gets what they add up to.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint,
        exponential_histogram_data_point::Buckets, metric::Data, number_data_point::Value,
    },
};
use prost::Message as _;
use pushpull::collector::stats::Event;

use crate::{forward::Endpoint, support::*};

const TO_CUMULATIVE: i32 = CUMULATIVE as i32;

/// What the endpoint was sent as its request number `at`.
async fn heard(endpoint: &Endpoint, at: usize) -> Vec<(String, Data)> {
    let (_, _, _, body) = endpoint.heard(at + 1).await.swap_remove(at);
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let metrics = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    let metrics = metrics.flat_map(|scope| scope.metrics);
    metrics.map(|metric| (metric.name, metric.data.unwrap())).collect()
}

fn numbers(data: &Data) -> Vec<(u64, u64, Option<Value>)> {
    let Data::Sum(sum) = data else { panic!("{data:?}") };
    assert_eq!(sum.aggregation_temporality, TO_CUMULATIVE);
    let second = |nanos| nanos / seconds(1);
    let points = sum.data_points.iter();
    points
        .map(|point| (second(point.start_time_unix_nano), second(point.time_unix_nano), point.value))
        .collect()
}

fn histogram_points(data: &Data) -> &[HistogramDataPoint] {
    let Data::Histogram(histogram) = data else { panic!("{data:?}") };
    assert_eq!(histogram.aggregation_temporality, TO_CUMULATIVE);
    &histogram.data_points
}

fn from(start: u64, point: NumberDataPoint) -> NumberDataPoint {
    NumberDataPoint { start_time_unix_nano: seconds(start), ..point }
}

#[tokio::test]
async fn deltas_are_sent_on_as_the_totals_of_their_series() {
    let endpoint = Endpoint::start(Vec::new()).await;
    let collector = Running::start(&format!(
        "--histogram-bounds 1,2 --forward-temporality cumulative --forward metrics=http://{}",
        endpoint.address
    ));
    let size = |start, time| {
        let point = ExponentialHistogramDataPoint {
            start_time_unix_nano: seconds(start),
            time_unix_nano: seconds(time),
            count: 3,
            sum: Some(3.5),
            positive: Some(Buckets { offset: 0, bucket_counts: vec![3] }),
            ..ExponentialHistogramDataPoint::default()
        };
        exponential("size", DELTA, vec![point])
    };
    let wait = |time| {
        let point = HistogramDataPoint { min: Some(0.1), ..buckets(time, &[1.0], &[1, 2], 4.0) };
        histogram("wait", DELTA, vec![point])
    };
    for (at, time) in [(0, T), (1, T + 10)] {
        collector
            .take(vec![
                counter(
                    "hits",
                    DELTA,
                    vec![
                        from(time - 5, int(&[("k", "a")], time + 1, 2)),
                        from(time - 10, int(&[("k", "a")], time, 1)),
                        from(time - 10, int(&[("k", "b")], time, 5)),
                    ],
                ),
                sum("level", DELTA, false, vec![double(&[], time, -0.5)]),
                wait(time),
                size(time - 10, time),
                counter("loaves", CUMULATIVE, vec![from(T - 100, int(&[], time, 7))]),
                gauge("depth", vec![int(&[], time, 3)]),
            ])
            .await;
        let sent = heard(&endpoint, at).await;
        let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["hits", "level", "wait", "size", "loaves", "depth"]);
        let n = i64::try_from(at).unwrap();
        let int = |value| Some(Value::AsInt(value));
        let mut hits = numbers(&sent[0].1);
        hits.sort_by_key(|(_, time, value)| (*time, format!("{value:?}")));
        let mut expected = vec![
            (T - 10, time, int(1 + 3 * n)),
            (T - 10, time, int(5 + 5 * n)),
            (T - 10, time + 1, int(3 + 3 * n)),
        ];
        expected.sort_by_key(|(_, time, value)| (*time, format!("{value:?}")));
        assert_eq!(hits, expected);
        assert_eq!(numbers(&sent[1].1), [(0, time, Some(Value::AsDouble(-0.5 * (at + 1) as f64)))]);
        let times = at as u64 + 1;
        let point = &histogram_points(&sent[2].1)[0];
        assert_eq!((point.count, point.sum, point.min), (3 * times, Some(4.0 * times as f64), None));
        assert_eq!(
            (&point.bucket_counts[..], &point.explicit_bounds[..]),
            (&[times, 2 * times][..], &[1.0][..])
        );
        let point = &histogram_points(&sent[3].1)[0];
        assert_eq!(
            (point.start_time_unix_nano, point.count, point.sum),
            (seconds(T - 10), 3 * times, Some(3.5 * times as f64))
        );
        assert_eq!(
            (&point.bucket_counts[..], &point.explicit_bounds[..]),
            (&[0, 3 * times, 0][..], &[1.0, 2.0][..])
        );
        assert_eq!(numbers(&sent[4].1), [(T - 100, time, int(7))]);
    }
    // The peer has what the page has.
    assert_eq!(collector.scrape().await.shop("hits_total{k=a}"), Some(6.0));
}

#[tokio::test]
async fn a_series_that_ends_begins_anew_and_what_is_refused_is_not_sent() {
    let endpoint = Endpoint::start(Vec::new()).await;
    let flags = format!("--forward-temporality cumulative --forward http://{}", endpoint.address);
    let collector = Running::start(&flags);
    collector.take(vec![counter("hits", DELTA, vec![from(T - 10, int(&[], T, 5))])]).await;
    let bad = vec![
        from(T, int(&[], T + 10, i64::MAX)),
        from(T, int(&[], T + 10, 2)),
        double(&[], T + 10, f64::NAN),
    ];
    assert_eq!(collector.send(&request(SHOP, vec![counter("hits", DELTA, bad)])).await.0, 2);
    let flags = DataPointFlags::NoRecordedValueMask as u32;
    let end = NumberDataPoint { flags, value: None, ..int(&[], T + 20, 0) };
    collector.take(vec![counter("hits", DELTA, vec![end])]).await;
    collector.take(vec![counter("hits", DELTA, vec![from(T + 20, int(&[], T + 30, 1))])]).await;
    let int = |value| Some(Value::AsInt(value));
    let expected = [
        vec![(T - 10, T, int(5))],
        vec![(T - 10, T + 10, int(7))],
        vec![(0, T + 20, None)],
        vec![(T + 20, T + 30, int(1))],
    ];
    for (at, expected) in expected.into_iter().enumerate() {
        assert_eq!(numbers(&heard(&endpoint, at).await[0].1), expected, "{at}");
    }
}

#[tokio::test]
async fn that_a_series_ended_is_sent_on_and_is_no_item() {
    let endpoint = Endpoint::start(Vec::new()).await;
    let flags =
        format!("--statsd-flush 50ms --statsd-expiry 1s --forward metrics=http://{}", endpoint.address);
    let collector = Running::start(&flags);
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(b"level:7|g", collector.statsd).await.unwrap();
    eventually("the end, and a count of the values before it", async || {
        let heard = endpoint.heard(1).await;
        let points: Vec<_> = heard
            .iter()
            .filter_map(|(.., body)| ExportMetricsServiceRequest::decode(body.as_ref()).ok())
            .flat_map(|request| request.resource_metrics)
            .flat_map(|resource| resource.scope_metrics)
            .flat_map(|scope| scope.metrics)
            .filter_map(|metric| match metric.data {
                Some(Data::Gauge(gauge)) => Some(gauge.data_points),
                _ => None,
            })
            .flatten()
            .collect();
        let values = points.iter().filter(|point| point.flags & 1 == 0).count();
        (values < points.len() && collector.count(Event::Sent, &endpoint.sink(), "") == values as u64)
            .then_some(())
    })
    .await;
}
