//! The exposition against an oracle: of the same data, opentelemetry-prometheus with the `prometheus` crate's
//! encoder and `exposition` give the same samples, types and help texts. Where they are meant to differ, each
//! difference has a case here.
#![cfg(all(feature = "exposition", feature = "telemetry"))]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "exposition_oracle/arbitrary.rs"]
mod arbitrary;
#[path = "support/shared_reader.rs"]
mod shared_reader;

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Application;
use opentelemetry::{
    Array, KeyValue, Value,
    metrics::{Meter, MeterProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, SdkMeterProvider, Stream},
};
use proptest::prelude::*;
use pushpull::exposition::{
    parse::{self, Line, Sample},
    sdk, text,
};
use shared_reader::SharedReader;

/// The two texts of the same data.
struct Texts {
    oracle: String,
    ours: String,
}

impl Texts {
    fn of(record: impl FnOnce(&Meter)) -> Self {
        Self::with(|_| None, record)
    }

    fn with(
        view: impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static,
        record: impl FnOnce(&Meter),
    ) -> Self {
        let registry = prometheus::Registry::new();
        let reader = SharedReader::new(registry.clone());
        let resource =
            Resource::builder_empty().with_attribute(KeyValue::new("service.name", "oracle")).build();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .with_resource(resource)
            .with_view(view)
            .build();
        record(&provider.meter("oracle"));
        let oracle = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        Self { oracle, ours: text::encode(&sdk::families(&reader.collected())) }
    }

    /// The lines that start with `name`.
    fn lines(&self, name: &str) -> [Vec<&str>; 2] {
        [&self.oracle, &self.ours].map(|text| {
            let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with(name)).collect();
            lines.sort_unstable();
            lines
        })
    }
}

/// What a text says, without the order in which it says it; values by their bits.
#[derive(Debug, PartialEq)]
struct Read {
    samples: BTreeMap<(String, BTreeMap<String, String>), u64>,
    types: BTreeMap<String, String>,
    helps: BTreeSet<(String, String)>,
}

fn read(text: &str) -> Read {
    let mut read = Read { samples: BTreeMap::new(), types: BTreeMap::new(), helps: BTreeSet::new() };
    for line in parse::lines(text) {
        match line.unwrap_or_else(|error| panic!("{error} in\n{text}")) {
            Line::Sample(Sample { name, mut labels, value, timestamp_ms }) => {
                assert_eq!(timestamp_ms, None);
                for (_, bound) in labels.iter_mut().filter(|(label, _)| label == "le") {
                    // A bound is a number, however its digits are written.
                    *bound = format!("{:e}", bound.parse::<f64>().unwrap());
                }
                let repeated = read.samples.insert((name, labels.into_iter().collect()), value.to_bits());
                assert_eq!(repeated, None, "a series is there twice in\n{text}");
            }
            Line::Type { family, kind } => {
                let repeated = read.types.insert(family, format!("{kind:?}"));
                assert_eq!(repeated, None, "a type is there twice in\n{text}");
            }
            Line::Help { family, text } => {
                read.helps.insert((family, text));
            }
        }
    }
    read
}

proptest! {
    // Seeds of failures are printed; a file for them would end up beside the checkout.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_say_the_same(application in arbitrary::application()) {
        let Application { instruments } = &application;
        let texts = Texts::of(|meter| instruments.iter().for_each(|instrument| instrument.record(meter)));
        let ours = read(&texts.ours);
        prop_assert!(ours.samples.len() > instruments.len(), "{}", texts.ours);
        prop_assert_eq!(ours, read(&texts.oracle));
    }
}

#[test]
fn a_suffix_that_the_name_has_is_not_doubled() {
    let texts = Texts::of(|meter| {
        meter.u64_counter("calls_total").build().add(1, &[]);
        meter.f64_gauge("latency_seconds").with_unit("s").build().record(0.5, &[]);
        meter.u64_counter("sent.bytes").with_unit("By").build().add(2, &[]);
    });
    assert_eq!(texts.lines("calls"), [["calls_total_total 1"], ["calls_total 1"]]);
    assert_eq!(texts.lines("latency"), [["latency_seconds_seconds 0.5"], ["latency_seconds 0.5"]]);
    assert_eq!(texts.lines("sent"), [["sent_bytes_bytes_total 2"], ["sent_bytes_total 2"]]);
}

#[test]
fn the_unit_1_is_a_ratio_for_gauges_only() {
    let texts = Texts::of(|meter| {
        meter.u64_counter("calls").with_unit("1").build().add(1, &[]);
        meter.f64_gauge("load").with_unit("1").build().record(0.5, &[]);
        let share = meter.f64_histogram("share").with_unit("1").with_boundaries(vec![]).build();
        share.record(0.25, &[]);
    });
    assert_eq!(texts.lines("calls"), [["calls_ratio_total 1"], ["calls_total 1"]]);
    assert_eq!(texts.lines("load"), [["load_ratio 0.5"], ["load_ratio 0.5"]]);
    let [oracle, ours] = texts.lines("share");
    assert_eq!(oracle, ["share_ratio_bucket{le=\"+Inf\"} 1", "share_ratio_count 1", "share_ratio_sum 0.25"]);
    assert_eq!(ours, ["share_bucket{le=\"+Inf\"} 1", "share_count 1", "share_sum 0.25"]);
}

#[test]
fn integers_beyond_the_doubles_are_written_in_full() {
    let texts = Texts::of(|meter| {
        meter.u64_counter("calls").build().add(9_007_199_254_740_993, &[]);
        meter.i64_up_down_counter("depth").build().add(i64::MIN + 1, &[]);
        let size = meter.u64_histogram("size").with_boundaries(vec![]).build();
        size.record(u64::MAX, &[]);
    });
    assert_eq!(texts.lines("calls"), [["calls_total 9007199254740992"], ["calls_total 9007199254740993"]]);
    assert_eq!(texts.lines("depth"), [["depth -9223372036854776000"], ["depth -9223372036854775807"]]);
    assert_eq!(
        texts.lines("size_sum"),
        [["size_sum 18446744073709552000"], ["size_sum 18446744073709551615"]]
    );
}

#[test]
fn label_names_are_valid() {
    let texts = Texts::of(|meter| {
        let calls = meter.u64_counter("calls").build();
        calls.add(1, &[KeyValue::new("2nd", "a")]);
        calls.add(2, &[KeyValue::new("a:b", "c")]);
    });
    let [oracle, ours] = texts.lines("calls");
    assert_eq!(oracle, ["calls_total{2nd=\"a\"} 1", "calls_total{a:b=\"c\"} 2"]);
    assert_eq!(ours, ["calls_total{a_b=\"c\"} 2", "calls_total{key_2nd=\"a\"} 1"]);
}

#[test]
fn no_label_is_prometheuss_own_or_empty_of_letters() {
    let texts = Texts::of(|meter| {
        let calls = meter.u64_counter("calls").build();
        calls
            .add(1, &[KeyValue::new("__name__", "a"), KeyValue::new("__meta", "b"), KeyValue::new("é", "c")]);
    });
    assert_eq!(
        texts.lines("calls")[1],
        ["calls_total{_meta=\"b\",exported_name=\"a\",key_0ac21707b7181e01=\"c\"} 1"]
    );
}

#[test]
fn doubles_in_attributes_are_written_as_ecmascript_does() {
    let texts = Texts::of(|meter| {
        let list = Value::Array(Array::F64(vec![2.0, 0.5, f64::INFINITY]));
        let texts = Value::Array(Array::String(vec!["a\"b".into()]));
        let attributes =
            [("a", Value::F64(1e21)), ("b", Value::F64(f64::INFINITY)), ("c", list), ("d", texts)];
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
        meter.u64_counter("calls").build().add(1, &attributes);
    });
    assert_eq!(
        texts.lines("calls")[1],
        [r#"calls_total{a="1e+21",b="Infinity",c="[2,0.5,\"Infinity\"]",d="[\"a\\\"b\"]"} 1"#]
    );
}

#[test]
fn an_empty_label_is_no_label() {
    let texts = Texts::of(|meter| {
        meter.u64_counter("calls").build().add(1, &[KeyValue::new("user", ""), KeyValue::new("path", "/")]);
    });
    assert_eq!(
        texts.lines("calls"),
        [["calls_total{path=\"/\",user=\"\"} 1"], ["calls_total{path=\"/\"} 1"]]
    );
}

#[test]
fn a_histograms_own_label_is_not_repeated() {
    let texts = Texts::of(|meter| {
        let size = meter.f64_histogram("size").with_boundaries(vec![]).build();
        size.record(1.5, &[KeyValue::new("le", "mine")]);
    });
    let [oracle, ours] = texts.lines("size_bucket");
    assert_eq!(oracle, ["size_bucket{le=\"mine\",le=\"+Inf\"} 1"]);
    assert_eq!(ours, ["size_bucket{exported_le=\"mine\",le=\"+Inf\"} 1"]);
}

#[test]
fn attribute_sets_that_become_equal_are_one_series() {
    let texts = Texts::of(|meter| {
        let calls = meter.u64_counter("calls").build();
        calls.add(1, &[KeyValue::new("a.b", "c")]);
        calls.add(1, &[KeyValue::new("a_b", "c")]);
    });
    let [oracle, ours] = texts.lines("calls");
    assert_eq!(oracle, ["calls_total{a_b=\"c\"} 1", "calls_total{a_b=\"c\"} 1"]);
    assert_eq!(ours, ["calls_total{a_b=\"c\"} 1"]);
}

#[test]
fn separators_in_a_row_or_at_the_end_become_one_or_none() {
    let texts = Texts::of(|meter| {
        meter.u64_counter("disk..io__calls").build().add(1, &[]);
        meter.f64_gauge("load.").build().record(0.5, &[]);
    });
    assert_eq!(texts.lines("disk"), [["disk__io__calls_total 1"], ["disk_io_calls_total 1"]]);
    assert_eq!(texts.lines("load"), [["load_ 0.5"], ["load 0.5"]]);
}

#[test]
fn units_follow_the_newer_translation() {
    let texts = Texts::of(|meter| {
        meter.f64_gauge("held").with_unit("TiBy").build().record(1.0, &[]);
        meter.f64_gauge("turn").with_unit("1/min").build().record(2.0, &[]);
        meter.f64_gauge("speed").with_unit("1/s").build().record(3.0, &[]);
        meter.f64_gauge("worth").with_unit("points").build().record(4.0, &[]);
    });
    assert_eq!(texts.lines("held"), [["held_tibibytes 1"], ["held_tebibytes 1"]]);
    assert_eq!(texts.lines("turn"), [["turn 2"], ["turn_per_min 2"]]);
    assert_eq!(texts.lines("speed"), [["speed_per_second 3"], ["speed_per_second 3"]]);
    assert_eq!(texts.lines("worth"), [["worth 4"], ["worth_points 4"]]);
}

#[test]
fn a_large_bound_is_written_with_an_exponent() {
    let texts = Texts::of(|meter| {
        let size = meter.f64_histogram("size").with_boundaries(vec![2e18]).build();
        size.record(1.5, &[]);
    });
    let [oracle, ours] = texts.lines("size_bucket");
    assert_eq!(oracle, ["size_bucket{le=\"+Inf\"} 1", "size_bucket{le=\"2000000000000000000\"} 1"]);
    assert_eq!(ours, ["size_bucket{le=\"+Inf\"} 1", "size_bucket{le=\"2e18\"} 1"]);
}

#[test]
fn an_exponential_histogram_is_not_lost() {
    let exponential =
        Aggregation::Base2ExponentialHistogram { max_size: 160, max_scale: 20, record_min_max: true };
    let view = move |instrument: &Instrument| {
        (instrument.name() == "size")
            .then(|| Stream::builder().with_aggregation(exponential.clone()).build().unwrap())
    };
    let texts = Texts::with(view, |meter| meter.f64_histogram("size").build().record(1.5, &[]));
    let [oracle, ours] = texts.lines("size");
    assert_eq!(oracle, [""; 0]);
    assert_eq!(ours, ["size_bucket{le=\"+Inf\"} 1", "size_count 1", "size_sum 1.5"]);
}
