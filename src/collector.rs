//! The collector: receivers take telemetry off the wire, the pipeline admits it, exporters send it on.
//!
//! It is reached over sockets only and knows nothing of the service that it may share a process with.

pub mod batch;
mod exact;
pub mod export;
mod otlp_wire;
mod own;
pub mod pipeline;
pub mod queue;
pub mod receive;
pub mod recent;
mod refusals;
pub mod series;
pub mod stats;
pub mod view;
pub mod wire;

use std::{
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use self::{
    batch::Signal,
    export::{
        State,
        graphite::{
            self, Backlog, Outgoing, connection,
            spool::{self, Spool, Values},
        },
        otlp::{Forwarder, SetupError},
        prometheus,
    },
    pipeline::{Forward, Pipeline},
    queue::Queue,
    receive::{Accept, otlp_grpc, otlp_http, statsd},
    series::Table,
    stats::{Event, OfListeners, Stats},
};
use crate::{
    config::{CollectorSettings, ForwardTemporality, GraphiteNames, GraphiteTarget},
    hosts::AllowedHosts,
    net::{self, Listener, Stop, Terms, Tls},
};

/// How often series that ended are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The sockets of a collector, bound before it starts.
#[derive(Debug)]
pub struct Sockets {
    /// OTLP/gRPC.
    pub otlp_grpc: Listener,
    /// OTLP/HTTP.
    pub otlp_http: Listener,
    /// StatsD, where it is on: a socket, or one for each family of addresses.
    pub statsd: Vec<UdpSocket>,
    /// The exposition.
    pub exposition: Listener,
    /// How the two receivers of OTLP speak TLS; plain where there is none.
    pub tls: Option<Tls>,
    /// How many connections they may have, and how long each may take.
    pub terms: Terms,
}

/// The collector could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be handed to the runtime.
    #[error("failed to use a bound socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A forwarding target could not be set up.
    #[error(transparent)]
    Forward(#[from] SetupError),
    /// The folder of the spool cannot be used.
    #[error(transparent)]
    Spool(#[from] spool::OpenError),
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    pipeline: Pipeline,
    graphite: Option<Backlog>,
    forwards: Vec<Forward>,
    hosts: AllowedHosts,
    stop: Stop,
    receivers: JoinSet<()>,
    exporters: JoinSet<()>,
}

impl Collector {
    /// Starts receiving and exporting. Must be called within the tokio runtime that is to carry it.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(settings: &CollectorSettings, sockets: Sockets) -> Result<Self, StartError> {
        let stats = Arc::new(Stats::default());
        let hosts = AllowedHosts::new(&settings.allowed_hosts);
        stats.show_listeners(OfListeners {
            evicted_connections: sockets.terms.places.evicted(),
            misdirected_requests: hosts.refused(),
        });
        let mut exporters = JoinSet::new();
        let mut sinks = Vec::new();
        let graphite = start_graphite(settings, &stats, &mut exporters, &mut sinks)?;
        let mut forwards = Vec::new();
        for target in &settings.forward {
            let queue = Queue::new(settings.queue_limit);
            let state = State::new(&target.label);
            exporters
                .spawn(Forwarder::new(target, Arc::clone(&queue), Arc::clone(&stats), state.clone())?.run());
            sinks.push(state);
            forwards.push(Forward { name: target.label.clone(), signals: target.signals, queue });
        }
        let mut table = Table::new(settings.max_series, &settings.histogram_bounds)
            .with_exposition(&settings.exposition_labels)
            .with_graphite(&settings.graphite_lines, !settings.graphite.is_empty())
            .with_statsd(!sockets.statsd.is_empty());
        if settings.forward_temporality == ForwardTemporality::Cumulative
            && settings.forward.iter().any(|target| target.signals.metrics)
        {
            table = table.with_totals_of_deltas();
        }
        let mut kept = None;
        if let Some(Backlog::Spool(spool)) = &graphite {
            let (of_statsd, of_series) = statsd::split_kept(spool.load_state()?);
            table = table.with_kept(of_series, Instant::now());
            kept = Some(of_statsd);
        }
        let pipeline = Pipeline::new(table, graphite.clone(), forwards.clone(), stats);
        let stop = Stop::default();
        let receivers = start_receivers(settings, sockets, &hosts, &pipeline, sinks, kept, &stop)?;
        exporters.spawn(sweep(pipeline.clone()));
        if settings.graphite.iter().any(|target| matches!(target, GraphiteTarget::Address(_))) {
            exporters.spawn(own::write(
                pipeline.clone(),
                settings.max_series,
                settings.graphite_lines.clone(),
            ));
        }
        Ok(Self { pipeline, graphite, forwards, hosts, stop, receivers, exporters })
    }

    /// What it holds, for a person to look at.
    #[must_use]
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Resolves when it can take nothing any more: another process has its spool.
    pub async fn lost(&self) {
        match &self.graphite {
            Some(backlog) => backlog.lost().await,
            None => std::future::pending().await,
        }
    }

    /// The host names that all listeners of this process answer to in addition to loopback names.
    #[must_use]
    pub const fn hosts(&self) -> &AllowedHosts {
        &self.hosts
    }

    /// Takes nothing more in, sends on what is queued, and ends at `deadline` at the latest; what could not
    /// be sent is counted as dropped and logged.
    pub async fn stop(mut self, deadline: Instant) {
        self.stop.drain();
        let deadline = tokio::time::Instant::from_std(deadline);
        let drained = async {
            while self.receivers.join_next().await.is_some() {}
            if let Some(backlog) = &self.graphite {
                backlog.emptied().await;
            }
            for sink in &self.forwards {
                sink.queue.emptied().await;
            }
        };
        // What is left when that is not in time is given up below.
        let _ = tokio::time::timeout_at(deadline, drained).await;
        self.stop.cut();
        // Whatever would still be taken in now could only be lost.
        self.receivers.shutdown().await;
        self.exporters.shutdown().await;
        self.give_up();
    }

    /// Ends what is held for the sinks: what is not on disk is lost, and counted.
    fn give_up(&self) {
        let stats = self.pipeline.stats();
        let mut lost = 0;
        let mut drop_items = |place: &str, signal: Signal, items: u64| {
            if items > 0 {
                stats.add(Event::Dropped, place, signal, "stopped", items);
                lost += items;
            }
        };
        if let Some((points, kept)) = self.graphite.as_ref().map(Backlog::close) {
            drop_items(graphite::PLACE, Signal::Metrics, points);
            if let Some(waiting_for) = kept {
                tracing::info!(?waiting_for, "what waits for carbon stays in the spool for the next start");
            }
        }
        for sink in &self.forwards {
            for export in sink.queue.take_all() {
                drop_items(&sink.name, export.signal, export.items);
            }
        }
        if lost > 0 {
            tracing::warn!(items = lost, "stopped before all that was queued could be sent on");
        }
    }
}

fn start_graphite(
    settings: &CollectorSettings,
    stats: &Arc<Stats>,
    exporters: &mut JoinSet<()>,
    sinks: &mut Vec<State>,
) -> Result<Option<Backlog>, StartError> {
    if settings.graphite.is_empty() {
        return Ok(None);
    }
    let addresses: Option<Vec<_>> = settings
        .graphite
        .iter()
        .map(|target| match target {
            GraphiteTarget::Address(address) => Some(address.clone()),
            GraphiteTarget::Stdout => None,
        })
        .collect();
    let state = State::new(graphite::PLACE);
    sinks.push(state.clone());
    let queue = || Queue::new(settings.queue_limit);
    let Some(addresses) = addresses else {
        state.up("standard output");
        let queue = queue();
        exporters.spawn(connection::print(Arc::clone(&queue), Arc::clone(stats)));
        return Ok(Some(Backlog::Memory(queue)));
    };
    let (backlog, outgoing) = match &settings.spool {
        Some(spool) => {
            let (spool, reader) = Spool::open(spool, settings.graphite_replay, Arc::clone(stats))?;
            (Backlog::Spool(spool), Outgoing::of_spool(reader))
        }
        None => {
            let queue = queue();
            (Backlog::Memory(Arc::clone(&queue)), Outgoing::of_queue(queue))
        }
    };
    exporters.spawn(connection::run(addresses, outgoing, Arc::clone(stats), state));
    Ok(Some(backlog))
}

fn start_receivers(
    settings: &CollectorSettings,
    sockets: Sockets,
    hosts: &AllowedHosts,
    pipeline: &Pipeline,
    sinks: Vec<State>,
    kept: Option<Values>,
    stop: &Stop,
) -> Result<JoinSet<()>, StartError> {
    let mut receivers = JoinSet::new();
    let accept: Accept = {
        let pipeline = pipeline.clone();
        Arc::new(move |batch| pipeline.accept(batch))
    };
    let stats = || Arc::clone(pipeline.stats());
    let grpc = otlp_grpc::router(Arc::clone(&accept), stats()).merge(otlp_grpc::health(stop.clone()));
    let http = otlp_http::router(Arc::clone(&accept), stats());
    let http = otlp_http::with_cors(http, &settings.otlp_cors);
    for (tls, listener, router) in [
        (sockets.tls.clone(), sockets.otlp_grpc, grpc),
        (sockets.tls, sockets.otlp_http, http),
        (None, sockets.exposition, prometheus::router(pipeline.clone(), sinks, settings.max_series)),
    ] {
        let listeners = listener.into_tokio()?;
        let router = match listeners.first() {
            Some(listener) => hosts.on(listener.local_addr()?).guard(router),
            None => router,
        };
        receivers.spawn(net::serve_over(tls, listeners, router, sockets.terms.clone(), stop.clone()));
    }
    if !sockets.statsd.is_empty() {
        let sockets: Result<Vec<_>, _> =
            sockets.statsd.into_iter().map(tokio::net::UdpSocket::from_std).collect();
        let settings = statsd::Settings {
            flush: settings.statsd_flush,
            histogram_bounds: settings.histogram_bounds.clone(),
            max_series: settings.max_series,
            expiry: settings.statsd_expiry,
            tags: settings.statsd_tags,
            max_age: settings.graphite_lines.max_age.filter(|_| !settings.graphite.is_empty()),
            bare_sums: settings.graphite_lines.names == GraphiteNames::CarbonExporter
                && !settings.graphite.is_empty(),
            names: settings.statsd_names,
            kept,
        };
        receivers.spawn(statsd::serve(sockets?, pipeline.clone(), settings, stop.clone()));
    }
    Ok(receivers)
}

async fn sweep(pipeline: Pipeline) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        pipeline.sweep();
    }
}
