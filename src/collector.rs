//! The collector: receivers take telemetry off the wire, the pipeline admits it, exporters send it on.
//!
//! It is reached over sockets only and knows nothing of the service that it may share a process with.

pub mod batch;
pub mod pipeline;
pub mod receive;
pub mod stats;
pub mod view;
