//! Any application's instruments, as far as the oracle and the exposition are meant to agree on them: what the
//! strategies leave out is what the cases of differences are about.

use opentelemetry::{Array, KeyValue, Value, metrics::Meter};
use proptest::{collection::btree_map, prelude::*, sample::select};

/// Instruments with different names.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) instruments: Vec<Instrument>,
}

/// An instrument and what it records.
#[derive(Clone, Debug)]
pub(crate) struct Instrument {
    name: String,
    unit: &'static str,
    description: String,
    series: Vec<Vec<KeyValue>>,
    recordings: Recordings,
}

/// The values that each series records.
#[derive(Clone, Debug)]
enum Recordings {
    Counter(Vec<u64>),
    FloatCounter(Vec<f64>),
    UpDownCounter(Vec<i64>),
    FloatUpDownCounter(Vec<f64>),
    Gauge(Vec<i64>),
    FloatGauge(Vec<f64>),
    Histogram(Vec<f64>, Vec<u64>),
    FloatHistogram(Vec<f64>, Vec<f64>),
}

pub(crate) fn application() -> impl Strategy<Value = Application> {
    proptest::collection::vec(instrument(), 1..5).prop_map(|mut instruments| {
        for (number, instrument) in instruments.iter_mut().enumerate() {
            // OpenTelemetry's names are the same where only their case differs; a number tells all apart.
            instrument.name.insert_str(1, &number.to_string());
        }
        Application { instruments }
    })
}

/// OpenTelemetry's instrument names: a letter, then letters, digits and `_ . - /`.
fn instrument() -> impl Strategy<Value = Instrument> {
    let name = "[a-zA-Z][a-zA-Z0-9]{0,5}([._/-][a-zA-Z0-9]{1,5}){0,3}"
        .prop_filter("a suffix is not doubled", |name| {
            !name.split(['_', '.', '-', '/']).any(|word| word == "total")
        });
    let series = proptest::collection::vec(attributes(), 1..4).prop_map(|mut series| {
        for (number, attributes) in series.iter_mut().enumerate() {
            // Sets that become equal as labels are one series; a number tells all apart.
            attributes.push(KeyValue::new("number", i64::try_from(number).unwrap()));
        }
        series
    });
    (name, unit(), ".{0,20}", series, recordings()).prop_map(
        |(name, unit, description, series, recordings)| Instrument {
            name,
            unit,
            description,
            series,
            recordings,
        },
    )
}

/// Units that both know, beside those that are ignored.
fn unit() -> impl Strategy<Value = &'static str> {
    select(vec!["", "s", "ms", "By", "KiBy", "%", "Cel", "{request}", "By/s", "{packet}/s", "m/h"])
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = "[a-zA-Z_][a-zA-Z0-9_.]{0,6}"
        .prop_filter("the test's own and the format's own", |key| !matches!(key.as_str(), "number" | "le"))
        .prop_filter("a label of which something is left, and that is nobody's own", |key| {
            key.contains(|c: char| c.is_ascii_alphanumeric()) && !key.replace('.', "_").starts_with("__")
        });
    let value = prop_oneof![
        any::<String>()
            .prop_filter("an empty label is no label", |text| !text.is_empty())
            .prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e20..1e20)
            .prop_filter("with an exponent it is another text", |value: &f64| value.abs() >= 1e-6)
            .prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        proptest::collection::vec(any::<i64>(), 0..3).prop_map(|list| Value::Array(Array::I64(list))),
    ];
    btree_map(key, value, 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect())
}

fn recordings() -> impl Strategy<Value = Recordings> {
    // Few enough that no sum overflows.
    let large = || proptest::collection::vec(0..u64::MAX / 4, 1..4);
    let signed = || proptest::collection::vec(i64::MIN / 4..i64::MAX / 4, 1..4);
    let floats = || proptest::collection::vec(-1e300..1e300, 1..4);
    let positive = || proptest::collection::vec(prop_oneof![0.0..1.0, 0.0..1e300], 1..4);
    prop_oneof![
        large().prop_map(Recordings::Counter),
        positive().prop_map(Recordings::FloatCounter),
        signed().prop_map(Recordings::UpDownCounter),
        floats().prop_map(Recordings::FloatUpDownCounter),
        signed().prop_map(Recordings::Gauge),
        floats().prop_map(Recordings::FloatGauge),
        (boundaries(), large()).prop_map(|(bounds, values)| Recordings::Histogram(bounds, values)),
        (boundaries(), positive()).prop_map(|(bounds, values)| Recordings::FloatHistogram(bounds, values)),
    ]
}

fn boundaries() -> impl Strategy<Value = Vec<f64>> {
    let bound = prop_oneof![-1.0..1.0, 0.0..1e19, -1e300..1e300];
    proptest::collection::vec(bound, 0..5).prop_map(|mut bounds| {
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    })
}

impl Instrument {
    /// Makes the instrument and records all that it is to record.
    pub(crate) fn record(&self, meter: &Meter) {
        let (name, description) = (self.name.clone(), self.description.clone());
        macro_rules! record {
            ($builder:ident, $record:ident, $values:expr $(, $bounds:expr)?) => {{
                let builder = meter.$builder(name).with_unit(self.unit).with_description(description);
                let instrument = builder$(.with_boundaries($bounds.clone()))?.build();
                for attributes in &self.series {
                    $values.iter().for_each(|value| instrument.$record(*value, attributes));
                }
            }};
        }
        match &self.recordings {
            Recordings::Counter(values) => record!(u64_counter, add, values),
            Recordings::FloatCounter(values) => record!(f64_counter, add, values),
            Recordings::UpDownCounter(values) => record!(i64_up_down_counter, add, values),
            Recordings::FloatUpDownCounter(values) => record!(f64_up_down_counter, add, values),
            Recordings::Gauge(values) => record!(i64_gauge, record, values),
            Recordings::FloatGauge(values) => record!(f64_gauge, record, values),
            Recordings::Histogram(bounds, values) => record!(u64_histogram, record, values, bounds),
            Recordings::FloatHistogram(bounds, values) => record!(f64_histogram, record, values, bounds),
        }
    }
}
