//! What a person sees first: one short block with what is listening, what to try, where telemetry goes.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use tokio::task::JoinHandle;

use super::{
    Failure,
    names::{self, Names},
    sockets::Addresses,
    token,
};
use crate::{
    collector::{StartError, export::graphite::spool, pipeline::Pipeline},
    config::{CollectorSettings, ConsolePage, ForwardSignals, GraphiteTarget, LogFormat},
    console::{self, Console, Controls, Listening, Source, Token},
    hosts::{AllowedHosts, Hosts},
    net::{self, Bounds, Listener, OpenFiles, Places, Stop, Terms},
};

/// What the block says.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) service: Option<SocketAddr>,
    /// The service's metrics can be scraped.
    pub(super) exposed: bool,
    /// The second listener for them, where there is one.
    pub(super) prometheus: Option<SocketAddr>,
    pub(super) console: Option<SocketAddr>,
    pub(super) token: Option<Token>,
    /// The console reads what a collector elsewhere has of the service.
    pub(super) reads_pushed: bool,
    pub(super) collector: Option<Addresses>,
    /// OTLP is received over TLS.
    pub(super) over_tls: bool,
    /// Where telemetry goes, in a line or several.
    pub(super) notes: Vec<String>,
    /// The block goes to standard error, since standard output carries carbon lines.
    pub(super) with_lines: bool,
}

impl Page {
    /// The part that every collector has.
    pub(super) fn collector(addresses: &Addresses, settings: &CollectorSettings, names: &Names) -> Self {
        let mut notes = Vec::new();
        let graphite: Vec<_> = settings
            .graphite
            .iter()
            .map(|target| match target {
                GraphiteTarget::Address(address) => address.as_str(),
                GraphiteTarget::Stdout => "standard output",
            })
            .collect();
        notes.push(match graphite.as_slice() {
            [] => "Graphite gets nothing: name one with --graphite HOST:PORT, or look at its lines with --graphite -".to_owned(),
            [first, rest @ ..] => {
                let rest: String = rest.iter().map(|address| format!(", or {address} when that is gone")).collect();
                let flaws = names.flaws(settings.graphite.iter().filter_map(names::of_carbon));
                format!("Graphite's lines go to {first}{rest}{flaws}")
            }
        });
        notes.extend(
            settings
                .spool
                .iter()
                .map(|spool| format!("What waits for Graphite is on disk, in {}", spool.folder.display())),
        );
        notes.extend(settings.forward.iter().map(|target| {
            let flaws = names.flaws(names::of_url(&target.url));
            let what = match target.signals {
                ForwardSignals::ALL => "Everything is".to_owned(),
                some => format!("The {} are", some.words()),
            };
            format!("{what} forwarded by OTLP to {}{flaws}", target.label)
        }));
        let with_lines = settings.graphite.contains(&GraphiteTarget::Stdout);
        Self { collector: Some(*addresses), notes, with_lines, ..Self::default() }
    }

    /// Adds the console, where there is one. It asks for the token of `token_file`, which is created where it is not
    /// there; without a file, on an address that others can reach, for one that is made here and printed once.
    ///
    /// # Errors
    /// Where the file can be neither read nor created, or holds no token.
    pub(super) fn add_console(
        &mut self,
        console: Option<SocketAddr>,
        token_file: Option<&Path>,
    ) -> Result<(), Failure> {
        let Some(address) = console else { return Ok(()) };
        self.console = console;
        if let Some(file) = token_file {
            self.token = Some(token::of_file(file)?);
            self.notes.push(format!(
                "The console asks for the token in {}, as Bearer token or as the password of any user",
                file.display()
            ));
        } else if !address.ip().to_canonical().is_loopback() {
            let made = token::fresh();
            self.token = Token::new(&made);
            self.notes
                .push(format!("The console's token, as Bearer token or as the password of any user: {made}"));
        }
        Ok(())
    }

    /// Says how to see what arrives, where there is no service to look at.
    pub(super) fn add_way_to_look(&mut self) {
        let way = match self.console {
            Some(console) => format!("Open http://{}/ to see what arrives", net::reachable(console)),
            None => "To see what arrives on a page, add --console 127.0.0.1:5001".to_owned(),
        };
        self.notes.insert(0, way);
    }

    /// Says that all is ready: the block, or one log line where log lines are for machines.
    pub(super) fn print(&self, log: LogFormat) {
        let Some(text) = (log == LogFormat::Text).then(|| self.text()) else { return self.log() };
        if self.with_lines {
            return super::logs::say(&text);
        }
        super::logs::flush(super::LAST_LINES);
        // A closed output is no reason to end: whoever closed it does not want to read.
        let _ = io::stdout().write_all(text.as_bytes());
    }

    /// Who else can reach what, where something listens on more than one address.
    fn everywhere(&self) -> Option<String> {
        let collector = self.collector.as_ref();
        let listeners = [
            ("service", self.service),
            ("pull", self.prometheus),
            ("console", self.console),
            ("pushed", collector.map(|addresses| addresses.exposition)),
            ("OTLP/gRPC", collector.map(|addresses| addresses.otlp_grpc)),
            ("OTLP/HTTP", collector.map(|addresses| addresses.otlp_http)),
            ("StatsD", collector.and_then(|addresses| addresses.statsd)),
        ];
        let open = |address: SocketAddr| address.ip().is_unspecified();
        let open = listeners.into_iter().filter(|(_, address)| address.is_some_and(open));
        let open: Vec<_> = open.map(|(what, _)| what).collect();
        let names = open.join(", ");
        (!open.is_empty()).then(|| format!("Reachable from other machines: {names}"))
    }

    fn notes(&self) -> impl Iterator<Item = String> {
        self.everywhere().into_iter().chain(self.notes.iter().cloned())
    }

    fn log(&self) {
        let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let collector = self.collector.as_ref();
        tracing::info!(
            service = text(self.service),
            prometheus = text(self.prometheus),
            console = text(self.console),
            otlp_grpc = text(collector.map(|addresses| addresses.otlp_grpc)),
            otlp_http = text(collector.map(|addresses| addresses.otlp_http)),
            statsd = text(collector.and_then(|addresses| addresses.statsd)),
            exposition = text(collector.map(|addresses| addresses.exposition)),
            notes = self.notes().collect::<Vec<_>>().join("; "),
            "ready"
        );
    }

    fn text(&self) -> String {
        let mut text = format!("\npushpull {} is ready\n\n", env!("CARGO_PKG_VERSION"));
        for listening in self.listening(net::reachable) {
            let place = listening.url.as_ref().unwrap_or(&listening.address);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<10}  {place:<31} {}", listening.what, listening.note);
        }
        if let Some(service) = self.service.map(net::reachable) {
            let _ = write!(
                text,
                "\nTry: open http://{service}/ a few times, http://{service}/database/ once or twice"
            );
            let pulled = self.exposed.then(|| format!("http://{service}/metrics/ for what is pulled"));
            let page = self.console.map(|console| {
                let what = if self.collector.is_some() { "what was pushed" } else { "the same as a page" };
                format!("http://{}/ for {what}", net::reachable(console))
            });
            let places: Vec<_> = pulled.into_iter().chain(page).collect();
            if !places.is_empty() {
                let _ = write!(text, ",\nthen {}", places.join(", and "));
            }
            text.push('\n');
        }
        text.push('\n');
        for note in self.notes() {
            let _ = writeln!(text, "{note}");
        }
        text.push_str("Ctrl-C stops\n\n");
        text
    }

    /// What is listening, each by the address that `shown_as` makes of the bound one. The terminal shows addresses that this
    /// machine can open; the console gets the bound ones, and puts the host that the browser asked into its links.
    fn listening(&self, shown_as: impl Fn(SocketAddr) -> SocketAddr) -> Vec<Listening> {
        let page = |what: &str, address: SocketAddr, path: &str, note: &str| {
            let address = shown_as(address);
            Listening {
                what: what.to_owned(),
                address: address.to_string(),
                url: Some(format!("http://{address}{path}")),
                note: note.to_owned(),
            }
        };
        let port = |what: &str, address: SocketAddr, note: &str| Listening {
            url: None,
            ..page(what, address, "", note)
        };
        let service = self.service.iter().flat_map(|address| {
            [
                page("service", *address, "/", "the instrumented service"),
                page(
                    "pull",
                    *address,
                    "/metrics/",
                    if self.exposed {
                        "its metrics, for Prometheus to scrape"
                    } else {
                        "no metrics, see below"
                    },
                ),
            ]
        });
        let prometheus =
            self.prometheus.iter().map(|address| page("pull", *address, "/metrics", "the same metrics"));
        let shown = match (self.exposed, self.collector) {
            (true, Some(_)) => "pulled and pushed, side by side",
            (true, None) if self.reads_pushed => "what is pulled, and what a collector elsewhere has of it",
            (true, None) => "what is pulled; nothing is pushed to this process",
            (false, Some(_)) => "what was pushed, with traces and logs",
            (false, None) if self.reads_pushed => "what a collector elsewhere has of the service",
            (false, None) => "nothing: nothing is pulled, and nothing is pushed to this process",
        };
        let console = self.console.iter().map(|address| page("console", *address, "/", shown));
        let received =
            if self.over_tls { "metrics, traces, logs, over TLS" } else { "metrics, traces, logs" };
        let collector = self.collector.iter().flat_map(|addresses| {
            let statsd = addresses
                .statsd
                .map(|address| port("StatsD", address, "counters, gauges, timers, sets over UDP"));
            [
                page("pushed", addresses.exposition, "/metrics", "what was pushed, for Prometheus to scrape"),
                port("OTLP/gRPC", addresses.otlp_grpc, received),
                port("OTLP/HTTP", addresses.otlp_http, received),
            ]
            .into_iter()
            .chain(statsd)
        });
        service.chain(prometheus).chain(console).chain(collector).collect()
    }
}

/// A collector that could not start: a folder that cannot be used is a bad setting.
pub(super) fn failed(error: StartError) -> Failure {
    match error {
        StartError::Spool(error) => Failure::settings(error),
        error => error.into(),
    }
}

/// Files that are left for all that is no connection of a client: sinks, disks, listeners.
const RESERVED_FILES: u32 = 128;

/// The files of segments that a spool keeps open, where there is one.
pub(super) fn files_of_spool(collector: &CollectorSettings) -> u32 {
    collector.spool.as_ref().map_or(0, |_| u32::try_from(spool::OPEN_FILES).unwrap_or(u32::MAX))
}

/// The bounds and the places for connections that all listeners of this process share. Of the open files that the process
/// may have, some are reserved for its own use, and `more` of them for what only this command opens.
pub(super) fn terms(open_files: &OpenFiles, more: u32) -> Terms {
    let places = Places::within(open_files.limit, RESERVED_FILES.saturating_add(more));
    Terms { bounds: Bounds::default(), places }
}

/// What the console shows and changes of this process.
#[derive(Default)]
pub(super) struct Views {
    /// The collector in this process; none where telemetry is pushed elsewhere.
    pub(super) collector: Option<Pipeline>,
    /// What is pulled when the page is loaded.
    pub(super) pull: Vec<url::Url>,
    /// What can be changed.
    pub(super) controls: Option<Controls>,
    /// The host names that the console answers to in addition to loopback names.
    pub(super) hosts: AllowedHosts,
}

/// Serves the console, where there is one, on the current runtime.
///
/// # Errors
/// Where the socket cannot be handed to the runtime.
pub(super) fn serve_console(
    console: Option<(Listener, SocketAddr)>,
    page: &Page,
    settings: &ConsolePage,
    views: Views,
    terms: Terms,
    stop: &Stop,
) -> Result<Option<JoinHandle<()>>, Failure> {
    let Some((listener, address)) = console else { return Ok(None) };
    let listeners = listener.into_tokio()?;
    // A page of another site has no token to give.
    let hosts = match page.token.is_some() && views.hosts.is_empty() {
        true => Hosts::default(),
        false => views.hosts.on(address),
    };
    let router = console::router(Console {
        links: settings.links.iter().map(|link| (link.name.clone(), link.url.clone())).collect(),
        listening: page.listening(std::convert::identity),
        source: views.collector.map(|pipeline| Arc::new(pipeline) as Arc<dyn Source>),
        pull: views.pull,
        pushed: settings.pushed.clone(),
        token: page.token.clone(),
        hosts,
        controls: views.controls,
    });
    Ok(Some(tokio::spawn(net::serve_over(None, listeners, router, terms, stop.clone()))))
}
