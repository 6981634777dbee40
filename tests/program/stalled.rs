//! A log that nobody reads, and one that senders would fill: neither holds the program up.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point::Value,
    },
    resource::v1::Resource,
};
use prost::Message as _;

use crate::{
    http::{self, ask_meanwhile},
    process::{Launch, eventually},
};

const DROPPED: &str = "pushpull_collector_log_lines_dropped_total{reason=\"output_stalled\"}";
const LEFT_OUT: &str = "pushpull_collector_log_lines_dropped_total{reason=\"rate_limit\"}";

/// Begins to speak HTTP/2, of which each step is traced, and ends when the server has answered.
fn begin_http2(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    assert_ne!(stream.read(&mut [0; 64]).unwrap(), 0);
}

/// A program that logs more than it is read of.
struct Stalled {
    child: Child,
    ready: serde_json::Value,
    log: BufReader<ChildStderr>,
}

impl Stalled {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pushpull"));
        command.args(arguments).env_clear().env("RUST_LOG", "trace").env("PUSHPULL_LOG", "json");
        for listener in ["LISTEN", "OTLP_GRPC", "OTLP_HTTP", "STATSD", "EXPOSITION"] {
            command.env(format!("PUSHPULL_{listener}"), "127.0.0.1:0");
        }
        command.env("PUSHPULL_CONSOLE", "off").stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let ready = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
            let fields = serde_json::from_str::<serde_json::Value>(&line).unwrap()["fields"].take();
            if fields["message"] == "ready" {
                break fields;
            }
        };
        let stalled = Self { child, ready, log };
        eventually("lines are dropped", || {
            (0..50).for_each(|_| begin_http2(&stalled.address("otlp_grpc")));
            let scrape = http::ask(&stalled.address("exposition"), "GET /metrics");
            scrape.sample(DROPPED).filter(|dropped| *dropped > 0.0)
        });
        stalled
    }

    fn address(&self, listener: &str) -> String {
        self.ready[listener].as_str().unwrap().to_owned()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s $0 $1", name, &id]).status().unwrap().success());
    }

    fn end(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().unwrap())
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stop_needs_no_reader_of_the_log() {
    for command in ["serve", "collect"] {
        let mut program = Stalled::start(&[command, "--stop-within", "2s"]);
        program.signal("TERM");
        assert_eq!(program.end().code(), Some(0), "{command}");
    }
}

#[test]
fn a_second_signal_needs_no_reader_of_the_log() {
    let mut program = Stalled::start(&[
        "serve",
        "--database-work",
        "1000",
        "--database-timeout",
        "1h",
        "--stop-within",
        "1h",
    ]);
    let _answer = ask_meanwhile(&program.address("service"), "GET /database/");
    eventually("a request in flight", || {
        let scrape = http::ask(&program.address("service"), "GET /metrics/");
        let active = scrape.sum("http_server_active_requests", &["http_request_method=\"GET\""]);
        (active == 1.0).then_some(())
    });
    program.signal("TERM");
    eventually("the second signal is heard", || {
        program.signal("TERM");
        program.child.try_wait().unwrap().map(|status| assert_eq!(status.code(), Some(143)))
    });
}

#[test]
fn the_log_has_the_number_of_what_it_dropped() {
    let mut program = Stalled::start(&["collect"]);
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(program.log.read_line(&mut line).unwrap(), 0, "it ended");
        let fields = serde_json::from_str::<serde_json::Value>(&line).unwrap()["fields"].take();
        if fields["message"].as_str().unwrap_or_default().starts_with("log lines were dropped") {
            assert!(fields["lines"].as_u64().unwrap() > 0, "{line}");
            return;
        }
    }
}

/// Names with two types each, of which the log has a line each.
fn names_of_two_types(names: usize) -> Vec<u8> {
    let point = || NumberDataPoint {
        time_unix_nano: 1_700_000_000_000_000_000,
        value: Some(Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let metrics = (0..names).flat_map(|number| {
        let sum = Sum {
            data_points: vec![point()],
            aggregation_temporality: AggregationTemporality::Cumulative as i32,
            is_monotonic: true,
        };
        let gauge = Data::Gauge(Gauge { data_points: vec![point()] });
        let name = format!("name{number}");
        [gauge, Data::Sum(sum)].map(|data| Metric {
            name: name.clone(),
            data: Some(data),
            ..Metric::default()
        })
    });
    let scope = ScopeMetrics { metrics: metrics.collect(), ..ScopeMetrics::default() };
    let name = AnyValue { value: Some(any_value::Value::StringValue("shop".to_owned())) };
    let name = KeyValue { key: "service.name".to_owned(), value: Some(name), ..KeyValue::default() };
    let resource = ResourceMetrics {
        resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
        scope_metrics: vec![scope],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }.encode_to_vec()
}

#[test]
fn lines_of_one_kind_are_limited_and_the_log_has_the_number() {
    const NAMES: usize = 2000;
    let collector = Launch::collect().start();
    let url = format!("http://{}/v1/metrics", collector.address("otlp_http"));
    // In the product it is the command that installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).header("content-type", "application/x-protobuf");
    let answer = request.body(names_of_two_types(NAMES)).send();
    assert!(answer.is_ok_and(|answer| answer.status().is_success()), "{}", &collector.stderr()[..2000]);
    let left_out = eventually("lines are left out", || {
        collector.pushed().sample(LEFT_OUT).filter(|lines| *lines > 1000.0)
    });
    let finished = collector.stop();
    finished.assert_orderly();
    assert!(finished.took < Duration::from_secs(20), "{:?}", finished.took);
    assert!(finished.stderr.lines().count() < 150, "{}", finished.stderr.lines().count());
    let named = finished.stderr.lines().find(|line| line.contains("further log lines of one kind"));
    let named: serde_json::Value = serde_json::from_str(named.expect(&finished.stderr)).unwrap();
    assert_eq!(named["fields"]["lines"].as_f64(), Some(left_out), "{named}");
    assert!(named["fields"]["like"].as_str().unwrap().contains("name"), "{named}");
}
