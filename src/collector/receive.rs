//! Receivers: from the wire to a batch. Each maps the pipeline's answers to its transport's codes.

pub mod statsd;
