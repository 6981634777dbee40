//! The Prometheus exporter as a reader that the test keeps a handle to. It must add nothing to it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{InstrumentKind, Pipeline, Temporality, data::ResourceMetrics, reader::MetricReader},
};

/// Clones are handles to the same reader.
#[derive(Clone, Debug)]
pub(crate) struct SharedReader(Arc<PrometheusExporter>);

impl SharedReader {
    /// A reader whose data `registry` gathers too, without labels of the scope.
    pub(crate) fn new(registry: prometheus::Registry) -> Self {
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry);
        Self(Arc::new(exporter.scope_info_enabled(false).build().unwrap()))
    }

    pub(crate) fn collected(&self) -> ResourceMetrics {
        let mut collected = ResourceMetrics::default();
        self.collect(&mut collected).unwrap();
        collected
    }
}

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, collected: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(collected)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
