//! Numbers and texts that no honest sender has: no panic, a valid exposition, and no time without a bound.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value},
    metrics::v1::{
        ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
        exponential_histogram_data_point::Buckets, metric::Data, summary_data_point::ValueAtQuantile,
    },
};
use pushpull::collector::stats::Event;

use crate::{carbon::Carbon, support::*};

const TIMES: [u64; 5] = [0, 1, seconds(T), seconds(u32::MAX as u64 + 1), u64::MAX];

fn numbers() -> Vec<Metric> {
    let ints = [i64::MIN, -1, 0, i64::MAX];
    let doubles = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN, 5e-324];
    let mut points = Vec::new();
    for time in TIMES {
        for value in ints {
            points.push(NumberDataPoint { time_unix_nano: time, ..int(&[("k", "int")], 0, value) });
        }
        for value in doubles {
            points.push(NumberDataPoint { time_unix_nano: time, ..double(&[("k", "double")], 0, value) });
        }
    }
    let mut metrics = Vec::new();
    for temporality in [CUMULATIVE, DELTA] {
        for monotonic in [true, false] {
            let name = format!("sum.{}.{monotonic}", temporality.as_str_name());
            metrics.push(sum(&name, temporality, monotonic, points.clone()));
        }
    }
    metrics.push(gauge("gauge", points));
    metrics
}

fn histograms() -> Vec<Metric> {
    let shapes: [(&[f64], &[u64], u64); 8] = [
        (&[1.0], &[u64::MAX, u64::MAX], u64::MAX),
        (&[1.0], &[5, 6], 3),
        (&[1.0, f64::INFINITY], &[1, 2, u64::MAX], 5),
        (&[f64::NEG_INFINITY, f64::MAX], &[1, 2, 3], 6),
        (&[f64::NEG_INFINITY], &[1, 2], 3),
        (&[f64::INFINITY], &[1, 2], 3),
        (&[], &[], u64::MAX),
        (&[], &[7], 0),
    ];
    let mut metrics = Vec::new();
    for (index, (bounds, counts, count)) in shapes.into_iter().enumerate() {
        for sum in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::MAX)] {
            let point = |time_unix_nano| HistogramDataPoint {
                time_unix_nano,
                sum,
                count,
                ..buckets(T, bounds, counts, 0.0)
            };
            let points = TIMES.map(point).to_vec();
            metrics.push(histogram(&format!("explicit.{index}"), CUMULATIVE, points.clone()));
            metrics.push(histogram(&format!("delta.{index}"), DELTA, points));
        }
    }
    metrics
}

fn exponentials() -> Vec<Metric> {
    let mut points = Vec::new();
    for scale in [-10, 0, 20] {
        for offset in [i32::MIN, -1, 0, i32::MAX] {
            let side = || Some(Buckets { offset, bucket_counts: vec![u64::MAX, 0, 1, u64::MAX] });
            points.push(ExponentialHistogramDataPoint {
                time_unix_nano: seconds(T),
                count: 1,
                sum: Some(f64::NAN),
                scale,
                zero_count: u64::MAX,
                zero_threshold: f64::NAN,
                positive: side(),
                negative: side(),
                ..ExponentialHistogramDataPoint::default()
            });
        }
    }
    let sparse = Some(Buckets { offset: -1_000_000, bucket_counts: vec![0; 2_000_000] });
    points.push(ExponentialHistogramDataPoint {
        time_unix_nano: seconds(T),
        scale: 20,
        positive: sparse,
        ..ExponentialHistogramDataPoint::default()
    });
    vec![exponential("exp", CUMULATIVE, points.clone()), exponential("exp.delta", DELTA, points)]
}

fn summaries() -> Vec<Metric> {
    let quantiles = [(0.0, f64::NAN), (-0.0, 1.0), (0.5, f64::INFINITY), (0.5, 2.0), (1.0, f64::MIN)];
    let point = SummaryDataPoint {
        time_unix_nano: seconds(T),
        count: u64::MAX,
        sum: f64::NEG_INFINITY,
        quantile_values: quantiles.map(|(quantile, value)| ValueAtQuantile { quantile, value }).to_vec(),
        ..SummaryDataPoint::default()
    };
    vec![summary("summary", vec![point])]
}

#[tokio::test]
async fn no_number_breaks_the_exposition_or_a_line() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let exposing = Running::start("");
    for metrics in [numbers(), histograms(), exponentials(), summaries()] {
        collector.send(&request(SHOP, metrics.clone())).await;
        collector.scrape().await;
        exposing.send(&request(SHOP, metrics)).await;
        exposing.scrape().await;
    }
    let end = format!("end;service.name=shop 1 {T}");
    collector.take(vec![gauge("end", vec![int(&[], T, 1)])]).await;
    let mut connection = carbon.accept().await;
    connection.until(&[end].into()).await;
    for line in connection.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [path, value, time] = words[..] else { panic!("{line:?}") };
        assert!(!path.is_empty() && value.parse::<f64>().is_ok_and(f64::is_finite), "{line:?}");
        assert!(time.parse::<u32>().is_ok_and(|time| time > 0), "{line:?}");
    }
    assert!(collector.count(Event::Refused, "series", "timestamp") > 0);
    assert!(collector.count(Event::Dropped, "graphite", "not_a_number") > 0);
}

#[tokio::test]
async fn what_is_malformed_is_refused_by_its_reason_and_costs_only_itself() {
    let collector = Running::start("");
    let exponent =
        |scale| ExponentialHistogramDataPoint { scale, ..ExponentialHistogramDataPoint::default() };
    let quantile = |quantile| SummaryDataPoint {
        quantile_values: vec![ValueAtQuantile { quantile, value: 1.0 }],
        ..SummaryDataPoint::default()
    };
    let unspecified = opentelemetry_proto::tonic::metrics::v1::AggregationTemporality::Unspecified;
    let good = || int(&[], T, 1);
    let mut strange = counter("strange", CUMULATIVE, vec![good()]);
    if let Some(Data::Sum(sum)) = &mut strange.data {
        sum.aggregation_temporality = 77;
    }
    let metrics = vec![
        gauge("good", vec![good()]),
        gauge("", vec![good()]),
        counter("none", unspecified, vec![good()]),
        strange,
        histogram(
            "h",
            CUMULATIVE,
            vec![
                buckets(T, &[f64::NAN], &[1, 2], 1.0),
                buckets(T, &[2.0, 1.0], &[1, 2, 3], 1.0),
                buckets(T, &[1.0, 1.0], &[1, 2, 3], 1.0),
                buckets(T, &[1.0], &[1], 1.0),
                buckets(T, &[1.0], &[1, 2], 1.0),
            ],
        ),
        exponential("e", CUMULATIVE, [i32::MIN, -11, 21, i32::MAX].map(exponent).to_vec()),
        summary("s", [f64::NAN, -0.1, 1.1, f64::INFINITY].map(quantile).to_vec()),
    ];
    let (rejected, message) = collector.send(&request(SHOP, metrics)).await;
    assert_eq!(rejected, 15, "{message}");
    let refused = ["no_name", "no_temporality", "malformed_point"]
        .map(|reason| collector.count(Event::Refused, "series", reason));
    // The receiver itself refuses the quantile that is no number.
    assert_eq!(refused, [1, 2, 11]);
    let scrape = collector.scrape().await;
    assert_eq!((scrape.shop("good"), scrape.shop("h_count")), (Some(1.0), Some(3.0)));
    assert_eq!(scrape.families(), ["good", "h", "target_info"].into());
}

#[tokio::test]
async fn attributes_of_any_form_make_valid_labels_and_whole_lines() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let value = |value| Some(AnyValue { value: Some(value) });
    let text = |text: &str| Value::StringValue(text.to_owned());
    let mut nested = text("deep");
    for _ in 0..20 {
        let entry = KeyValue { key: "k".to_owned(), value: value(nested), ..KeyValue::default() };
        nested = Value::KvlistValue(KeyValueList { values: vec![entry] });
    }
    let values = [
        text("a b\n\"c\"\\;~\u{2028}\u{0}"),
        text("~tilde"),
        text(""),
        Value::DoubleValue(f64::NAN),
        Value::IntValue(i64::MIN),
        Value::BoolValue(true),
        Value::BytesValue(vec![0xff; 9]),
        Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: None }; 3] }),
        nested,
    ];
    let keys = ["", "ключ", "0", "__name__", "..name..", "name", "a b", ";=!^", "le", "job", "\u{0}\n"];
    let mut points = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        for own in &values {
            let attribute =
                |key: &str, own| KeyValue { key: key.to_owned(), value: value(own), ..KeyValue::default() };
            let marked = vec![attribute(key, own.clone()), attribute("n", Value::IntValue(index as i64))];
            points.push(NumberDataPoint { attributes: marked, ..int(&[], T, 1) });
        }
    }
    let names = ["level", "a b\n;c", "~x", "{\"a\"}", "ключ", "0", "…"];
    let metrics: Vec<_> = names.iter().map(|name| gauge(name, points.clone())).collect();
    collector.take(metrics).await;
    collector.take(vec![gauge("end", vec![int(&[], T, 1)])]).await;
    // The rules of the format are held by the scrape, those of carbon's lines here.
    let scrape = collector.scrape().await;
    assert!(scrape.of_senders().len() > names.len() * keys.len());
    let mut connection = carbon.accept().await;
    connection.until(&[format!("end;service.name=shop 1 {T}")].into()).await;
    let lines = connection.lines();
    assert_eq!(lines.len(), names.len() * keys.len() * values.len() + 1);
    for line in lines {
        let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        assert_eq!(words.len(), 3, "{line:?}");
        assert!(!line.starts_with('~') && !line.contains("=~") && !words[0].ends_with("\"}"), "{line:?}");
        for tag in words[0].split(';').skip(1) {
            let (key, value) = tag.split_once('=').unwrap();
            assert!(
                !key.is_empty() && key != "name" && !key.contains(['!', '^']) && !value.is_empty(),
                "{line:?}"
            );
        }
    }
}
