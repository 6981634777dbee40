//! Any bytes as metrics: what is read where it lies is what prost reads of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data},
};
use prost::Message as _;
use pushpull::collector::wire::{self, Metrics};

fuzz_target!(|input: &[u8]| {
    let by_prost = ExportMetricsServiceRequest::decode(input);
    match Metrics::read(input, &mut |_| true) {
        Ok(read) => assert_eq!(told(&read), told_by_prost(&by_prost.expect("prost reads what is read"))),
        Err(_) => {
            if let Ok(by_prost) = by_prost {
                let rewritten = wire::rewritten(input).expect("prost read it");
                let read = Metrics::read(&rewritten, &mut |_| true).expect("what prost wrote");
                assert_eq!(told(&read), told_by_prost(&by_prost));
            }
        }
    }
});

/// Names, numbers of points, and their times and attributes.
type Told = Vec<(String, Vec<(u64, Vec<String>)>)>;

fn told(metrics: &Metrics<'_>) -> Told {
    let points = |metric| {
        let points = metrics.points(metric).iter();
        points
            .map(|point| {
                let attributes = metrics.attributes(point.attributes).iter();
                (point.time, attributes.map(|attribute| attribute.key.to_owned()).collect())
            })
            .collect()
    };
    metrics.metrics.iter().map(|metric| (metric.name.to_owned(), points(metric))).collect()
}

fn told_by_prost(request: &ExportMetricsServiceRequest) -> Told {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics).map(|metric| (metric.name.clone(), points(metric))).collect()
}

fn points(metric: &Metric) -> Vec<(u64, Vec<String>)> {
    macro_rules! told {
        ($points:expr) => {
            $points
                .iter()
                .map(|point| {
                    let keys = point.attributes.iter().map(|attribute| attribute.key.clone());
                    (point.time_unix_nano, keys.collect())
                })
                .collect()
        };
    }
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(gauge)) => told!(gauge.data_points),
        Some(Data::Sum(sum)) => told!(sum.data_points),
        Some(Data::Histogram(histogram)) => told!(histogram.data_points),
        Some(Data::ExponentialHistogram(histogram)) => told!(histogram.data_points),
        Some(Data::Summary(summary)) => told!(summary.data_points),
    }
}
