//! Receivers: from the wire to a batch. Each maps the pipeline's answers to its transport's codes.

use std::sync::Arc;

use super::batch::{Accepted, Batch, Refused};

pub mod otlp;
pub mod otlp_grpc;
pub mod otlp_http;
pub mod statsd;

/// Where a receiver hands its batches: into every sink, or into none ([`Refused`]: the sender may try
/// again). In the product this is the pipeline's own `accept`.
pub type Accept = Arc<dyn Fn(Batch<'_>) -> Result<Accepted, Refused> + Send + Sync>;
