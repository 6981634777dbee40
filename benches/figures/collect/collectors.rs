//! The collectors that are compared, each a process on the first core.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::program::{Cores, Program};

/// Which collector, and what it does with the points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Exposition,
    StockExposition,
    Lines,
    LinesWithSpool,
    StockLines,
    Nowhere,
    StockNowhere,
    Forward,
    StockForward,
}

impl Variant {
    /// Those that take metrics.
    pub(crate) const METRICS: [Self; 5] =
        [Self::Exposition, Self::StockExposition, Self::Lines, Self::LinesWithSpool, Self::StockLines];
    /// Those that take spans and log records.
    pub(crate) const ITEMS: [Self; 4] =
        [Self::Nowhere, Self::StockNowhere, Self::Forward, Self::StockForward];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exposition => "pushpull, into the exposition",
            Self::StockExposition => "Collector 0.159, prometheus exporter",
            Self::Lines => "pushpull, out as carbon lines",
            Self::LinesWithSpool => "pushpull, out as carbon lines, with a spool",
            Self::StockLines => "Collector 0.136, carbon exporter",
            Self::Nowhere => "pushpull, for the console alone",
            Self::StockNowhere => "Collector 0.159, nop exporter",
            Self::Forward => "pushpull, with a forward",
            Self::StockForward => "Collector 0.159, otlp_http exporter",
        }
    }

    pub(crate) const fn forwards(self) -> bool {
        matches!(self, Self::Forward | Self::StockForward)
    }

    pub(crate) const fn writes_lines(self) -> bool {
        matches!(self, Self::Lines | Self::LinesWithSpool | Self::StockLines)
    }

    /// Whether the collector is installed (see tests/peers/install).
    pub(crate) fn is_here(self) -> bool {
        self.stock().is_none_or(|program| program.is_file())
    }

    fn stock(self) -> Option<PathBuf> {
        let cache = || {
            let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            set("PEERS_CACHE").unwrap_or_else(|| {
                let caches = set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap().join(".cache"));
                caches.join("pushpull/peers")
            })
        };
        match self {
            Self::StockExposition | Self::StockNowhere | Self::StockForward => {
                Some(cache().join("otelcol/bin/otelcol"))
            }
            Self::StockLines => Some(cache().join("otelcol-carbon/bin/otelcol-carbon")),
            Self::Exposition | Self::Lines | Self::LinesWithSpool | Self::Nowhere | Self::Forward => None,
        }
    }
}

pub(crate) struct Collector {
    process: Program,
    address: SocketAddr,
    _folder: TempDir,
}

impl Collector {
    /// `peer` is where it writes lines or forwards to, if it does.
    pub(crate) fn start(variant: Variant, peer: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let Some(program) = variant.stock() else {
            let (carbon, forward) = (peer.to_string(), format!("http://{peer}"));
            let spool = folder.path().join("spool").display().to_string();
            let mut flags = vec!["--max-series", "2000000"];
            if variant.writes_lines() {
                flags.extend(["--graphite", &carbon]);
            }
            if variant.forwards() {
                flags.extend(["--forward", &forward]);
            }
            if variant == Variant::LinesWithSpool {
                // At these rates the default window of a minute would fill any spool, and a full one slows its senders.
                flags.extend(["--spool", &spool, "--spool-limit", "8GiB", "--graphite-replay", "1s"]);
            }
            let process = Program::collect(Cores::First, &flags);
            return Self { address: process.address("OTLP/HTTP"), process, _folder: folder };
        };
        let [receiver, exposition] = [(); 2].map(|()| free());
        let exporter = match variant {
            Variant::StockExposition => format!("prometheus: {{endpoint: '{exposition}'}}"),
            Variant::StockNowhere => "nop: {}".to_owned(),
            Variant::StockForward => {
                format!("otlp_http: {{endpoint: 'http://{peer}', compression: none}}")
            }
            // Without a queue an answer means that the lines were written, as what is counted must mean.
            _ => format!("carbon: {{endpoint: '{peer}', sending_queue: {{enabled: false}}}}"),
        };
        let name = exporter.split(':').next().unwrap();
        let signals = match variant {
            Variant::StockNowhere | Variant::StockForward => &["traces", "logs"][..],
            _ => &["metrics"],
        };
        let pipelines =
            signals.iter().map(|signal| format!("{signal}: {{receivers: [otlp], exporters: [{name}]}}"));
        let pipelines = pipelines.collect::<Vec<_>>().join(", ");
        let configuration = folder.path().join("collector.yaml");
        let yaml = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '{receiver}'}}}}}}}}\n\
             exporters: {{{exporter}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}\n  \
             pipelines: {{{pipelines}}}\n"
        );
        fs::write(&configuration, yaml).unwrap();
        let arguments = ["--config", configuration.to_str().unwrap()];
        let process = Program::start(Cores::First, program.to_str().unwrap(), &arguments, &[]);
        let start = Instant::now();
        while TcpStream::connect(receiver).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "{variant:?} does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { process, address: receiver, _folder: folder }
    }

    pub(crate) fn process(&self) -> &Program {
        &self.process
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Free until it is taken, a moment later.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
