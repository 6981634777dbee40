//! `pushpull serve`: the service, and with it the embedded collector and the console where no OTLP
//! endpoint is configured.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use opentelemetry::metrics::Meter;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinHandle, JoinSet},
};
use url::Url;

use super::{
    Failure, destinations, logs,
    names::{self, Names},
    signals::{Hangup, Signals},
    sockets::{Addresses, Binder, Taken},
    startup::{self, Page, Views},
    trial::{self, Trial},
};
use crate::{
    collector::{Collector, Sockets},
    config::{self, ConsolePage, LogFormat, Serve},
    console::Controls,
    hosts::AllowedHosts,
    http,
    net::{self, Listener, OpenFiles, Stop, Terms},
    service::{
        self,
        database::{self, Database},
        faults::Targets,
        scrape,
    },
    signals::Scope,
    telemetry::{self, Destination, Environment, Signal, Telemetry},
    traffic,
};

/// The name of the service and of its instruments' scope.
const NAME: &str = "pushpull";
/// Shares of the time to stop: when requests in flight are cut, when the last flush is given up, when the
/// embedded collector is. The rest is for the process to end.
const DRAINED: f64 = 0.5;
const FLUSHED: f64 = 0.8;
const COLLECTED: f64 = 0.95;

/// Files that a connection to the database holds at most: the server's socket, and both ends of the one that the faults
/// are made on.
const FILES_OF_A_DATABASE_CONNECTION: u32 = 3;

pub(super) fn run(
    settings: Serve,
    log: LogFormat,
    environment: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let environment = Environment::of(environment);
    let open_files = OpenFiles::raise();
    let of_database = settings.database_pool.saturating_mul(FILES_OF_A_DATABASE_CONNECTION);
    let of_spool = startup::files_of_spool(&settings.collector);
    let more = of_database.saturating_add(traffic::IN_FLIGHT).saturating_add(of_spool);
    let terms = startup::terms(&open_files, more);
    let Some(bound) = Bound::bind(&settings, &environment)? else { return Ok(()) };
    let page = bound.page(&settings, &environment)?;
    // A runtime of its own, so that exports neither trace themselves nor wait for requests.
    let background = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("telemetry")
        .on_thread_start(telemetry::suppress_on_this_thread)
        .enable_all()
        .build()?;
    let resource = telemetry::resource(&environment, NAME, env!("CARGO_PKG_VERSION"));
    let scope = trial::scope(&resource, settings.objective);
    let (signals, telemetry) = {
        let _entered = background.enter();
        let signals = Signals::listen(Hangup::Stop, Some(settings.stop_within))?;
        (signals, Telemetry::start(&environment, resource, bound.destination())?)
    };
    logs::install(log, Some(&telemetry))?;
    open_files.log();
    for warning in environment.warnings().iter().chain(&bound.warnings) {
        tracing::warn!("{warning}");
    }
    let foreground = Builder::new_multi_thread().thread_name("service").enable_all().build()?;
    telemetry.observe_process();
    telemetry.observe_runtime(foreground.handle());
    let start = Start {
        settings: &settings,
        page: &page,
        telemetry: &telemetry,
        signals: &signals,
        scope,
        methods: environment.http_known_methods(),
        terms: terms.clone(),
    };
    let ran =
        start.prepare(bound, &background, &foreground).and_then(|Prepared { served, trial, watching }| {
            let ready = || {
                page.print(log);
                trial.send()
            };
            let stopping = async {
                signals.first().await;
                trial.end().await;
            };
            let deadlines =
                foreground.block_on(serve(served, terms.clone(), settings.stop_within, stopping, ready))?;
            Ok((deadlines, watching))
        });
    // Nothing is recorded any more: what is still held can be flushed, and the collector is the last to go.
    foreground.shutdown_background();
    let (deadlines, watching) = match ran {
        Ok(ran) => ran,
        Err(failure) => {
            // A start that fails ends at once, whoever would have to be waited for.
            telemetry.abandon();
            background.shutdown_background();
            return Err(failure);
        }
    };
    let undelivered: Vec<_> = telemetry.stop(deadlines.flushed).into_iter().map(Signal::as_str).collect();
    if !undelivered.is_empty() {
        tracing::warn!(signals = undelivered.join(", "), "stopped before all telemetry was delivered");
    }
    background.block_on(watching.stop(deadlines.collected));
    // Exporters that still try find their runtime alive until the process ends, and say nothing more.
    std::mem::forget(background);
    Ok(())
}

/// What a service is made of before it answers.
struct Prepared {
    served: Vec<(Listener, axum::Router)>,
    trial: Trial,
    watching: Watching,
}

/// What a service is made with.
struct Start<'a> {
    settings: &'a Serve,
    page: &'a Page,
    telemetry: &'a Telemetry,
    signals: &'a Signals,
    scope: Scope,
    /// The methods that are known, where they are given.
    methods: Option<Vec<&'a str>>,
    terms: Terms,
}

impl Start<'_> {
    /// Opens all that can fail: spool, database, console.
    fn prepare(self, bound: Bound, background: &Runtime, foreground: &Runtime) -> Result<Prepared, Failure> {
        let Self { settings, page, telemetry, signals, scope, methods, terms } = self;
        let mut watching = Watching::start(background, settings, bound.embedded, terms)?;
        let meter = telemetry.meter(NAME);
        let database = foreground.block_on(open(settings, &meter))?;
        database.temporary_folder().into_iter().for_each(|folder| signals.remove_at_the_end(folder));
        let targets = Targets { database: database.clone(), link: telemetry.link() };
        let trial =
            foreground.block_on(Trial::begin(&meter, targets, bound.service.1, page.exposed, settings));
        watching.show(background, bound.console, page, &settings.console_page, trial.controls(scope))?;

        let layer = http::Layer::new(&meter, telemetry.tracer(NAME)).with_propagator(telemetry.propagator());
        let layer = match methods {
            Some(methods) => layer.with_known_methods(methods),
            None => layer,
        };
        let reader = telemetry.reader().clone().showing_scopes(settings.collector.exposition_labels.scope);
        let faults = trial.switches();
        let hosts = watching.hosts.on(bound.service.1);
        let router = service::router(&meter, layer, reader.clone(), database, Arc::clone(&faults), &hosts);
        let mut served = vec![(bound.service.0, router)];
        served.extend(bound.prometheus.map(|(listener, address)| {
            let router = scrape::router(&meter, reader.clone(), faults);
            (listener, watching.hosts.on(address).guard(router))
        }));
        Ok(Prepared { served, trial, watching })
    }
}

/// Every socket of the process.
struct Bound {
    service: (Listener, SocketAddr),
    prometheus: Option<(Listener, SocketAddr)>,
    embedded: Option<(Sockets, Addresses)>,
    console: Option<(Listener, SocketAddr)>,
    names: Names,
    replaced: Vec<String>,
    warnings: Vec<String>,
}

impl Bound {
    fn bind(settings: &Serve, environment: &Environment) -> Result<Option<Self>, Failure> {
        let mut binder = Binder::default();
        let mut warnings = Vec::new();
        let service = binder.tcp(&settings.listen, Taken::Fail);
        let prometheus = environment.prometheus_listener().and_then(|(host, port)| {
            let second = config::is_localhost(host).then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
            binder.prometheus(prometheus_address(host, port, &mut warnings), second)
        });
        let embeds =
            !environment.has_endpoint() && Signal::ALL.into_iter().any(|signal| environment.pushes(signal));
        let names = Names::look_up(match embeds {
            true => names::of_collector(&settings.collector).collect(),
            false => destinations::hosts(environment),
        });
        let embedded =
            embeds.then(|| binder.collector(&settings.collector, Taken::Replace, &names)).flatten();
        let console = match &settings.console {
            config::Console::Default(listen) if embeds => binder.tcp(listen, Taken::Replace),
            config::Console::Given(listen) => binder.tcp(listen, Taken::Fail),
            config::Console::Default(_) | config::Console::Off => None,
        };
        pushed_elsewhere(settings, embeds).into_iter().for_each(|problem| binder.refuse(problem));
        let replaced = binder.finish()?;
        // A socket that is not there was a problem.
        Ok(service.map(|service| Self { service, prometheus, embedded, console, names, replaced, warnings }))
    }

    fn destination(&self) -> Destination {
        self.embedded.as_ref().map_or(Destination::Standard, |(_, addresses)| Destination::Embedded {
            grpc: net::reachable(addresses.otlp_grpc),
            http: net::reachable(addresses.otlp_http),
        })
    }

    fn page(&self, settings: &Serve, environment: &Environment) -> Result<Page, Failure> {
        let mut page = match &self.embedded {
            Some((_, addresses)) => Page::collector(addresses, &settings.collector, &self.names),
            None => Page::default(),
        };
        page.notes.splice(0..0, destinations::lines(environment, self.embedded.is_some(), &self.names));
        page.service = Some(self.service.1);
        page.exposed = environment.exposes_metrics();
        page.prometheus = self.prometheus.as_ref().map(|(_, address)| *address);
        let console = self.console.as_ref().map(|(_, address)| *address);
        page.add_console(console, settings.console_page.token_file.as_deref())?;
        page.reads_pushed = settings.console_page.pushed.is_some();
        page.notes.extend(self.replaced.iter().cloned());
        Ok(page)
    }
}

/// Why `--console-pushed` is refused: the flag has no use with the embedded collector or without a console.
fn pushed_elsewhere(settings: &Serve, embeds: bool) -> Option<String> {
    let url = settings.console_page.pushed.as_ref()?;
    let why = match &settings.console {
        config::Console::Off => return None,
        _ if embeds => {
            "the console shows what the embedded collector receives, which runs since no OTEL_EXPORTER_OTLP_ENDPOINT is \
             set; set it to the collector that has this exposition, or leave --console-pushed out"
        }
        config::Console::Default(_) => "there is no console to show it; give --console 127.0.0.1:5001 too",
        config::Console::Given(_) => return None,
    };
    Some(format!("--console-pushed {url}: {why}"))
}

/// The address of a name, one of version 4 where it has both. A name that has none is a bad value: that is a
/// warning, and this machine's own.
fn prometheus_address(host: &str, port: u16, warnings: &mut Vec<String>) -> SocketAddr {
    if config::is_localhost(host) {
        return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    }
    let found = (host, port).to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
    let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    address.unwrap_or_else(|| {
        warnings.push(format!(
            "OTEL_EXPORTER_PROMETHEUS_HOST={host:?} cannot be resolved to an address; the default is used"
        ));
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    })
}

/// The collector and the console, where they are wanted: in this process but behind sockets like any other.
struct Watching {
    collector: Option<Collector>,
    console: Option<JoinHandle<()>>,
    pages: Stop,
    terms: Terms,
    /// The host names that all listeners answer to in addition to loopback names.
    hosts: AllowedHosts,
}

impl Watching {
    fn start(
        runtime: &Runtime,
        settings: &Serve,
        collector: Option<(Sockets, Addresses)>,
        terms: Terms,
    ) -> Result<Self, Failure> {
        let _entered = runtime.enter();
        let start = |(sockets, _)| {
            let sockets = Sockets { terms: terms.clone(), ..sockets };
            Collector::start(&settings.collector, sockets).map_err(startup::failed)
        };
        let collector = collector.map(start).transpose()?;
        let hosts = match &collector {
            Some(collector) => collector.hosts().clone(),
            None => AllowedHosts::new(&settings.collector.allowed_hosts),
        };
        Ok(Self { collector, console: None, pages: Stop::default(), terms, hosts })
    }

    /// Opens the console, where there is one.
    fn show(
        &mut self,
        runtime: &Runtime,
        console: Option<(Listener, SocketAddr)>,
        page: &Page,
        settings: &ConsolePage,
        controls: Controls,
    ) -> Result<(), Failure> {
        let _entered = runtime.enter();
        let pulled = page.service.filter(|_| page.exposed);
        let pull = pulled.map(|service| Url::parse(&format!("http://{service}/metrics/"))).transpose()?;
        let views = Views {
            collector: self.collector.as_ref().map(|collector| collector.pipeline().clone()),
            pull: pull.into_iter().collect(),
            controls: Some(controls),
            hosts: self.hosts.clone(),
        };
        self.console =
            startup::serve_console(console, page, settings, views, self.terms.clone(), &self.pages)?;
        Ok(())
    }

    async fn stop(self, deadline: Instant) {
        self.pages.cut();
        if let Some(collector) = self.collector {
            collector.stop(deadline).await;
        }
        if let Some(console) = self.console {
            let _ = tokio::time::timeout_at(deadline.into(), console).await;
        }
    }
}

async fn open(settings: &Serve, meter: &Meter) -> Result<Database, Failure> {
    let database = database::Settings {
        url: settings.database.as_ref().map(|url| url.as_str().to_owned()),
        pool: settings.database_pool,
        queue: settings.database_queue,
        timeout: settings.database_timeout,
        work: settings.database_work,
    };
    let (name, remedy) = match &settings.database {
        None => ("the temporary database".to_owned(), String::new()),
        Some(url) if url.to_string().starts_with("sqlite") => {
            let uid = rustix::process::geteuid().as_raw();
            let remedy = format!(
                "; its folder must be there, and uid {uid}, which this process runs as, must be able to write to it"
            );
            (url.to_string(), remedy)
        }
        Some(url) => (url.to_string(), "; a server must answer there, and let this user in".to_owned()),
    };
    let opened = Database::open(&database, meter).await;
    Ok(opened.with_context(|| format!("cannot use {name} (--database){remedy}"))?)
}

/// When which step of the stop must be over.
struct Deadlines {
    flushed: Instant,
    collected: Instant,
}

/// Serves each router on its listener until it is `stopping`, then drains; requests that still run at half of the time to
/// stop are cut.
async fn serve(
    served: Vec<(Listener, axum::Router)>,
    terms: Terms,
    stop_within: Duration,
    stopping: impl Future<Output = ()>,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<Deadlines, Failure> {
    let stop = Stop::default();
    let mut serving = JoinSet::new();
    for (listener, router) in served {
        let listeners = listener.into_tokio()?;
        serving.spawn(net::serve_over(None, listeners, router, terms.clone(), stop.clone()));
    }
    ready()?;
    stopping.await;
    let at = |share: f64| Instant::now() + stop_within.mul_f64(share);
    let (drained, deadlines) = (at(DRAINED), Deadlines { flushed: at(FLUSHED), collected: at(COLLECTED) });
    stop.drain();
    let ended = async { while serving.join_next().await.is_some() {} };
    if tokio::time::timeout_at(drained.into(), ended).await.is_err() {
        tracing::warn!("requests still ran at half of --stop-within; they were cut");
        stop.cut();
        while let Some(ended) = serving.join_next().await {
            ended?;
        }
    }
    Ok(deadlines)
}
