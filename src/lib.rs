//! One instrumented HTTP service watched by pull (Prometheus) and by push (OTLP, then Graphite) at once,
//! from one set of OpenTelemetry instruments.
//!
//! # Layout
//!
//! Imports point down only.
//!
//! - `cli`: one file per command; the only place that installs globals.
//! - `console`: the web page that shows both views.
//! - `mixin`: Prometheus rules, alerts and Grafana dashboards as files, from the signals.
//! - `signals`: the four golden signals as queries.
//! - `traffic`: the built-in clients of the service, a load and a probe.
//! - `service`: the three routes and their database, an ordinary axum application.
//! - `collector`: receivers, the pipeline, the series table, exporters.
//! - `telemetry`: resource, providers, the one reader, the push loop, logs, the guard.
//! - `http`: the Tower layer for HTTP servers.
//! - `exposition`: families and their encodings.
//! - `naming`: OpenTelemetry names to Prometheus names and Graphite paths.
//! - `hosts`: the host names that a listener answers to.
//! - `net`: listeners and bounded serving.
//! - `config`: typed settings from flags and variables.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod collector;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod console;
#[cfg(feature = "exposition")]
pub mod exposition;
#[cfg(feature = "cli")]
pub mod hosts;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "cli")]
pub mod mixin;
#[cfg(any(feature = "exposition", feature = "cli"))]
pub mod naming;
#[cfg(feature = "cli")]
pub mod net;
#[cfg(feature = "cli")]
pub mod service;
#[cfg(feature = "cli")]
pub mod signals;
#[cfg(feature = "telemetry")]
pub mod telemetry;
#[cfg(feature = "cli")]
pub mod traffic;
