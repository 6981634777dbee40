//! What `axum-otel-metrics` still needs: the SDK of the version before, with the reader that its documentation shows.

use std::{net::SocketAddr, time::Duration};

use opentelemetry_otlp_0_32::{MetricExporter, WithExportConfig as _};
use opentelemetry_sdk_0_32::metrics::{PeriodicReader, SdkMeterProvider};

use crate::pipeline;

/// Metrics pushed to `sink` every two seconds.
pub(crate) fn metrics(sink: SocketAddr) -> SdkMeterProvider {
    let _entered = pipeline::runtime().enter();
    let exporter = MetricExporter::builder().with_tonic().with_endpoint(format!("http://{sink}")).build();
    let reader = PeriodicReader::builder(exporter.unwrap()).with_interval(Duration::from_secs(2)).build();
    SdkMeterProvider::builder().with_reader(reader).build()
}
