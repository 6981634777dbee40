//! What a receiver hands to the pipeline, and what the pipeline answers.
//!
//! It must not know a transport: each receiver maps the answers to its own codes.

use std::time::Duration;

use bytes::Bytes;

use super::wire::{Items, Metrics};

pub use crate::telemetry::Signal;

/// One export request, read where it lies in its encoding.
#[derive(Debug)]
pub enum Request<'a> {
    /// Data points by resource and scope.
    Metrics(Metrics<'a>),
    /// Spans by resource and scope.
    Traces(Items<'a>),
    /// Log records by resource and scope.
    Logs(Items<'a>),
}

impl Request<'_> {
    /// The kind of telemetry in it.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Metrics(_) => Signal::Metrics,
            Self::Traces(_) => Signal::Traces,
            Self::Logs(_) => Signal::Logs,
        }
    }

    /// Whether points without a value, or invalid ids, must be removed first.
    #[must_use]
    pub const fn needs_repair(&self) -> bool {
        match self {
            Self::Metrics(metrics) => metrics.lacks_something,
            Self::Traces(items) | Self::Logs(items) => items.has_invalid_ids(),
        }
    }

    /// How many data points, spans or log records it holds.
    #[must_use]
    pub const fn items(&self) -> u64 {
        match self {
            Self::Metrics(metrics) => metrics.len() as u64,
            Self::Traces(items) | Self::Logs(items) => items.len(),
        }
    }
}

/// A request with the bytes it came as.
#[derive(Debug)]
pub struct Batch<'a> {
    /// What it says.
    pub request: Request<'a>,
    /// Its protobuf encoding, uncompressed: forwarded as it is.
    pub wire: Bytes,
}

/// The batch was taken; some of its items may have been refused for good (OTLP's partial success).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Data points, spans or log records that were refused.
    pub rejected: u64,
    /// Why, for the sender's log; empty where nothing was refused.
    pub message: String,
}

/// A sink had no room: nothing of the batch was kept, and the sender may send it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sink} has no room for this batch; send it again in {retry_after:?}")]
pub struct Refused {
    /// The sink without room.
    pub sink: String,
    /// When to try again.
    pub retry_after: Duration,
}
