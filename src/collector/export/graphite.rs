//! Graphite: carbon lines, their queue, and the connection that writes them.

pub mod connection;
pub mod lines;
mod replay;

use bytes::Bytes;

/// Lines that are written together.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Whole lines, each with its newline.
    pub text: Bytes,
    /// The data points in them.
    pub points: u64,
}
