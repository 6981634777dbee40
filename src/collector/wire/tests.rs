use opentelemetry_proto::tonic::{
    common::v1::{ArrayValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    metrics::v1::{
        self as proto, Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, SummaryDataPoint, number_data_point,
        summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
};
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{
    ReadError::{NoMemory, Unusual},
    *,
};

fn read(wire: &[u8]) -> Result<Metrics<'_>, ReadError> {
    Metrics::read(wire, &mut |_| true)
}

/// A metric with its resource and scope, in words: equal words mean equal metrics.
type Told = (Vec<String>, Vec<String>, String, Vec<String>);

fn told_of_view(metrics: &Metrics<'_>) -> Vec<Told> {
    let attributes = |place| -> Vec<String> {
        let attributes = metrics.attributes(place).iter();
        attributes.map(|attribute| format!("{}={}", attribute.key, attribute.value.text())).collect()
    };
    let tell = |metric: &Metric<'_>| {
        let Scope { name, version, schema_url, attributes: place } = metrics.scopes[metric.scope];
        let scope =
            [name, version, schema_url].map(str::to_owned).into_iter().chain(attributes(place)).collect();
        let Metric { name, description, unit, data, temporality, is_monotonic, .. } = metric;
        let points = metrics.points(metric).iter().map(|point| {
            let content = match &point.content {
                Content::Number(number) => format!("{number:?}"),
                Content::Histogram(histogram) => {
                    let Histogram { count, sum, min, max, .. } = histogram;
                    let (counts, bounds) = (histogram.counts(), histogram.bounds());
                    let (counts, bounds) = (counts.collect::<Vec<_>>(), bounds.collect::<Vec<_>>());
                    format!("{count} {sum:?} {min:?} {max:?} {counts:?} {bounds:?}")
                }
                Content::Exponential(e) => format!(
                    "{} {:?} {:?} {:?} {} {} {:?} {:?} {:?}",
                    e.count,
                    e.sum,
                    e.min,
                    e.max,
                    e.scale,
                    e.zero_count,
                    e.zero_threshold,
                    e.positive,
                    e.negative
                ),
                Content::Summary(s) => format!("{} {:?} {:?}", s.count, s.sum, s.quantiles),
            };
            let (start, time, flags) = (point.start, point.time, point.flags);
            format!("{:?} {start} {time} {flags} {content}", attributes(point.attributes))
        });
        (
            attributes(metrics.resources[metric.resource]),
            scope,
            format!("{name:?} {description:?} {unit:?} {data:?} {temporality} {is_monotonic}"),
            points.collect(),
        )
    };
    metrics.metrics.iter().map(tell).collect()
}

fn told_of_attributes(attributes: &[KeyValue]) -> Vec<String> {
    let text = |value: Option<&AnyValue>| super::super::series::text(value).into_owned();
    attributes
        .iter()
        .map(|attribute| format!("{}={}", attribute.key, text(attribute.value.as_ref())))
        .collect()
}

fn told_of_number(point: &NumberDataPoint) -> String {
    let number = point.value.map(|value| match value {
        number_data_point::Value::AsDouble(value) => Number::Float(value),
        number_data_point::Value::AsInt(value) => Number::Int(value),
    });
    let (start, time, flags) = (point.start_time_unix_nano, point.time_unix_nano, point.flags);
    format!("{:?} {start} {time} {flags} {number:?}", told_of_attributes(&point.attributes))
}

fn told_of_histogram(p: &HistogramDataPoint) -> String {
    format!(
        "{:?} {} {} {} {} {:?} {:?} {:?} {:?} {:?}",
        told_of_attributes(&p.attributes),
        p.start_time_unix_nano,
        p.time_unix_nano,
        p.flags,
        p.count,
        p.sum,
        p.min,
        p.max,
        p.bucket_counts,
        p.explicit_bounds
    )
}

fn told_of_exponential(p: &ExponentialHistogramDataPoint) -> String {
    format!(
        "{:?} {} {} {} {} {:?} {:?} {:?} {} {} {:?} {:?} {:?}",
        told_of_attributes(&p.attributes),
        p.start_time_unix_nano,
        p.time_unix_nano,
        p.flags,
        p.count,
        p.sum,
        p.min,
        p.max,
        p.scale,
        p.zero_count,
        p.zero_threshold,
        p.positive,
        p.negative
    )
}

fn told_of_summary(p: &SummaryDataPoint) -> String {
    let quantiles: Vec<_> = p.quantile_values.iter().map(|value| (value.quantile, value.value)).collect();
    format!(
        "{:?} {} {} {} {} {:?} {quantiles:?}",
        told_of_attributes(&p.attributes),
        p.start_time_unix_nano,
        p.time_unix_nano,
        p.flags,
        p.count,
        p.sum
    )
}

fn told_of_prost(request: &ExportMetricsServiceRequest) -> Vec<Told> {
    let mut told = Vec::new();
    for resource in &request.resource_metrics {
        let attributes = resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        for scope in &resource.scope_metrics {
            let of = scope.scope.clone().unwrap_or_default();
            let schema_url = scope.schema_url.clone();
            let of = [vec![of.name, of.version, schema_url], told_of_attributes(&of.attributes)].concat();
            for metric in &scope.metrics {
                use proto::metric::Data as D;
                let (data, temporality, is_monotonic, points) = match &metric.data {
                    None => (None, 0, false, Vec::new()),
                    Some(D::Gauge(gauge)) => {
                        (Some(Data::Gauge), 0, false, gauge.data_points.iter().map(told_of_number).collect())
                    }
                    Some(D::Sum(sum)) => {
                        let points = sum.data_points.iter().map(told_of_number).collect();
                        (Some(Data::Sum), sum.aggregation_temporality, sum.is_monotonic, points)
                    }
                    Some(D::Histogram(histogram)) => {
                        let points = histogram.data_points.iter().map(told_of_histogram).collect();
                        (Some(Data::Histogram), histogram.aggregation_temporality, false, points)
                    }
                    Some(D::ExponentialHistogram(histogram)) => {
                        let points = histogram.data_points.iter().map(told_of_exponential).collect();
                        (Some(Data::ExponentialHistogram), histogram.aggregation_temporality, false, points)
                    }
                    Some(D::Summary(summary)) => {
                        let points = summary.data_points.iter().map(told_of_summary).collect();
                        (Some(Data::Summary), 0, false, points)
                    }
                };
                let proto::Metric { name, description, unit, .. } = metric;
                told.push((
                    told_of_attributes(attributes),
                    of.clone(),
                    format!("{name:?} {description:?} {unit:?} {data:?} {temporality} {is_monotonic}"),
                    points,
                ));
            }
        }
    }
    told
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let value = prop_oneof![
        "\\PC{0,6}".prop_map(Any::StringValue),
        any::<bool>().prop_map(Any::BoolValue),
        any::<i64>().prop_map(Any::IntValue),
        any::<f64>().prop_map(Any::DoubleValue),
        vec(any::<u8>(), 0..5).prop_map(Any::BytesValue),
        vec("[a-z]{0,3}", 0..3).prop_map(|texts| Any::ArrayValue(ArrayValue {
            values: texts.into_iter().map(|text| AnyValue { value: Some(Any::StringValue(text)) }).collect(),
        })),
    ];
    option::of(value).prop_map(|value| AnyValue { value })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = ("\\PC{0,4}", option::of(any_value())).prop_map(|(key, value)| KeyValue {
        key,
        value,
        ..KeyValue::default()
    });
    vec(attribute, 0..4)
}

fn numbers() -> impl Strategy<Value = Vec<NumberDataPoint>> {
    let value = prop_oneof![
        any::<f64>().prop_map(number_data_point::Value::AsDouble),
        any::<i64>().prop_map(number_data_point::Value::AsInt),
    ];
    let point = (attributes(), any::<u64>(), any::<u64>(), any::<u32>(), option::of(value), any::<bool>())
        .prop_map(|(attributes, start, time, flags, value, exemplar)| NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            flags,
            value,
            exemplars: vec![Exemplar { time_unix_nano: 7, ..Exemplar::default() }; usize::from(exemplar)],
        });
    vec(point, 0..4)
}

fn data() -> impl Strategy<Value = proto::metric::Data> {
    use proto::metric::Data as D;
    let floats = || option::of(any::<f64>());
    let histogram = (
        attributes(),
        any::<[u64; 3]>(),
        [floats(), floats(), floats()],
        vec(any::<u64>(), 0..5),
        vec(any::<f64>(), 0..5),
    )
        .prop_map(
            |(attributes, [start, time, count], [sum, min, max], bucket_counts, explicit_bounds)| {
                HistogramDataPoint {
                    attributes,
                    start_time_unix_nano: start,
                    time_unix_nano: time,
                    count,
                    sum,
                    min,
                    max,
                    bucket_counts,
                    explicit_bounds,
                    ..HistogramDataPoint::default()
                }
            },
        );
    let buckets = || {
        option::of(
            (any::<i32>(), vec(any::<u64>(), 0..4))
                .prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }),
        )
    };
    let exponential =
        (attributes(), any::<[u64; 4]>(), floats(), any::<i32>(), any::<f64>(), buckets(), buckets())
            .prop_map(
                |(
                    attributes,
                    [start, time, count, zero_count],
                    sum,
                    scale,
                    zero_threshold,
                    positive,
                    negative,
                )| {
                    ExponentialHistogramDataPoint {
                        attributes,
                        start_time_unix_nano: start,
                        time_unix_nano: time,
                        count,
                        sum,
                        scale,
                        zero_count,
                        zero_threshold,
                        positive,
                        negative,
                        ..ExponentialHistogramDataPoint::default()
                    }
                },
            );
    let quantile = any::<(f64, f64)>().prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    let summary = (attributes(), any::<[u64; 3]>(), any::<f64>(), vec(quantile, 0..3)).prop_map(
        |(attributes, [start, time, count], sum, quantile_values)| SummaryDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum,
            quantile_values,
            flags: 0,
        },
    );
    prop_oneof![
        numbers().prop_map(|data_points| D::Gauge(proto::Gauge { data_points })),
        (numbers(), any::<i32>(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                D::Sum(proto::Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram, 0..3), any::<i32>()).prop_map(|(data_points, aggregation_temporality)| {
            D::Histogram(proto::Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential, 0..3), any::<i32>()).prop_map(|(data_points, aggregation_temporality)| {
            D::ExponentialHistogram(proto::ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary, 0..3).prop_map(|data_points| D::Summary(proto::Summary { data_points })),
    ]
}

fn request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = ("\\PC{0,5}", "\\PC{0,5}", "\\PC{0,3}", option::of(data()), attributes()).prop_map(
        |(name, description, unit, data, metadata)| proto::Metric { name, description, unit, metadata, data },
    );
    let scope =
        option::of(("[a-z]{0,3}", "[0-9]{0,2}", attributes()).prop_map(|(name, version, attributes)| {
            InstrumentationScope { name, version, attributes, dropped_attributes_count: 3 }
        }));
    let metrics = (scope, vec(metric, 0..3), "[a-z]{0,3}")
        .prop_map(|(scope, metrics, schema_url)| ScopeMetrics { scope, metrics, schema_url });
    let resource =
        option::of(attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() }));
    let resource_metrics =
        (resource, vec(metrics, 0..3), "[a-z]{0,3}").prop_map(|(resource, scope_metrics, schema_url)| {
            ResourceMetrics { resource, scope_metrics, schema_url }
        });
    vec(resource_metrics, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// One to three bytes changed or inserted.
pub(super) type Edits = Vec<(Index, u8, bool)>;

pub(super) fn edits() -> impl Strategy<Value = Edits> {
    vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..4)
}

pub(super) fn edited(mut wire: Vec<u8>, edits: Edits) -> Vec<u8> {
    for (at, byte, insert) in edits {
        if wire.is_empty() || insert {
            wire.insert(at.index(wire.len() + 1), byte);
        } else {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
    }
    wire
}

proptest! {
    #[test]
    fn what_prost_writes_is_read_alike(request in request()) {
        let wire = request.encode_to_vec();
        let view = read(&wire).unwrap();
        // Prost takes -0 for the 0 that need not be written.
        let by_prost = ExportMetricsServiceRequest::decode(wire.as_slice()).unwrap();
        prop_assert_eq!(told_of_view(&view), told_of_prost(&by_prost));
    }

    #[test]
    fn what_is_read_of_anything_is_what_prost_reads(
        request in request(),
        edits in edits(),
        end in any::<Index>(),
        cut in any::<bool>(),
    ) {
        let mut wire = edited(request.encode_to_vec(), edits);
        if cut {
            wire.truncate(end.index(wire.len() + 1));
        }
        let by_prost = ExportMetricsServiceRequest::decode(wire.as_slice());
        if let Ok(view) = read(&wire) {
            prop_assert_eq!(told_of_view(&view), told_of_prost(&by_prost.unwrap()));
        } else if let Ok(by_prost) = by_prost {
            let wire = rewritten(&wire).unwrap();
            prop_assert_eq!(told_of_view(&read(&wire).unwrap()), told_of_prost(&by_prost));
        }
    }
}

#[test]
fn what_hardly_any_encoder_writes_is_rewritten() {
    let metric = |data| proto::Metric { name: "a".to_owned(), data, ..proto::Metric::default() };
    let histogram = |counts: &[u8]| {
        // Field 6, a list of eight bytes each, as one field for each number.
        let point: Vec<u8> = counts.iter().flat_map(|count| [0x31, *count, 0, 0, 0, 0, 0, 0, 0]).collect();
        [
            &[0x4a, u8::try_from(point.len()).unwrap() + 2, 0x0a, u8::try_from(point.len()).unwrap()][..],
            &point,
        ]
        .concat()
    };
    let mut wire = metric(None).encode_to_vec();
    wire.extend(histogram(&[1, 2]));
    wire.extend(histogram(&[3]));
    for tag in [0x12, 0x12, 0x0a] {
        let length = u8::try_from(wire.len()).unwrap();
        wire.splice(0..0, [tag, length]);
    }
    // The metric is field 2 of its scope's metrics, which are field 2 of the resource's.
    assert_eq!(read(&wire).map(drop), Err(Unusual));
    let rewritten = rewritten(&wire).unwrap();
    let view = read(&rewritten).unwrap();
    assert_eq!(
        told_of_view(&view),
        told_of_prost(&ExportMetricsServiceRequest::decode(wire.as_slice()).unwrap())
    );
    assert_eq!(view.len(), 2, "two pieces of one message are one message");
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    // Empty points, two bytes each, in one gauge.
    let points = [0x0a, 0].repeat(1_000);
    let length = |bytes: usize| [(bytes & 0x7f | 0x80) as u8, (bytes >> 7) as u8];
    let mut wire = points;
    for tag in [0x2a, 0x12, 0x12, 0x0a] {
        let [low, high] = length(wire.len());
        wire.splice(0..0, [tag, low, high]);
    }
    let mut asked = 0;
    let view = Metrics::read(&wire, &mut |bytes| {
        asked += bytes;
        true
    });
    let view = view.unwrap();
    assert_eq!(view.len(), 1_000);
    assert!(asked >= 1_000 * size_of::<Point<'_>>() && asked < 3_000 * size_of::<Point<'_>>(), "{asked}");
    let mut left = asked / 2;
    let read = Metrics::read(&wire, &mut |bytes| {
        let granted = bytes <= left;
        left = left.saturating_sub(bytes);
        granted
    });
    assert_eq!(read.map(drop), Err(NoMemory));
}
