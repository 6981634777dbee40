//! What the cost of an HTTP layer is measured with: an axum application of one route, instrumented by one layer at a
//! time, and the requests that it answers.
//!
//! Nothing here may do for one layer what it does not do for the others.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop")]

pub mod layers;
mod least;
mod older;
pub mod pipeline;
pub mod requests;
mod usual;
