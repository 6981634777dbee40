//! Gauges: set, moved, and with times of their own.

use super::*;

#[test]
fn a_gauge_is_set_or_moved() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["gaugor:333|g\ngaugor:-10|g\ngaugor:+4|g"]);
    assert_eq!(number(&aggregate, "gaugor"), ("gauge", 327.0));
    add(&mut aggregate, &["gaugor:0|g\ngaugor:-5|g"]);
    assert_eq!(number(&aggregate, "gaugor"), ("gauge", -5.0), "the way to a value below zero");
    add(&mut aggregate, &["gaugor:1:2:0.25|g|@0.5"]);
    assert_eq!(number(&aggregate, "gaugor").1, 0.25, "the last packed value; a rate means nothing here");
    aggregate.end_interval(SEEN);
    assert_eq!(number(&aggregate, "gaugor").1, 0.25, "an idle gauge keeps its value");
    add(&mut aggregate, &["new:-2|g"]);
    assert_eq!(number(&aggregate, "new").1, -2.0);
}

#[test]
fn a_gauge_has_the_times_that_it_was_sent_for() {
    let mut aggregate = aggregate();
    let now = 5_000 * NANOSECONDS;
    let mut tally = Tally::default();
    aggregate.max_age = Some(Duration::from_secs(1000));
    let lines = b"a:1|g|T4100\na:3|g|T4300\na:2|g|T4200\nb:1|g|T0:1|g|T5601:1|g|T3999\nc:+1|g|T7\nd:1|c|T7";
    aggregate.add(lines, now, &mut tally);
    let refused = [("timestamp", 1), ("timestamp_ahead", 1), ("timestamp_old", 1)];
    assert_eq!((tally.accepted(), tally.refused()), (5, refused.to_vec()));
    let points = |aggregate: &Aggregate, name| {
        let Some(Data::Gauge(gauge)) = metric(aggregate, name).data else { panic!("not a gauge") };
        let point = |point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => (point.time_unix_nano / NANOSECONDS, value),
            other => panic!("not a double: {other:?}"),
        };
        gauge.data_points.iter().map(point).collect::<Vec<_>>()
    };
    assert_eq!(points(&aggregate, "a"), [(4100, 1.0), (4200, 2.0), (4300, 3.0)]);
    assert_eq!(points(&aggregate, "c"), [(5000, 1.0)]);
    aggregate.end_interval(SEEN);
    assert_eq!(points(&aggregate, "a"), [(4300, 3.0)]);
    aggregate.expire(now + 301 * NANOSECONDS);
    assert_eq!(ended(&aggregate).len(), 2, "no point of it would be taken");
}

/// Points of the gauge `a` in a flush at `now`, by second and value.
fn flush_of_a(aggregate: &mut Aggregate, now: u64) -> Vec<(u64, f64)> {
    let request = aggregate.request(now).expect("something");
    aggregate.end_interval(now);
    let metric =
        request.resource_metrics[0].scope_metrics[0].metrics.iter().find(|metric| metric.name == "a");
    let Some(Data::Gauge(gauge)) = metric.and_then(|metric| metric.data.as_ref()) else { panic!("no gauge") };
    let point = |point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| match point.value {
        Some(number_data_point::Value::AsDouble(value)) => (point.time_unix_nano / NANOSECONDS, value),
        other => panic!("not a double: {other:?}"),
    };
    gauge.data_points.iter().map(point).collect()
}

#[test]
fn the_newest_value_of_a_gauge_has_the_newest_point_whenever_it_came() {
    let mut aggregate = aggregate();
    let send = |aggregate: &mut Aggregate, line: &str, second: u64| {
        let mut tally = Tally::default();
        aggregate.add(line.as_bytes(), second * NANOSECONDS, &mut tally);
        assert_eq!(tally.refused(), vec![], "{line}");
    };
    let at = |second: u64| second * NANOSECONDS + NANOSECONDS / 2;
    send(&mut aggregate, "a:1|g", 5000);
    assert_eq!(flush_of_a(&mut aggregate, at(5000)), [(5000, 1.0)]);
    // In the second of the flush, and behind it: what is newest in time goes on.
    send(&mut aggregate, "a:2|g|T5000", 5001);
    assert_eq!(flush_of_a(&mut aggregate, at(5010)), [(5000, 2.0), (5010, 2.0)]);
    send(&mut aggregate, "a:3|g|T5008", 5011);
    assert_eq!(flush_of_a(&mut aggregate, at(5020)), [(5008, 3.0), (5020, 3.0)]);
    send(&mut aggregate, "a:9|g|T5007", 5021);
    assert_eq!(flush_of_a(&mut aggregate, at(5030)), [(5007, 9.0), (5030, 3.0)], "older than what there is");
    // A sender whose clock is ahead, and an increment on top of it.
    send(&mut aggregate, "a:4|g|T5033", 5031);
    send(&mut aggregate, "a:+1|g", 5031);
    assert_eq!(flush_of_a(&mut aggregate, at(5031)), [(5033, 4.0), (5033, 5.0)]);
    send(&mut aggregate, "a:6|g", 5034);
    assert_eq!(flush_of_a(&mut aggregate, at(5040)), [(5040, 6.0)]);
}
