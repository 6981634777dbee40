//! From OpenTelemetry's names to Prometheus's names and to Graphite's paths.
//!
//! The only place that knows either mapping; it must not know where a name came from or where it goes.

#[cfg(feature = "cli")]
pub mod graphite;
pub mod prometheus;
