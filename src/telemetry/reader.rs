//! The one metric reader. The scrape and the push loop collect from it, so that both views are of one
//! aggregation: two readers would each aggregate for themselves and could not agree.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    metrics::{InstrumentKind, Pipeline, Temporality, data::ResourceMetrics, reader::MetricReader},
};

/// A shared handle to the reader; clones read the same.
#[derive(Clone, Debug)]
pub struct Reader(Arc<PrometheusExporter>);

/// Nothing could be collected: the provider was shut down, or an observable callback panicked, now or before.
#[derive(Debug, thiserror::Error)]
#[error("failed to collect metrics: {0}")]
pub struct CollectError(#[from] OTelSdkError);

impl Reader {
    pub(super) fn new() -> Result<Self, OTelSdkError> {
        // The exporter registers itself with a registry, of which the exposition has no need.
        let exporter = opentelemetry_prometheus::exporter().with_registry(prometheus::Registry::new());
        Ok(Self(Arc::new(exporter.build()?)))
    }

    /// What all instruments stand at now.
    ///
    /// # Errors
    /// [`CollectError`]
    pub fn collect(&self) -> Result<ResourceMetrics, CollectError> {
        let mut collected = ResourceMetrics::default();
        // The callbacks are the application's. A panic of one must end neither a scrape nor the push loop.
        let outcome = catch_unwind(AssertUnwindSafe(|| MetricReader::collect(self, &mut collected)));
        outcome.unwrap_or_else(|_| {
            Err(OTelSdkError::InternalFailure("an observable callback panicked".to_owned()))
        })?;
        Ok(collected)
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, collected: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(collected)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
