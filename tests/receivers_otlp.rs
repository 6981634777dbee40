//! The OTLP receivers over real sockets: what is taken, what is refused, and how each is answered.
#![cfg(feature = "cli")]

#[cfg(test)]
#[path = "receivers_otlp/support.rs"]
mod support;

#[cfg(test)]
#[path = "receivers_otlp/compression.rs"]
mod compression;

#[cfg(test)]
#[path = "receivers_otlp/depth.rs"]
mod depth;

#[cfg(test)]
#[path = "receivers_otlp/grpc.rs"]
mod grpc;

#[cfg(test)]
#[path = "receivers_otlp/http.rs"]
mod http;

#[cfg(test)]
#[path = "receivers_otlp/json.rs"]
mod json;

#[cfg(test)]
#[path = "receivers_otlp/room.rs"]
mod room;
