//! The Prometheus exposition formats: metric families as text, and text as samples.
//!
//! It must not know where the text comes from or goes to.

pub mod parse;
