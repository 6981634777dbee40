//! Everything that docker-compose.yml has, on loopback: the same programs from the shipped files, with other addresses.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::super::installed::peer;
use super::super::jaeger::Jaeger;
use super::super::ports::free_ports;
use super::super::process::run;
use super::super::product::Product;
use super::super::prometheus::Prometheus;
use super::super::web;
use super::peer::Peer;

/// A shipped file.
pub(in super::super) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The peers, started; dropping it ends them.
pub(in super::super) struct Deployment {
    // The service first: it is the one that ends first, while all that it pushes to still run.
    pub(super) app: Product,
    pub(super) collector: Peer,
    pub(super) bridge: Peer,
    pub(super) prometheus: Peer,
    pub(super) graphite: Peer,
    pub(super) jaeger: Peer,
    ports: Ports,
    // Dropped last: the processes write into it.
    _folder: TempDir,
}

#[derive(Clone, Copy)]
struct Ports {
    otlp_grpc: u16,
    otlp_http: u16,
    statsd: u16,
    exposition: u16,
    metrics: u16,
    health: u16,
    bridge_grpc: u16,
    bridge_http: u16,
    bridge_exposition: u16,
    carbon: u16,
    carbon_queries: u16,
    graphite_web: u16,
    jaeger_grpc: u16,
    jaeger_api: u16,
    jaeger_api_grpc: u16,
    jaeger_health: u16,
    prometheus: u16,
}

impl Ports {
    fn free() -> Self {
        let [
            otlp_grpc,
            otlp_http,
            statsd,
            exposition,
            metrics,
            health,
            bridge_grpc,
            bridge_http,
            bridge_exposition,
            carbon,
            carbon_queries,
            graphite_web,
            jaeger_grpc,
            jaeger_api,
            jaeger_api_grpc,
            jaeger_health,
            prometheus,
        ] = free_ports();
        Self {
            otlp_grpc,
            otlp_http,
            statsd,
            exposition,
            metrics,
            health,
            bridge_grpc,
            bridge_http,
            bridge_exposition,
            carbon,
            carbon_queries,
            graphite_web,
            jaeger_grpc,
            jaeger_api,
            jaeger_api_grpc,
            jaeger_health,
            prometheus,
        }
    }
}

impl Deployment {
    /// Starts everything, in the order of docker-compose.yml.
    pub(in super::super) fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let ports = Ports::free();
        let mut graphite = graphite(folder.path(), ports);
        graphite.start();
        let mut jaeger = jaeger(folder.path(), ports);
        jaeger.start();
        let mut bridge = bridge(folder.path(), ports);
        bridge.start();
        let mut collector = collector(folder.path(), ports);
        run(
            Command::new(peer("otelcol").join("bin/otelcol"))
                .arg("validate")
                .arg("--config")
                .arg(shipped("otel-collector.yaml")),
            "",
        )
        .unwrap_or_else(|error| panic!("otel-collector.yaml is refused: {error}"));
        collector.start();
        let app = Product::serve_only(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &address("http://127.0.0.1", ports.otlp_grpc)),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            // The lines that carry the trace ids of good requests.
            ("RUST_LOG", "info,pushpull=debug"),
        ]);
        let mut prometheus = prometheus(folder.path(), ports, &app);
        prometheus.start();
        Self { app, collector, bridge, prometheus, graphite, jaeger, ports, _folder: folder }
    }

    pub(super) fn prometheus(&self) -> Prometheus {
        Prometheus(address("http://127.0.0.1", self.ports.prometheus))
    }

    pub(super) fn jaeger(&self) -> Jaeger {
        Jaeger(address("http://127.0.0.1", self.ports.jaeger_api))
    }

    /// Where the Collector receives OTLP over gRPC.
    pub(in super::super) fn otlp(&self) -> String {
        address("http://127.0.0.1", self.ports.otlp_grpc)
    }

    /// An empty Prometheus in a folder, which scrapes another service and the same Collector and bridge every second,
    /// with the rules that are in the folder's `mixin`.
    pub(in super::super) fn empty_prometheus(&self, folder: &Path, app: &Product) -> (Peer, Prometheus) {
        let [port] = free_ports();
        let text = scraping(app, self.ports, port);
        let quicker = text
            .replace("scrape_interval: 5s", "scrape_interval: 1s")
            .replace("scrape_timeout: 4s", "scrape_timeout: 1s");
        assert_ne!(text, quicker, "the shipped intervals are others");
        let mut peer = started_from(folder, &quicker, port);
        peer.start();
        (peer, Prometheus(address("http://127.0.0.1", port)))
    }

    /// The base of graphite-web's URL.
    pub(in super::super) fn graphite(&self) -> String {
        address("http://127.0.0.1", self.ports.graphite_web)
    }

    /// Where the Collector receives `StatsD`.
    pub(super) fn statsd(&self) -> String {
        address("127.0.0.1", self.ports.statsd)
    }

    pub(in super::super) fn peer(&mut self, name: &str) -> &mut Peer {
        let Self { collector, bridge, prometheus, graphite, jaeger, .. } = self;
        [collector, bridge, prometheus, graphite, jaeger]
            .into_iter()
            .find(|peer| peer.name() == name)
            .unwrap_or_else(|| panic!("no peer is called {name}"))
    }
}

fn address(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

/// Asks a URL until it answers 200.
fn answers(url: String) -> impl Fn() -> Result<(), String> + Send + Sync {
    move || web::get(&url).map(drop)
}

fn collector(folder: &Path, ports: Ports) -> Peer {
    let local = |port| address("127.0.0.1", port);
    let config = shipped("otel-collector.yaml");
    Peer::new(
        "otel-collector",
        peer("otelcol").join("bin/otelcol"),
        &["--config", &config.to_string_lossy()],
        vec![
            ("OTELCOL_OTLP_GRPC", local(ports.otlp_grpc)),
            ("OTELCOL_OTLP_HTTP", local(ports.otlp_http)),
            ("OTELCOL_STATSD", local(ports.statsd)),
            ("OTELCOL_STATSD_INTERVAL", "1s".to_owned()),
            ("OTELCOL_SPAN_METRICS_INTERVAL", "1s".to_owned()),
            ("OTELCOL_EXPOSITION", local(ports.exposition)),
            ("OTELCOL_METRICS_PORT", ports.metrics.to_string()),
            ("OTELCOL_HEALTH", local(ports.health)),
            ("OTELCOL_STORAGE", folder.join("queues").to_string_lossy().into_owned()),
            ("GRAPHITE_BRIDGE", local(ports.bridge_grpc)),
            ("JAEGER", local(ports.jaeger_grpc)),
        ],
        folder,
        answers(address("http://127.0.0.1", ports.health)),
    )
}

fn bridge(folder: &Path, ports: Ports) -> Peer {
    let local = |port| address("127.0.0.1", port);
    Peer::new(
        "graphite-bridge",
        env!("CARGO_BIN_EXE_pushpull").into(),
        &["collect"],
        vec![
            ("PUSHPULL_OTLP_GRPC", local(ports.bridge_grpc)),
            ("PUSHPULL_OTLP_HTTP", local(ports.bridge_http)),
            ("PUSHPULL_STATSD", "off".to_owned()),
            ("PUSHPULL_EXPOSITION", local(ports.bridge_exposition)),
            ("PUSHPULL_EXPOSITION_SCOPE", "off".to_owned()),
            ("PUSHPULL_GRAPHITE", local(ports.carbon)),
        ],
        folder,
        answers(address("http://127.0.0.1", ports.bridge_exposition) + "/healthz"),
    )
}

fn jaeger(folder: &Path, ports: Ports) -> Peer {
    let local = |port| address("127.0.0.1", port);
    let config = shipped("deploy/jaeger/jaeger.yaml");
    Peer::new(
        "jaeger",
        peer("jaeger").join("bin/jaeger"),
        &["--config", &config.to_string_lossy()],
        vec![
            ("JAEGER_OTLP_GRPC", local(ports.jaeger_grpc)),
            ("JAEGER_HTTP", local(ports.jaeger_api)),
            ("JAEGER_GRPC", local(ports.jaeger_api_grpc)),
            ("JAEGER_HEALTH", local(ports.jaeger_health)),
        ],
        folder,
        answers(address("http://127.0.0.1", ports.jaeger_health) + "/status"),
    )
}

/// The container's own start script, and its files with other ports.
fn graphite(folder: &Path, ports: Ports) -> Peer {
    let conf = folder.join("graphite-conf");
    fs::create_dir(&conf).expect("a folder");
    for name in ["storage-schemas.conf", "storage-aggregation.conf", "local_settings.py"] {
        fs::copy(shipped("deploy/graphite").join(name), conf.join(name)).expect("a shipped file");
    }
    let carbon = with_addresses(
        "deploy/graphite/carbon.conf",
        &[
            ("RECEIVER_INTERFACE = 0.0.0.0", "RECEIVER_INTERFACE = 127.0.0.1".to_owned()),
            ("= 2003", format!("= {}", ports.carbon)),
            ("= 7002", format!("= {}", ports.carbon_queries)),
            ("127.0.0.1:8080", address("127.0.0.1", ports.graphite_web)),
        ],
    );
    fs::write(conf.join("carbon.conf"), carbon).expect("a configuration file");
    let bin = peer("graphite").join("bin");
    let path = std::env::var("PATH").expect("a PATH");
    let lines = address("127.0.0.1", ports.carbon);
    let web = answers(address("http://127.0.0.1", ports.graphite_web) + "/tags");
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    Peer::new(
        "graphite",
        shipped("deploy/graphite/entrypoint"),
        &[],
        vec![
            ("PATH", format!("{}:{path}", bin.display())),
            ("GRAPHITE_ROOT", text(folder.join("graphite"))),
            ("GRAPHITE_CONF_DIR", text(conf.clone())),
            ("GRAPHITE_STORAGE_DIR", text(folder.join("graphite"))),
            ("GRAPHITE_WEB", address("127.0.0.1", ports.graphite_web)),
            ("GRAPHITE_CARBONLINK", address("127.0.0.1", ports.carbon_queries)),
            ("GRAPHITE_SETTINGS_MODULE", "local_settings".to_owned()),
            ("DJANGO_SETTINGS_MODULE", "graphite.settings".to_owned()),
            ("PYTHONPATH", text(conf)),
            ("PYTHONWARNINGS", "ignore".to_owned()),
        ],
        folder,
        move || {
            TcpStream::connect(&lines).map_err(|error| format!("carbon: {error}"))?;
            web()
        },
    )
}

fn prometheus(folder: &Path, ports: Ports, app: &Product) -> Peer {
    let text = scraping(app, ports, ports.prometheus);
    let mixin = folder.join("mixin");
    for part in ["alerts/alerts.yml", "rules/rules.yml"] {
        fs::create_dir_all(mixin.join(part).parent().expect("a folder")).expect("a folder");
        fs::copy(shipped("deploy/mixin").join(part), mixin.join(part)).expect("a shipped file");
    }
    started_from(folder, &text, ports.prometheus)
}

/// The shipped configuration of Prometheus, with the addresses here.
fn scraping(app: &Product, ports: Ports, own: u16) -> String {
    let local = |port| address("127.0.0.1", port);
    with_addresses(
        "deploy/prometheus/prometheus.yml",
        &[
            ("app:5000", app.address("service").to_string()),
            ("otel-collector:8889", local(ports.exposition)),
            ("otel-collector:8888", local(ports.metrics)),
            ("graphite-bridge:8890", local(ports.bridge_exposition)),
            ("localhost:9090", local(own)),
        ],
    )
}

/// A Prometheus with this configuration and everything else in a folder.
fn started_from(folder: &Path, configuration: &str, port: u16) -> Peer {
    let config = folder.join("prometheus.yml");
    fs::write(&config, configuration).expect("a configuration file");
    let local = address("127.0.0.1", port);
    Peer::new(
        "prometheus",
        peer("prometheus").join("bin/prometheus"),
        &[
            &format!("--config.file={}", config.display()),
            &format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
            &format!("--web.listen-address={local}"),
        ],
        Vec::new(),
        folder,
        answers(format!("http://{local}/-/ready")),
    )
}

/// A shipped file with the containers' addresses replaced by those here; nothing else may differ.
fn with_addresses(path: &str, addresses: &[(&str, String)]) -> String {
    let text = fs::read_to_string(shipped(path)).expect("a shipped file");
    addresses.iter().fold(text, |text, (there, here)| {
        assert!(text.contains(there), "{path} does not have {there}");
        text.replace(there, here)
    })
}
