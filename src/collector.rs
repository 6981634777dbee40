//! The collector: receivers take telemetry off the wire, the pipeline admits it, exporters send it on.
//!
//! It is reached over sockets only and knows nothing of the service that it may share a process with.

pub mod batch;
pub mod export;
pub mod pipeline;
pub mod queue;
pub mod raw_codec;
pub mod receive;
pub mod recent;
pub mod series;
pub mod stats;
pub mod view;
