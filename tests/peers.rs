//! The product against real peers: each test starts the `pushpull` binary and the peer as processes, on ports that are
//! free, and takes its expected values from what the peer sent or from what the peer shows.
//!
//! `tests/peers/install` brings the peers; one that is missing fails its tests. Nothing here may stand in for a peer, nor
//! wait for time to pass instead of for a condition.

#[cfg(test)]
mod peers {
    mod alerts;
    mod dashboards;
    mod delivery;
    mod exposition;
    mod faults;
    mod firing;
    mod graphite;
    mod graphite_api;
    mod graphite_names;
    mod graphite_queries;
    mod installed;
    mod jaeger;
    mod otlp;
    mod ports;
    mod postgres;
    mod process;
    mod product;
    mod prometheus;
    mod statsd;
    mod statsd_daemon;
    mod stock;
    mod web;
}
