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

/// The pull view of the metrics: a handle to the one reader, or the reason why there is nothing to read. Clones read
/// the same.
#[derive(Clone, Debug)]
pub struct Reader {
    source: Result<Source, &'static str>,
    shows_scopes: bool,
}

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// By the variables, metrics are not to be had here; the text says which.
    #[error("{0}")]
    Off(&'static str),
    /// The provider was shut down, or an observable callback panicked, now or before.
    #[error("failed to collect metrics: {0}")]
    Failed(#[from] OTelSdkError),
}

impl Reader {
    pub(super) const fn of(source: Source) -> Self {
        Self { source: Ok(source), shows_scopes: false }
    }

    /// One that has nothing to read, and says why.
    pub(super) const fn off(reason: &'static str) -> Self {
        Self { source: Err(reason), shows_scopes: false }
    }

    /// The same, whose exposition is to have labels of the instrumentation scope, or not.
    #[must_use]
    pub fn showing_scopes(self, shows_scopes: bool) -> Self {
        Self { shows_scopes, ..self }
    }

    /// Whether the exposition is to have labels of the instrumentation scope; not unless it was asked for.
    #[must_use]
    pub const fn shows_scopes(&self) -> bool {
        self.shows_scopes
    }

    /// What all instruments stand at now.
    ///
    /// # Errors
    /// [`CollectError`]
    pub fn collect(&self) -> Result<ResourceMetrics, CollectError> {
        let source = self.source.as_ref().map_err(|reason| CollectError::Off(reason))?;
        source.collect().map_err(CollectError::Failed)
    }
}

/// The reader itself, which a meter provider collects for.
#[derive(Clone, Debug)]
pub(super) struct Source(Arc<PrometheusExporter>);

impl Source {
    pub(super) fn new() -> Result<Self, OTelSdkError> {
        // The exporter registers itself with a registry, of which the exposition has no need.
        let exporter = opentelemetry_prometheus::exporter().with_registry(prometheus::Registry::new());
        Ok(Self(Arc::new(exporter.build()?)))
    }

    /// What all instruments stand at now.
    pub(super) fn collect(&self) -> Result<ResourceMetrics, OTelSdkError> {
        let mut collected = ResourceMetrics::default();
        // The callbacks are the application's. A panic of one must end neither a scrape nor the push loop.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.0.collect(&mut collected)));
        outcome.unwrap_or_else(|_| {
            Err(OTelSdkError::InternalFailure("an observable callback panicked".to_owned()))
        })?;
        Ok(collected)
    }
}

impl MetricReader for Source {
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
