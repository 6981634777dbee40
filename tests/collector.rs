//! The whole collector over real sockets: what goes in by OTLP and StatsD, and what comes out at the
//! exposition, at carbon and at an OTLP peer.
#![cfg(feature = "cli")]

#[path = "collector/support.rs"]
mod support;

#[path = "collector/carbon.rs"]
mod carbon;
#[path = "collector/carbon_outage.rs"]
mod carbon_outage;
#[path = "collector/exposition.rs"]
mod exposition;
#[path = "collector/forward.rs"]
mod forward;
#[path = "collector/hostile.rs"]
mod hostile;
#[path = "collector/lifecycle.rs"]
mod lifecycle;
#[path = "collector/limits.rs"]
mod limits;
#[path = "collector/model.rs"]
mod model;
