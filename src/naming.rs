//! From OpenTelemetry's names to Prometheus's names and to Graphite's paths, and attribute values as text.
//!
//! The only place that knows these mappings; it must not know where a name came from or where it goes.

#[cfg(feature = "cli")]
pub mod graphite;
pub mod prometheus;
pub mod value;
