//! Metric families and their encoding for a scrape, and the way back from a scrape to its samples.
//!
//! It must not know where families come from (a service's SDK, a collector's table) nor how they are served.

pub mod family;
pub mod parse;
pub mod sdk;
pub mod text;
