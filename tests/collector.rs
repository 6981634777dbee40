//! The whole collector over real sockets: what goes in by OTLP and StatsD, and what comes out at the
//! exposition, at carbon and at an OTLP peer.
#![cfg(feature = "cli")]

#[cfg(test)]
#[path = "support/away.rs"]
mod away;
#[cfg(test)]
#[path = "support/shared_reader.rs"]
mod shared_reader;
#[cfg(test)]
#[path = "collector/support.rs"]
mod support;

#[cfg(test)]
#[path = "collector/carbon.rs"]
mod carbon;
#[cfg(test)]
#[path = "collector/carbon_outage.rs"]
mod carbon_outage;
#[path = "collector/collisions.rs"]
mod collisions;
#[cfg(test)]
#[path = "collector/deltas.rs"]
mod deltas;
#[cfg(test)]
#[path = "collector/exposition.rs"]
mod exposition;
#[cfg(test)]
#[path = "collector/forward.rs"]
mod forward;
#[cfg(test)]
#[path = "collector/forward_answers.rs"]
mod forward_answers;
#[cfg(test)]
#[path = "collector/forward_totals.rs"]
mod forward_totals;
#[cfg(test)]
#[path = "collector/graphite.rs"]
mod graphite;
#[path = "collector/graphite_tags.rs"]
mod graphite_tags;
#[cfg(test)]
#[path = "collector/health.rs"]
mod health;
#[cfg(test)]
#[path = "collector/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "collector/lifecycle.rs"]
mod lifecycle;
#[cfg(test)]
#[path = "collector/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "collector/model.rs"]
mod model;
#[cfg(test)]
#[path = "collector/refusals.rs"]
mod refusals;
#[cfg(test)]
#[path = "collector/statsd.rs"]
mod statsd;
