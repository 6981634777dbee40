//! What was acknowledged is in a real Graphite in the end: also where carbon is killed in the middle of a burst, and
//! where Graphite is away for longer than the spool lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tempfile::TempDir;

use super::exposition::Exposition;
use super::graphite::Graphite;
use super::installed::peer;
use super::ports::free_ports;
use super::process::{PATIENCE, Running, eventually};
use super::product::Product;
use super::stock::shipped;
use super::web;

const SERIES: usize = 100;
/// Few enough that carbon holds most of a burst in its cache for a while, which a kill loses.
const UPDATES_PER_SECOND: u32 = 50;
/// The most that a test sends.
const BATCHES: u64 = 240;
/// Carbon writes a hundred files at the pace above, and the sender's pauses come to a few seconds.
const DELIVERY: Duration = Duration::from_secs(90);

/// Batches of gauges, each at a second of its own in the last ten minutes.
struct Burst {
    base: u64,
    sent: BTreeSet<u64>,
}

impl Burst {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        Self { base: now - BATCHES - 60, sent: BTreeSet::new() }
    }

    /// Sends batches to an OTLP/HTTP receiver until each is acknowledged.
    fn send(&mut self, address: &str, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let body = self.body(number);
            eventually(&format!("batch {number} to be acknowledged"), PATIENCE, || {
                match web::post_json(&format!("http://{address}/v1/metrics"), &body)? {
                    200 => Ok(()),
                    status => Err(status.to_string()),
                }
            });
            self.sent.insert(number);
        }
    }

    fn body(&self, number: u64) -> String {
        let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let nanoseconds = format!("{}000000000", self.base + number);
        let points: Vec<_> = (0..SERIES)
            .map(|series| {
                let padding = attribute("padding", &"-".repeat(150));
                let attributes = [attribute("k", &format!("path{series:03}")), padding];
                json!({ "attributes": attributes, "timeUnixNano": nanoseconds, "asInt": number.to_string() })
            })
            .collect();
        let metric = json!({ "name": "level", "gauge": { "dataPoints": points } });
        let resource = json!({ "attributes": [attribute("service.name", "shop")] });
        json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "metrics": [metric] }] }] })
            .to_string()
    }

    /// Every acknowledged point is there with its value and second, and no other.
    fn is_in(&self, graphite: &Graphite) -> Result<(), String> {
        let wanted: Vec<(f64, u64)> =
            self.sent.iter().map(|number| (*number as f64, self.base + number)).collect();
        let series = graphite.render("seriesByTag('name=level')")?;
        let by_path: BTreeMap<&String, _> = series.iter().map(|series| (&series.tags["k"], series)).collect();
        if by_path.len() != SERIES {
            return Err(format!("there are {} series", by_path.len()));
        }
        for (path, series) in by_path {
            let missing: Vec<_> = wanted.iter().filter(|point| !series.datapoints.contains(point)).collect();
            if !missing.is_empty() || series.datapoints.len() != wanted.len() {
                let there = series.datapoints.len();
                return Err(format!("{path} has {there} points; missing are {missing:?}"));
            }
        }
        Ok(())
    }
}

fn own(product: &Product, name: &str) -> f64 {
    let exposition = Exposition::of(product, "exposition", "/metrics").expect("the exposition");
    exposition.value(name, &[("sink", "graphite"), ("signal", "metrics")]).unwrap_or_default()
}

fn bridge(spool: &TempDir, graphite: &Graphite, flags: &[&str]) -> Product {
    let (spool, lines) = (spool.path().to_string_lossy(), graphite.lines());
    Product::collect(&[&["--spool", &spool, "--graphite", &lines], flags].concat())
}

/// Ends carbon in the middle of a burst, of which it has written little to its files.
fn every_point_survives(end: impl Fn(&mut Running)) {
    let mut graphite = Graphite::start();
    graphite.carbon.terminate(PATIENCE);
    graphite.start_carbon_again(UPDATES_PER_SECOND);
    let spool = TempDir::new().expect("a temporary folder");
    let product = bridge(&spool, &graphite, &[]);
    let address = product.address("otlp_http").to_string();
    let mut burst = Burst::new();
    burst.send(&address, 0..BATCHES / 2);
    // All of it is carbon's now, most of it in its memory.
    eventually("all of it to be written to carbon", PATIENCE, || {
        let sent = own(&product, "pushpull_collector_sent_total");
        if sent == (SERIES as u64 * BATCHES / 2) as f64 { Ok(()) } else { Err(sent.to_string()) }
    });
    end(&mut graphite.carbon);
    burst.send(&address, BATCHES / 2..BATCHES * 3 / 4);
    graphite.start_carbon_again(UPDATES_PER_SECOND);
    burst.send(&address, BATCHES * 3 / 4..BATCHES);
    eventually("every point to be in Graphite", DELIVERY, || burst.is_in(&graphite));
    assert!(own(&product, "pushpull_collector_replayed_total") > 0.0);
    assert!(own(&product, "pushpull_collector_reconnects_total") >= 1.0);
}

#[test]
fn every_point_survives_a_carbon_that_is_killed_in_a_burst() {
    every_point_survives(Running::kill);
}

#[test]
fn every_point_survives_a_carbon_that_is_stopped_in_a_burst() {
    every_point_survives(|carbon| {
        carbon.terminate(PATIENCE);
    });
}

/// The stock Collector, from the shipped file, with the bridge at `bridge`.
struct Stock {
    process: Running,
    receiver: String,
}

impl Stock {
    fn start(folder: &TempDir, bridge: &str) -> Self {
        let ports = free_ports().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let [grpc, http, statsd, exposition, metrics, health] = ports;
        let mut command = Command::new(peer("otelcol").join("bin/otelcol"));
        command.arg("--config").arg(shipped("otel-collector.yaml")).env_clear().current_dir(folder.path());
        for (name, address) in [
            ("OTELCOL_OTLP_GRPC", grpc),
            ("OTELCOL_OTLP_HTTP", http),
            ("OTELCOL_STATSD", statsd),
            ("OTELCOL_EXPOSITION", exposition),
            ("OTELCOL_HEALTH", health),
            // Nobody sends a trace.
            ("JAEGER", grpc),
        ] {
            command.env(name, address.to_string());
        }
        command.env("OTELCOL_METRICS_PORT", metrics.port().to_string()).env("GRAPHITE_BRIDGE", bridge);
        command.env("OTELCOL_STORAGE", folder.path().join("queues"));
        let mut process = Running::start("otel-collector", &mut command, folder.path());
        eventually("the Collector to be ready", PATIENCE, || {
            assert!(process.ended().is_none(), "it has ended: {}", process.stderr());
            web::get(&format!("http://{health}"))
        });
        Self { process, receiver: http.to_string() }
    }
}

#[test]
fn the_stock_collectors_queue_holds_what_the_spool_has_no_room_for() {
    let mut graphite = Graphite::start();
    graphite.carbon.terminate(PATIENCE);
    let spool = TempDir::new().expect("a temporary folder");
    let product = bridge(&spool, &graphite, &["--spool-limit", "1MiB", "--graphite-replay", "1s"]);
    let bridge = product.address("otlp_grpc").to_string();
    let folder = TempDir::new().expect("a temporary folder");
    let mut stock = Stock::start(&folder, &bridge);
    let mut burst = Burst::new();
    burst.send(&stock.receiver, 0..BATCHES / 2);
    eventually("the spool to have no room", PATIENCE, || {
        web::get(&product.url("exposition", "/readyz")).map_or(Ok(()), Err)
    });
    // The queue outlives the Collector too.
    stock.process.terminate(PATIENCE);
    let stock = Stock::start(&folder, &bridge);
    burst.send(&stock.receiver, BATCHES / 2..BATCHES);

    graphite.start_carbon_again(UPDATES_PER_SECOND);
    eventually("every point to be in Graphite", DELIVERY, || burst.is_in(&graphite));
}
