//! The HTTP layer over real connections: each way in which a request can end, what is measured of it, and the ids of
//! spans and logs inside it.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "http_layer/attributes.rs"]
mod attributes;
#[path = "http_layer/context.rs"]
mod context;
#[path = "http_layer/endings.rs"]
mod endings;
#[path = "http_layer/origin.rs"]
mod origin;
#[path = "http_layer/protocols.rs"]
mod protocols;
#[path = "http_layer/routes.rs"]
mod routes;
#[path = "http_layer/shutdown.rs"]
mod shutdown;
#[path = "http_layer/support.rs"]
mod support;
