//! What the layer recorded, read from a real SDK: each request's span by the request's number, and the metrics.
//!
//! It must not know what was to be expected.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use opentelemetry::{
    KeyValue,
    metrics::MeterProvider as _,
    trace::{SpanKind, TracerProvider as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        SdkMeterProvider,
        data::{AggregatedMetrics, Histogram, MetricData},
    },
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use pushpull::http::Layer;
use tokio::sync::watch;

use crate::{application::id_in, shared_reader::SharedReader};

/// An attribute set, with every value as text.
pub(crate) type Series = BTreeMap<String, String>;

pub(crate) fn series<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Series {
    let mut series = Series::new();
    for KeyValue { key, value, .. } in attributes {
        let twice = series.insert(key.to_string(), value.to_string());
        assert_eq!(twice, None, "{key} is there twice");
    }
    series
}

/// Count and sum of one series of a histogram.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

/// All series of the layer's four instruments.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) active: BTreeMap<Series, i64>,
    pub(crate) durations: BTreeMap<Series, Totals>,
    pub(crate) request_sizes: BTreeMap<Series, Totals>,
    pub(crate) response_sizes: BTreeMap<Series, Totals>,
}

/// Providers of one trial.
pub(crate) struct Recorded {
    meters: SdkMeterProvider,
    reader: SharedReader,
    tracers: SdkTracerProvider,
    spans: Spans,
    ended: watch::Receiver<usize>,
}

impl Recorded {
    pub(crate) fn new() -> Self {
        let reader = SharedReader::new(prometheus::Registry::new());
        let (count, ended) = watch::channel(0);
        let spans = Spans { ended: Arc::default(), count };
        Self {
            meters: SdkMeterProvider::builder().with_reader(reader.clone()).build(),
            reader,
            tracers: SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build(),
            spans,
            ended,
        }
    }

    pub(crate) fn layer(&self) -> Layer<SdkTracer> {
        Layer::new(&self.meters.meter("test"), self.tracers.tracer("test"))
    }

    /// Whether the span of request `id` has ended.
    pub(crate) fn has_ended(&self, id: u64) -> bool {
        self.spans.ended.lock().unwrap().contains_key(&id)
    }

    /// Waits until `count` spans have ended.
    pub(crate) async fn ended(&self, count: usize) {
        self.ended.clone().wait_for(|ended| *ended >= count).await.expect("the exporter lives");
    }

    pub(crate) fn ended_now(&self) -> usize {
        *self.ended.borrow()
    }

    /// Takes the spans that have ended, by the number of their request.
    pub(crate) fn take_spans(&self) -> HashMap<u64, Vec<SpanData>> {
        std::mem::take(&mut *self.spans.ended.lock().unwrap())
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let collected = self.reader.collected();
        for metric in collected.scope_metrics().flat_map(|scope| scope.metrics()) {
            match (metric.name(), metric.unit(), metric.data()) {
                (
                    "http.server.active_requests",
                    "{request}",
                    AggregatedMetrics::I64(MetricData::Sum(sum)),
                ) => {
                    metrics.active =
                        sum.data_points().map(|point| (series(point.attributes()), point.value())).collect();
                }
                (
                    "http.server.request.duration",
                    "s",
                    AggregatedMetrics::F64(MetricData::Histogram(histogram)),
                ) => {
                    metrics.durations = totals(histogram, |sum| sum);
                }
                (name, "By", AggregatedMetrics::U64(MetricData::Histogram(histogram))) => {
                    let totals = totals(histogram, |sum| sum as f64);
                    match name {
                        "http.server.request.body.size" => metrics.request_sizes = totals,
                        "http.server.response.body.size" => metrics.response_sizes = totals,
                        _ => panic!("what is {name}?"),
                    }
                }
                other => panic!("what is {other:?}?"),
            }
        }
        metrics
    }
}

fn totals<T: Copy>(histogram: &Histogram<T>, sum: impl Fn(T) -> f64) -> BTreeMap<Series, Totals> {
    let of = |point: &opentelemetry_sdk::metrics::data::HistogramDataPoint<T>| {
        (series(point.attributes()), Totals { count: point.count(), sum: sum(point.sum()) })
    };
    histogram.data_points().map(of).collect()
}

/// Keeps the server spans that end by the number of their request, and counts them for whoever waits.
#[derive(Clone, Debug)]
struct Spans {
    ended: Arc<Mutex<HashMap<u64, Vec<SpanData>>>>,
    count: watch::Sender<usize>,
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            assert_eq!(span.span_kind, SpanKind::Server);
            let query = span.attributes.iter().find(|attribute| attribute.key.as_str() == "url.query");
            let id = id_in(&query.expect("a query").value.as_str());
            self.ended.lock().unwrap().entry(id).or_default().push(span);
            self.count.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}
