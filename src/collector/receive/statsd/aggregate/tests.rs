use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value},
    metrics::v1::{AggregationTemporality, HistogramDataPoint, Metric, metric::Data, number_data_point},
};
use proptest::prelude::*;

use super::{
    super::tests::{NEVER, settings},
    *,
};

mod gauges;

const SEEN: u64 = 1_000;
const FLUSHED: u64 = 2_000;

fn aggregate() -> Aggregate {
    bounded(vec![0.1, 0.5, 1.0], 100)
}

fn bounded(histogram_bounds: Vec<f64>, max_series: usize) -> Aggregate {
    Aggregate::new(&Settings { histogram_bounds, ..settings(NEVER) }, max_series, Remembered::new(max_series))
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
    let mut scope = resource.scope_metrics.remove(0);
    assert!(scope.scope.is_none());
    scope.metrics.retain(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points[0].flags == 0,
        Some(Data::Gauge(gauge)) => gauge.data_points[0].flags == 0,
        Some(Data::Histogram(histogram)) => histogram.data_points[0].flags == 0,
        other => panic!("not of StatsD: {other:?}"),
    });
    scope.metrics
}

/// The series that a request says have ended: names, whether they are counters, and attributes.
fn ended(aggregate: &Aggregate) -> Vec<(String, bool, String)> {
    let request = aggregate.request(FLUSHED).expect("something");
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let mut ended: Vec<_> = metrics
        .iter()
        .filter_map(|metric| {
            let (monotonic, flags, tags) = match metric.data.as_ref()? {
                Data::Sum(sum) => {
                    (sum.is_monotonic, sum.data_points[0].flags, &sum.data_points[0].attributes)
                }
                Data::Gauge(gauge) => (false, gauge.data_points[0].flags, &gauge.data_points[0].attributes),
                Data::Histogram(histogram) => {
                    (false, histogram.data_points[0].flags, &histogram.data_points[0].attributes)
                }
                other => panic!("not of StatsD: {other:?}"),
            };
            (flags != 0).then(|| (metric.name.clone(), monotonic, attributes(tags)))
        })
        .collect();
    ended.sort();
    ended
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
    aggregate.end_interval(SEEN);
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
    aggregate.end_interval(SEEN);
    assert_eq!(number(&aggregate, "stock"), ("sum", 7.0));
}

#[test]
fn a_set_counts_distinct_values_of_one_interval() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["uniques:765|s\nuniques:766|s\nuniques:765|s\nuniques:a:b|s"]);
    assert_eq!((tally.accepted(), tally.refused()), (4, vec![]));
    assert_eq!(number(&aggregate, "uniques"), ("gauge", 3.0));
    assert_eq!(number(&aggregate, "uniques"), ("gauge", 3.0), "a refused flush changes nothing");
    aggregate.end_interval(SEEN);
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
    aggregate.end_interval(SEEN);
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
    aggregate.end_interval(SEEN);
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
    let mut aggregate = bounded(Vec::new(), 100);
    add(&mut aggregate, &["glork:1:2|ms"]);
    let (_, point) = histogram(&aggregate, "glork");
    assert_eq!((point.bucket_counts, point.explicit_bounds), (vec![2], vec![]));
}

#[test]
fn tags_in_any_order_are_one_series_and_two_of_one_key_are_both_in_it() {
    let mut aggregate = aggregate();
    let lines = [
        "a:1|c|#region:eu,flag,host:x:80",
        "a:1|c|#host:x:80,flag:true,region:eu",
        "a:1|c|#flag|@1|#region:eu,host:x:80,region:eu,",
        "a:1|c|#region:us,region:eu",
        "a:1|c|#region:eu,region:us",
        "a:1|c|#region:us",
        "a:1|c",
        "a:1|c|#empty:",
    ];
    let tally = add(&mut aggregate, &lines);
    assert_eq!((tally.accepted(), tally.refused()), (8, vec![]));
    let expected = [
        ("", 1.0),
        ("empty=", 1.0),
        ("flag=true host=x:80 region=eu", 3.0),
        ("region=eu region=us", 2.0),
        ("region=us", 1.0),
    ];
    let expected = expected.into_iter().map(|(tags, value)| (tags.to_owned(), value)).collect();
    assert_eq!(numbers(&aggregate, "a"), ("counter", expected));
}

#[test]
fn one_name_is_kept_as_each_type_that_it_is_sent_as() {
    let mut aggregate = aggregate();
    let tally = add(&mut aggregate, &["a:1|c:2|ms\na:7|g|#k:v\na:x|s\na:3|h\na:1|c|#k:v\na.gauge:1|g"]);
    assert_eq!((tally.accepted(), tally.refused()), (7, vec![]));
    let mut shown: Vec<_> = metrics(&aggregate).into_iter().map(|metric| metric.name).collect();
    shown.sort();
    shown.dedup();
    assert_eq!(shown, ["a", "a.distribution", "a.gauge", "a.gauge.gauge", "a.set"]);
    assert_eq!(numbers(&aggregate, "a.gauge").1["k=v"], 7.0);
    let notices = aggregate.notices().some;
    assert_eq!(notices.len(), 4, "{notices:?}");
    assert!(notices[0].contains("\"a\" as a gauge") && notices[0].contains("\"a.gauge\""), "{notices:?}");
    assert!(aggregate.notices().some.is_empty(), "once");
}

#[test]
fn what_is_not_sent_for_long_ends_and_its_total_goes_on() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["a:5|c|#k:v\nb:5|g\nc:100|ms\nd:x|s\ne:1|c\ne:-3|c"]);
    let five_minutes = 300 * NANOSECONDS;
    aggregate.expire(SEEN + five_minutes);
    assert_eq!(metrics(&aggregate).len(), 5, "no flush had it yet");
    aggregate.end_interval(SEEN);
    aggregate.expire(SEEN + five_minutes - 1);
    assert_eq!(metrics(&aggregate).len(), 5);
    aggregate.expire(SEEN + five_minutes);
    assert_eq!(metrics(&aggregate).into_iter().map(|metric| metric.name).collect::<Vec<_>>(), ["b"]);
    let end = |name: &str, is_counter, tags: &str| (name.to_owned(), is_counter, tags.to_owned());
    let all = [end("a", true, "k=v"), end("c", false, ""), end("d", false, ""), end("e", false, "")];
    assert_eq!(ended(&aggregate), all, "until a flush is taken");
    assert_eq!(ended(&aggregate), all);
    aggregate.end_interval(SEEN);
    assert_eq!(ended(&aggregate), []);
    add(&mut aggregate, &["a:1|c|#k:v\nc:100|ms\ne:4|c"]);
    assert_eq!(numbers(&aggregate, "a"), ("counter", [("k=v".to_owned(), 6.0)].into()));
    assert_eq!(histogram(&aggregate, "c").1.count, 2);
    assert_eq!(number(&aggregate, "e"), ("sum", 2.0), "it stays a gauge");
    aggregate.end_interval(SEEN);
    aggregate.expire(SEEN + 24 * 12 * five_minutes);
    assert_eq!(aggregate.held.series, 0);
    assert_eq!(ended(&aggregate).len(), 4);
}

#[test]
fn what_has_expired_makes_room() {
    let mut aggregate = bounded(vec![1.0], 2);
    let mut now = SEEN;
    for round in 0..10 {
        let mut tally = Tally::default();
        aggregate.add(format!("a{round}:1|c\nb{round}:1|ms\nc{round}:1|c").as_bytes(), now, &mut tally);
        assert_eq!((tally.accepted(), tally.refused()), (2, vec![("max_series", 1)]));
        aggregate.end_interval(SEEN);
        now += 300 * NANOSECONDS;
        aggregate.expire(now);
    }
}

#[test]
fn a_counter_that_falls_ends_as_one() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["a:5|c\na:1|c|#k:v"]);
    aggregate.end_interval(SEEN);
    add(&mut aggregate, &["a:-2|c", "a:-1|c"]);
    assert_eq!(
        ended(&aggregate),
        [("a".to_owned(), true, String::new()), ("a".to_owned(), true, "k=v".to_owned())]
    );
    assert_eq!(numbers(&aggregate, "a").0, "sum");
    aggregate.end_interval(SEEN);
    assert_eq!(ended(&aggregate), []);
}

#[test]
fn a_distribution_makes_way_for_a_counter_that_becomes_a_gauge() {
    let mut aggregate = aggregate();
    add(&mut aggregate, &["a:5|c\na:1|d|#k:v"]);
    aggregate.end_interval(SEEN);
    add(&mut aggregate, &["a:-2|c"]);
    assert_eq!(number(&aggregate, "a"), ("sum", 3.0));
    assert_eq!(histogram(&aggregate, "a.distribution").1.count, 1);
    let all = [("a".to_owned(), false, "k=v".to_owned()), ("a".to_owned(), true, String::new())];
    assert!(all.iter().all(|end| ended(&aggregate).contains(end)), "{:?}", ended(&aggregate));
    assert_eq!(aggregate.notices().some.len(), 1);
    aggregate.end_interval(SEEN);
    add(&mut aggregate, &["a:1|d|#k:v"]);
    assert_eq!(histogram(&aggregate, "a.distribution").1.count, 2);
}

#[test]
fn a_name_stays_with_the_type_that_had_it_and_is_logged_once() {
    let mut aggregate = aggregate();
    let mut now = SEEN;
    for round in 1..4 {
        let mut tally = Tally::default();
        // After a day in which nobody sends either, the other comes first.
        let lines = if round == 1 { "a:1|c\na:7|s" } else { "a:7|s\na:1|c" };
        aggregate.add(lines.as_bytes(), now, &mut tally);
        let Some(Data::Sum(sum)) = metric(&aggregate, "a").data else { panic!("not the counter") };
        let total = number_data_point::Value::AsDouble(f64::from(round));
        assert_eq!((sum.is_monotonic, sum.data_points[0].value), (true, Some(total)));
        assert!(matches!(metric(&aggregate, "a.set").data, Some(Data::Gauge(_))));
        assert_eq!(aggregate.notices().some.len(), usize::from(round == 1));
        aggregate.end_interval(now);
        now += 24 * 3600 * NANOSECONDS;
        aggregate.expire(now);
        assert_eq!(aggregate.held.series, 0);
    }
}

#[test]
fn a_series_too_many_is_refused_and_known_ones_go_on() {
    let mut aggregate = bounded(vec![1.0], 2);
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
    assert_eq!((tally.accepted(), tally.refused()), (2, vec![("bad_value", 5 + 5), ("overflow", 2)]));
    assert_eq!(number(&aggregate, "a"), ("counter", 4.0));
    assert_eq!(metrics(&aggregate).len(), 1);
}

#[test]
fn no_value_spoils_a_total() {
    let mut aggregate = aggregate();
    let lines =
        ["c:1|c\nc:9007199254740994:1e308:-1e17:1|c|@1\ng:1e308:+1e308|g\nd:1e308:1|d\nd:4e15|d|@0.1"];
    let tally = add(&mut aggregate, &lines);
    assert_eq!((tally.accepted(), tally.refused()), (4, vec![("overflow", 6)]));
    assert_eq!(number(&aggregate, "c"), ("counter", 2.0));
    assert_eq!(number(&aggregate, "g"), ("gauge", 1e308));
    let (_, point) = histogram(&aggregate, "d");
    assert_eq!((point.count, point.sum, point.bucket_counts), (1, Some(1.0), vec![0, 0, 1, 0]));
    add(&mut aggregate, &["c:9007199254740992:9007199254740992:1:1|c"]);
    assert_eq!(number(&aggregate, "c").1, 18_014_398_509_481_988.0);
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
        "a",
        "b",
        ":",
        ":",
        "|",
        "|",
        "1",
        "-1",
        "+2",
        "0.5",
        "1e308",
        "nan",
        "c",
        "g",
        "ms",
        "h",
        "d",
        "s",
        "@",
        "#",
        "@0.1",
        "#k:v",
        "#:v",
        ",",
        "T1",
        "c:x",
        "_e{",
        "_sc|",
        "\n",
        "\r\n",
        "é",
        "",
        "m",
        " ",
        "[",
        "]",
        "[k=v]",
        ",k=v",
        ";k=v",
        "#k=v",
        "@0.7",
        "|c:2",
        "T4000000000",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), near_lines()]
}

proptest! {
    #[test]
    fn a_good_line_beside_garbage_is_kept(before in garbage(), after in garbage(), value in 1_u32..1000) {
        let mut aggregate = bounded(vec![0.1, 1.0], 1_000_000);
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
