use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value},
    metrics::v1::{AggregationTemporality, HistogramDataPoint, Metric, metric::Data, number_data_point},
};
use proptest::prelude::*;

use super::*;

const SEEN: u64 = 1_000;
const FLUSHED: u64 = 2_000;

fn aggregate() -> Aggregate {
    Aggregate::new(vec![0.1, 0.5, 1.0], 100)
}

/// What was counted of `datagrams`, one after the other.
fn add(aggregate: &mut Aggregate, datagrams: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for datagram in datagrams {
        aggregate.add(datagram.as_bytes(), SEEN, &mut tally);
    }
    tally
}

fn metrics(aggregate: &Aggregate) -> Vec<Metric> {
    let mut request = aggregate.request(FLUSHED).expect("there are series");
    assert_eq!(request.resource_metrics.len(), 1);
    let mut resource = request.resource_metrics.remove(0);
    assert!(resource.resource.expect("a resource").attributes.is_empty());
    assert_eq!(resource.scope_metrics.len(), 1);
    let scope = resource.scope_metrics.remove(0);
    assert_eq!(scope.scope.expect("a scope").name, "statsd");
    scope.metrics
}

fn metric(aggregate: &Aggregate, name: &str) -> Metric {
    let mut found: Vec<_> = metrics(aggregate).into_iter().filter(|metric| metric.name == name).collect();
    assert_eq!(found.len(), 1, "metrics named {name}");
    found.remove(0)
}

fn attributes(attributes: &[KeyValue]) -> String {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => format!("{}={text}", attribute.key),
        other => panic!("not a string: {other:?}"),
    };
    attributes.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The type of a metric of numbers, and its values by attributes; checks the times of each point.
fn numbers(aggregate: &Aggregate, name: &str) -> (&'static str, BTreeMap<String, f64>) {
    let metric = metric(aggregate, name);
    assert_eq!(metric.unit, "");
    let (kind, points) = match metric.data.expect("data") {
        Data::Sum(sum) => {
            assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
            (if sum.is_monotonic { "counter" } else { "sum" }, sum.data_points)
        }
        Data::Gauge(gauge) => ("gauge", gauge.data_points),
        other => panic!("not numbers: {other:?}"),
    };
    let count = points.len();
    let values: BTreeMap<_, _> = points
        .iter()
        .map(|point| {
            assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (SEEN, FLUSHED));
            match point.value {
                Some(number_data_point::Value::AsDouble(value)) => (attributes(&point.attributes), value),
                other => panic!("not a double: {other:?}"),
            }
        })
        .collect();
    assert_eq!(values.len(), count, "each series once");
    (kind, values)
}

fn number(aggregate: &Aggregate, name: &str) -> (&'static str, f64) {
    let (kind, values) = numbers(aggregate, name);
    assert_eq!(values.keys().collect::<Vec<_>>(), [""]);
    (kind, values[""])
}

fn histogram(aggregate: &Aggregate, name: &str) -> (String, HistogramDataPoint) {
    let metric = metric(aggregate, name);
    let Some(Data::Histogram(mut histogram)) = metric.data else { panic!("not a histogram") };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
    assert_eq!(histogram.data_points.len(), 1);
    (metric.unit, histogram.data_points.remove(0))
}

#[test]
fn a_counter_adds_up_and_counts_for_what_was_not_sampled() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["gorets:1|c\ngorets:2|c|@0.1\ngorets:+3:0.5|c", "gorets:1|c"]);
    assert_eq!((tally.accepted(), tally.refused()), (5, vec![]));
    assert_eq!(number(&aggregate, "gorets"), ("counter", 1.0 + 20.0 + 3.0 + 0.5 + 1.0));
    aggregate.end_interval();
    assert_eq!(number(&aggregate, "gorets").1, 25.5, "totals go on over flushes");
    add(&mut aggregate, &["gorets:1|c"]);
    assert_eq!(number(&aggregate, "gorets").1, 26.5);
}

#[test]
fn whole_numbers_are_exact_up_to_two_to_the_fifty_third() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["big:9007199254740991|c", "big:1|c"]);
    assert_eq!(number(&aggregate, "big").1, 9_007_199_254_740_992.0);
}

#[test]
fn a_counter_that_fell_is_a_sum_with_the_same_total_from_then_on() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["stock:5|c", "stock:0|c", "stock:-0|c"]);
    assert_eq!(number(&aggregate, "stock"), ("counter", 5.0));
    add(&mut aggregate, &["stock:-1|c"]);
    assert_eq!(number(&aggregate, "stock"), ("sum", 4.0));
    add(&mut aggregate, &["stock:3|c"]);
    aggregate.end_interval();
    assert_eq!(number(&aggregate, "stock"), ("sum", 7.0));
}

#[test]
fn a_gauge_is_set_or_moved() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["gaugor:333|g\ngaugor:-10|g\ngaugor:+4|g"]);
    assert_eq!(number(&aggregate, "gaugor"), ("gauge", 327.0));
    add(&mut aggregate, &["gaugor:0|g\ngaugor:-5|g"]);
    assert_eq!(number(&aggregate, "gaugor"), ("gauge", -5.0), "the way to a value below zero");
    add(&mut aggregate, &["gaugor:1:2:0.25|g|@0.5"]);
    assert_eq!(number(&aggregate, "gaugor").1, 0.25, "the last packed value; a rate means nothing here");
    aggregate.end_interval();
    assert_eq!(number(&aggregate, "gaugor").1, 0.25, "an idle gauge keeps its value");
    add(&mut aggregate, &["new:-2|g"]);
    assert_eq!(number(&aggregate, "new").1, -2.0);
}

#[test]
fn a_set_counts_distinct_values_of_one_interval() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["uniques:765|s\nuniques:766|s\nuniques:765|s\nuniques:a:b|s"]);
    assert_eq!((tally.accepted(), tally.refused()), (4, vec![]));
    assert_eq!(number(&aggregate, "uniques"), ("gauge", 3.0));
    assert_eq!(number(&aggregate, "uniques"), ("gauge", 3.0), "a refused flush changes nothing");
    aggregate.end_interval();
    assert_eq!(number(&aggregate, "uniques"), ("gauge", 0.0), "an idle set is empty");
    add(&mut aggregate, &["uniques:765|s"]);
    assert_eq!(number(&aggregate, "uniques"), ("gauge", 1.0));
}

#[test]
fn a_set_is_bounded_and_still_knows_what_it_holds() {
    let mut aggregate = aggregate();
    let mut tally = Tally::default();
    for value in 0..=MAX_SET_VALUES {
        aggregate.add(format!("ids:{value}|s").as_bytes(), SEEN, &mut tally);
    }
    aggregate.add(b"ids:7|s\nothers:7|s", SEEN, &mut tally);
    assert_eq!(tally.refused(), [("max_set_values", 1)]);
    assert_eq!(tally.accepted(), MAX_SET_VALUES as u64 + 2);
    assert_eq!(number(&aggregate, "ids").1, MAX_SET_VALUES as f64);
    assert_eq!(number(&aggregate, "others").1, 1.0);
    aggregate.end_interval();
    assert_eq!(add(&mut aggregate, &["ids:new|s"]).accepted(), 1);
}

#[test]
fn a_timer_is_a_histogram_of_seconds() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["glork:320|ms\nglork:100|ms\nglork:2000|ms|@0.1"]);
    let (unit, point) = histogram(&aggregate, "glork");
    assert_eq!(unit, "s");
    assert_eq!(point.explicit_bounds, [0.1, 0.5, 1.0]);
    assert_eq!(point.bucket_counts, [1, 1, 0, 10], "a bound belongs to the bucket below it");
    assert_eq!((point.count, point.sum), (12, Some(0.32 + 0.1 + 20.0)));
    assert_eq!((point.min, point.max), (None, None));
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (SEEN, FLUSHED));
    aggregate.end_interval();
    add(&mut aggregate, &["glork:0|ms|@0.3"]);
    assert_eq!(histogram(&aggregate, "glork").1.bucket_counts, [4, 1, 0, 10], "cumulative; 1/0.3 is about 3");
    assert_eq!(add(&mut aggregate, &["glork:-1|ms"]).refused(), [("bad_value", 1)]);
    assert_eq!(histogram(&aggregate, "glork").1.count, 15);
}

#[test]
fn histograms_and_distributions_are_of_plain_values() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["length:0.5:0.6:240|h|@0.5\nlength:1|d"]);
    assert_eq!((tally.accepted(), tally.refused()), (4, vec![]));
    let (unit, point) = histogram(&aggregate, "length");
    assert_eq!(unit, "");
    assert_eq!(point.bucket_counts, [0, 2, 3, 2]);
    assert_eq!((point.count, point.sum), (7, Some(2.0 * (0.5 + 0.6 + 240.0) + 1.0)));
    add(&mut aggregate, &["length:-3|h\nlength:3|h"]);
    let (_, point) = histogram(&aggregate, "length");
    assert_eq!(point.bucket_counts, [1, 2, 3, 3]);
    assert_eq!((point.count, point.sum), (9, None), "a sum that can fall is not told");
}

#[test]
fn without_bounds_there_is_one_bucket() {
    let mut aggregate = Aggregate::new(Vec::new(), 100);
    add(&mut aggregate, &["glork:1:2|ms"]);
    let (_, point) = histogram(&aggregate, "glork");
    assert_eq!((point.bucket_counts, point.explicit_bounds), (vec![2], vec![]));
}

#[test]
fn tags_in_any_order_are_one_series_and_the_last_of_two_counts() {
    let mut aggregate = aggregate();
    let lines = [
        "a:1|c|#region:eu,flag,host:x:80",
        "a:1|c|#host:x:80,flag:true,region:eu",
        "a:1|c|#flag|@1|#region:us,host:x:80,region:eu,",
        "a:1|c|#region:us",
        "a:1|c",
        "a:1|c|#empty:",
    ];
    let tally = add(&mut aggregate, &lines);
    assert_eq!((tally.accepted(), tally.refused()), (6, vec![]));
    let expected = [("", 1.0), ("empty=", 1.0), ("flag=true host=x:80 region=eu", 3.0), ("region=us", 1.0)];
    let expected = expected.into_iter().map(|(tags, value)| (tags.to_owned(), value)).collect();
    assert_eq!(numbers(&aggregate, "a"), ("counter", expected));
}

#[test]
fn one_name_has_one_type() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["a:1|c\na:7|g|#k:v\na:1:2|ms\na:x|s\na:3|h\na:1|c|#k:v"]);
    assert_eq!((tally.accepted(), tally.refused()), (2, vec![("type_conflict", 5)]));
    assert_eq!(numbers(&aggregate, "a").1.len(), 2);
}

#[test]
fn a_series_too_many_is_refused_and_known_ones_go_on() {
    let mut aggregate = Aggregate::new(vec![1.0], 2);
    let tally = add(&mut aggregate, &["a:1|c\nb:1|g\nc:1|c\na:1:2|c|#k:v\nd:1|ms\na:1|c\nb:+1|g"]);
    assert_eq!((tally.accepted(), tally.refused()), (4, vec![("max_series", 4)]));
    assert_eq!(metrics(&aggregate).len(), 2, "no name without a series");
    assert_eq!(number(&aggregate, "a").1, 2.0);
    assert_eq!(number(&aggregate, "b").1, 2.0);
}

#[test]
fn a_bad_value_is_refused_alone_and_makes_no_series() {
    let mut aggregate = aggregate();
    let lines = [
        "a:1::x:3:nan:inf:1e999|c",
        "b:|c\nb:x|g\nb:NaN|ms\nb:|s\nb:infinity|h\nb:1e308|c|@0.1\nb:1e308|d|@0.1",
    ];
    let tally = add(&mut aggregate, &lines);
    assert_eq!((tally.accepted(), tally.refused()), (2, vec![("bad_value", 5 + 7)]));
    assert_eq!(number(&aggregate, "a"), ("counter", 4.0));
    assert_eq!(metrics(&aggregate).len(), 1);
}

#[test]
fn no_total_leaves_the_finite_numbers() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["c:1e308:1e308:1|c\ng:1e308:+1e308|g\nd:1e308:1e308|d"]);
    assert_eq!((tally.accepted(), tally.refused()), (4, vec![("overflow", 3)]));
    assert_eq!(number(&aggregate, "c"), ("counter", 1e308));
    assert_eq!(number(&aggregate, "g"), ("gauge", 1e308));
    let (_, point) = histogram(&aggregate, "d");
    assert_eq!((point.count, point.sum, point.bucket_counts), (1, Some(1e308), vec![0, 0, 0, 1]));
}

#[test]
fn a_bad_line_costs_no_other_of_its_datagram() {
    let mut aggregate = aggregate();
    let mut tally = Tally::default();
    let datagram =
        b"\na:1|c\r\n\xff:1|c\n_e{1,1}:x|y\nnothing\n\r\n_sc|x|0\n:1|c\na:1|q\na:1|c|@7\na:1|c|#:v\na:2|c";
    aggregate.add(datagram, SEEN, &mut tally);
    assert_eq!(tally.accepted(), 2);
    let expected = [
        ("malformed_line", 1),
        ("not_utf8", 1),
        ("empty_name", 1),
        ("bad_type", 1),
        ("bad_sample_rate", 1),
        ("bad_tag", 1),
        ("unsupported", 2),
    ];
    assert_eq!(tally.refused(), expected);
    assert_eq!(number(&aggregate, "a"), ("counter", 3.0));
}

#[test]
fn there_is_no_request_without_series_and_no_point_before_its_start() {
    let mut aggregate = aggregate();
    assert_eq!(aggregate.request(FLUSHED), None);
    add(&mut aggregate, &["nothing\na:x|c"]);
    assert_eq!(aggregate.request(FLUSHED), None);
    add(&mut aggregate, &["a:1|c"]);
    let set_back = SEEN - 1;
    let request = aggregate.request(set_back).expect("there is a series");
    let Some(Data::Sum(sum)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("not a sum")
    };
    assert_eq!((sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano), (SEEN, SEEN));
}

/// Lines that resemble good ones closely enough to reach every branch.
fn near_lines() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "a", "b", ":", ":", "|", "|", "1", "-1", "+2", "0.5", "1e308", "nan", "c", "g", "ms", "h", "d", "s",
        "@", "#", "@0.1", "#k:v", "#:v", ",", "T1", "c:x", "_e{", "_sc|", "\n", "\r\n", "é", "",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), near_lines()]
}

proptest! {
    #[test]
    fn a_good_line_beside_garbage_is_kept(before in garbage(), after in garbage(), value in 1_u32..1000) {
        let mut aggregate = Aggregate::new(vec![0.1, 1.0], 1_000_000);
        let mut tally = Tally::default();
        aggregate.add(&before, SEEN, &mut tally);
        let good = format!("\nkept.beside.garbage:{value}|c|#k:v\n");
        let datagram = [&before, good.as_bytes(), &after].concat();
        aggregate.add(&datagram, SEEN, &mut tally);
        let (kind, values) = numbers(&aggregate, "kept.beside.garbage");
        prop_assert_eq!((kind, values["k=v"]), ("counter", f64::from(value)));
        for metric in metrics(&aggregate) {
            if let Some(Data::Histogram(histogram)) = metric.data {
                for point in histogram.data_points {
                    prop_assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                    prop_assert!(point.sum.is_none_or(f64::is_finite));
                }
            }
        }
    }

    #[test]
    fn a_counter_is_the_sum_of_what_was_sent_however_it_is_packed(
        packs in prop::collection::vec(prop::collection::vec(-1000_i32..1000, 1..10), 1..10),
    ) {
        let mut aggregate = aggregate();
        let mut tally = Tally::default();
        for pack in &packs {
            let values: Vec<_> = pack.iter().map(ToString::to_string).collect();
            aggregate.add(format!("a:{}|c", values.join(":")).as_bytes(), SEEN, &mut tally);
        }
        let values: Vec<i32> = packs.concat();
        let kind = if values.iter().any(|value| *value < 0) { "sum" } else { "counter" };
        prop_assert_eq!(tally.accepted(), values.len() as u64);
        prop_assert_eq!(number(&aggregate, "a"), (kind, f64::from(values.iter().sum::<i32>())));
    }
}
