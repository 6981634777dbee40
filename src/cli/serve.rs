//! `pushpull serve`: the service, and beside it the embedded collector and the console where no OTLP
//! endpoint is configured.

use std::{
    ffi::OsString,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use opentelemetry::Key;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use url::Url;

use super::{
    Failure, logs,
    signals::Signals,
    sockets::{Addresses, Binder, Taken},
    startup::{self, Page},
    trial::Trial,
};
use crate::{
    collector::{Collector, Sockets, pipeline::Pipeline, series::Table},
    config::{self, LogFormat, Serve},
    console::Controls,
    http,
    net::{self, Stop},
    service::{
        self,
        database::{self, Database},
    },
    telemetry::{self, Destination, Environment, Signal, Telemetry},
};

/// The name of the service and of its instruments' scope.
const NAME: &str = "pushpull";
/// Shares of the time to stop: when requests in flight are cut, when the last flush is given up, when the
/// embedded collector is. The rest is for the process to end.
const DRAINED: f64 = 0.5;
const FLUSHED: f64 = 0.8;
const COLLECTED: f64 = 0.95;

pub(super) fn run(
    settings: Serve,
    log: LogFormat,
    environment: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let environment = Environment::of(environment);
    let Some(bound) = Bound::bind(&settings, &environment)? else { return Ok(()) };
    let foreground = Builder::new_multi_thread().thread_name("service").enable_all().build()?;
    let signals = {
        let _entered = foreground.enter();
        Signals::listen()?
    };
    // A runtime of its own, so that exports neither trace themselves nor wait for requests.
    let background = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("telemetry")
        .on_thread_start(telemetry::suppress_on_this_thread)
        .enable_all()
        .build()?;
    let resource = telemetry::resource(&environment, NAME, env!("CARGO_PKG_VERSION"));
    let name =
        resource.get(&Key::from_static_str("service.name")).map_or_else(String::new, |name| name.to_string());
    let telemetry = {
        let _entered = background.enter();
        Telemetry::start(&environment, resource, bound.destination())?
    };
    logs::install(log, Some(&telemetry))?;
    for warning in environment.warnings() {
        tracing::warn!("{warning}");
    }
    let database = foreground.block_on(open(&settings))?;
    let trial = foreground.block_on(Trial::new(&telemetry.meter(NAME), bound.service.1, &settings));

    let page = bound.page(&settings, &environment)?;
    let controls = trial.controls(name, &settings);
    let watching = Watching::start(&background, &settings, &page, bound.embedded, bound.console, controls)?;
    let layer = http::Layer::new(&telemetry.meter(NAME), telemetry.tracer(NAME))
        .with_propagator(Arc::new(TraceContextPropagator::new()));
    let router = service::router(
        &telemetry.meter(NAME),
        layer,
        telemetry.reader().clone(),
        database,
        trial.faults.switches(),
    );
    let ready = || {
        page.print(log);
        trial.start()
    };
    let stopping = async {
        signals.first().await;
        trial.end().await;
    };
    let deadlines =
        foreground.block_on(serve(bound.service.0, router, settings.stop_within, stopping, ready))?;

    // Nothing is recorded any more: what is still held can be flushed, and the collector is the last to go.
    foreground.shutdown_background();
    let undelivered: Vec<_> = telemetry.stop(deadlines.flushed).into_iter().map(Signal::as_str).collect();
    if !undelivered.is_empty() {
        tracing::warn!(signals = undelivered.join(", "), "stopped before all telemetry was delivered");
    }
    background.block_on(watching.stop(deadlines.collected));
    // Exporters that still try find their runtime alive until the process ends, and say nothing more.
    std::mem::forget(background);
    Ok(())
}

/// Every socket of the process.
struct Bound {
    service: (TcpListener, SocketAddr),
    embedded: Option<(Sockets, Addresses)>,
    console: Option<(TcpListener, SocketAddr)>,
    replaced: Vec<String>,
}

impl Bound {
    fn bind(settings: &Serve, environment: &Environment) -> Result<Option<Self>, Failure> {
        let mut binder = Binder::default();
        let service = binder.tcp(&settings.listen, Taken::Fail);
        let embeds = !environment.has_endpoint();
        let embedded = embeds.then(|| binder.collector(&settings.collector, Taken::Replace)).flatten();
        let console = match &settings.console {
            config::Console::Default(listen) if embeds => binder.tcp(listen, Taken::Replace),
            config::Console::Given(listen) => binder.tcp(listen, Taken::Fail),
            config::Console::Default(_) | config::Console::Off => None,
        };
        let replaced = binder.finish()?;
        // A socket that is not there was a problem.
        Ok(service.map(|service| Self { service, embedded, console, replaced }))
    }

    fn destination(&self) -> Destination {
        self.embedded.as_ref().map_or(Destination::Standard, |(_, addresses)| Destination::Embedded {
            grpc: addresses.otlp_grpc,
            http: addresses.otlp_http,
        })
    }

    fn page(&self, settings: &Serve, environment: &Environment) -> Result<Page, Failure> {
        let mut page = match &self.embedded {
            Some((_, addresses)) => {
                let mut page = Page::collector(addresses, &settings.collector);
                let goes = "Telemetry goes by OTLP to the collector in this process, since no OTEL_EXPORTER_OTLP_ENDPOINT is set";
                page.notes.insert(0, goes.to_owned());
                page
            }
            None => Page { notes: endpoints(environment), ..Page::default() },
        };
        page.service = Some(self.service.1);
        let console = self.console.as_ref().map(|(_, address)| *address);
        page.add_console(console, settings.console_token_file.as_deref())?;
        page.notes.extend(self.replaced.iter().cloned());
        Ok(page)
    }
}

/// Where the three signals are pushed, on as few lines as it takes.
fn endpoints(environment: &Environment) -> Vec<String> {
    let mut endpoints: Vec<(String, Vec<&str>)> = Vec::new();
    for signal in Signal::ALL {
        let endpoint = environment.endpoint(signal);
        match endpoints.iter_mut().find(|(known, _)| *known == endpoint) {
            Some((_, signals)) => signals.push(signal.as_str()),
            None => endpoints.push((endpoint, vec![signal.as_str()])),
        }
    }
    let line = |(endpoint, signals): (String, Vec<&str>)| {
        format!("Telemetry ({}) goes by OTLP to {endpoint}", signals.join(", "))
    };
    endpoints.into_iter().map(line).collect()
}

/// The collector and the console, where they are wanted: in this process but behind sockets like any other.
struct Watching {
    collector: Option<Collector>,
    console: Option<JoinHandle<()>>,
    pages: Stop,
}

impl Watching {
    fn start(
        runtime: &Runtime,
        settings: &Serve,
        page: &Page,
        collector: Option<(Sockets, Addresses)>,
        console: Option<(TcpListener, SocketAddr)>,
        controls: Controls,
    ) -> Result<Self, Failure> {
        let _entered = runtime.enter();
        let collector =
            collector.map(|(sockets, _)| Collector::start(&settings.collector, sockets)).transpose()?;
        let pages = Stop::default();
        let pull =
            page.service.map(|service| Url::parse(&format!("http://{service}/metrics/"))).transpose()?;
        let pipeline =
            collector.as_ref().map_or_else(nothing_pushed, |collector| collector.pipeline().clone());
        let console =
            startup::serve_console(console, page, &pipeline, pull.as_slice(), Some(controls), &pages)?;
        Ok(Self { collector, console, pages })
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

/// What the console shows where telemetry is pushed to another process: this one receives none of it.
fn nothing_pushed() -> Pipeline {
    Pipeline::new(Table::new(0, &[]), None, Vec::new(), Arc::default())
}

async fn open(settings: &Serve) -> Result<Database, Failure> {
    let database = database::Settings {
        url: settings.database.as_ref().map(|url| url.as_str().to_owned()),
        pool: settings.database_pool,
        queue: settings.database_queue,
        timeout: settings.database_timeout,
        work: settings.database_work,
    };
    let name =
        settings.database.as_ref().map_or_else(|| "the temporary database".to_owned(), ToString::to_string);
    let opened = Database::open(&database).await;
    Ok(opened.with_context(|| format!("cannot use {name} (--database)"))?)
}

/// When which step of the stop must be over.
struct Deadlines {
    flushed: Instant,
    collected: Instant,
}

/// Serves until a signal, then drains; requests that still run at half of the time to stop are cut.
async fn serve(
    listener: TcpListener,
    router: axum::Router,
    stop_within: Duration,
    stopping: impl Future<Output = ()>,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<Deadlines, Failure> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stop = Stop::default();
    let mut served = tokio::spawn(net::serve(listener, router, stop.clone()));
    ready()?;
    stopping.await;
    let at = |share: f64| Instant::now() + stop_within.mul_f64(share);
    let (drained, deadlines) = (at(DRAINED), Deadlines { flushed: at(FLUSHED), collected: at(COLLECTED) });
    stop.drain();
    if tokio::time::timeout_at(drained.into(), &mut served).await.is_err() {
        tracing::warn!("requests still ran at half of --stop-within; they were cut");
        stop.cut();
        served.await?;
    }
    Ok(deadlines)
}
