//! The names that the product writes, judged by carbon and graphite-web themselves, and those of the Collector's own
//! exporter, compared with the last Collector that had one.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
        SummaryDataPoint, metric::Data, number_data_point, summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
};
use prost::Message as _;
use tempfile::TempDir;

use super::graphite::{Graphite, TagDatabase};
use super::installed::peer;
use super::postgres::server::Server;
use super::process::{PATIENCE, Running, eventually, run};
use super::product::Product;
use super::web;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn request(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", text("shop"))],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

fn point(attributes: Vec<KeyValue>, seconds: u64, value: number_data_point::Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        time_unix_nano: seconds * 1_000_000_000,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

/// Names, keys and values of which each breaks a line, a tag or a table where it is written as it is.
fn hostile(seconds: u64) -> ExportMetricsServiceRequest {
    let spaces = [
        "\t", "\n", " ", "\u{1c}", "\u{1d}", "\u{1e}", "\u{1f}", "\u{85}", "\u{a0}", "\u{2003}", "\u{2028}",
        "\u{3000}",
    ];
    let marks = [
        "",
        "\0",
        "~",
        "~x",
        "x~",
        ";",
        "=",
        "!",
        "^",
        "{",
        "}",
        "\"",
        "{\"a\":\"b\"}",
        "'",
        "\\",
        "|",
        "*",
        "?",
        "[",
        "(",
        ",",
        "/",
        "..",
        "é",
        "名",
    ];
    let lengths = [("x", 191), ("x", 192), ("é", 191), ("é", 192), ("x", 15_000)].map(|(c, n)| c.repeat(n));
    let own = [
        "name",
        "le",
        "exported_le",
        "quantile",
        "service.name",
        "exported_service.name",
        "a_b",
        "a_b_c8687a08aa5d6ed20443",
    ];
    let texts: Vec<String> = spaces
        .iter()
        .map(|space| format!("a{space}b"))
        .chain(marks.iter().map(|mark| (*mark).to_owned()))
        .chain(lengths)
        .chain(own.map(str::to_owned))
        .collect();
    let one = number_data_point::Value::AsInt(1);
    let mut values: Vec<Value> = texts.iter().map(|value| text(value)).collect();
    values.push(Value::BytesValue(vec![0xff, 0xfe, 0]));
    values.push(Value::DoubleValue(f64::NAN));
    values.push(Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: None }] }));
    values.push(Value::KvlistValue(KeyValueList { values: vec![attribute("k", text("v"))] }));
    let by_value = values.into_iter().map(|value| point(vec![attribute("k", value)], seconds, one)).collect();
    let by_key = texts.iter().map(|key| point(vec![attribute(key, text("v"))], seconds, one)).collect();
    let mut metrics = vec![
        metric("by.value", Data::Gauge(Gauge { data_points: by_value })),
        metric("by.key", Data::Gauge(Gauge { data_points: by_key })),
    ];
    for name in texts.iter().filter(|name| !name.is_empty() && name.len() < 1_000) {
        metrics.push(metric(name, Data::Gauge(Gauge { data_points: vec![point(vec![], seconds, one)] })));
        let wait = HistogramDataPoint {
            time_unix_nano: seconds * 1_000_000_000,
            count: 3,
            sum: Some(1.5),
            bucket_counts: vec![1, 2],
            explicit_bounds: vec![0.5],
            attributes: vec![attribute("le", text("mine"))],
            ..HistogramDataPoint::default()
        };
        let aggregation_temporality = AggregationTemporality::Cumulative as i32;
        metrics.push(metric(
            &format!("h{name}"),
            Data::Histogram(Histogram { data_points: vec![wait], aggregation_temporality }),
        ));
    }
    request(metrics)
}

/// How many series that becomes: a histogram is two buckets, a sum and a count.
fn series_of(request: &ExportMetricsServiceRequest) -> usize {
    let metrics = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics);
    metrics
        .map(|metric| match &metric.data {
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            _ => 4,
        })
        .sum()
}

/// The paths that the product prints for a request.
fn printed(request: &ExportMetricsServiceRequest, flags: &[&str]) -> Vec<String> {
    let mut product = Product::collect(&[&["--graphite", "-"], flags].concat());
    web::post_metrics(&product.url("otlp_http", "/v1/metrics"), request.encode_to_vec()).expect("an answer");
    product.stop();
    let lines = product.stdout();
    let lines = lines
        .lines()
        .filter(|line| line.ends_with(|c: char| c.is_ascii_digit()) && line.split(' ').count() == 3);
    lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// What carbon makes of each path; `None` where it does not keep or index it.
fn judged(paths: &[String]) -> Vec<Option<String>> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python/carbon_paths.py");
    let input = serde_json::to_string(paths).expect("JSON");
    let answers = run(Command::new(peer("graphite").join("bin/python")).arg(script), &input);
    serde_json::from_str(&answers.unwrap_or_else(|error| panic!("{error}"))).expect("an array")
}

#[test]
fn carbon_itself_takes_every_path_as_it_was_sent() {
    let request = hostile(1_700_000_000);
    let paths = printed(&request, &["--graphite-tags", "service.name"]);
    assert_eq!(paths.len(), series_of(&request));
    let distinct: BTreeSet<&String> = paths.iter().collect();
    assert_eq!(distinct.len(), paths.len(), "two inputs, one path");
    for (path, stored) in paths.iter().zip(judged(&paths)) {
        assert_eq!(stored.as_ref(), Some(path));
    }
}

/// With carbon's own interval of updates, one series that cannot be indexed keeps those behind it out for good.
fn is_indexed_and_shown(database: &TagDatabase) {
    let graphite = Graphite::start_with(database, None, "1s:1h");
    let seconds = seconds_now();
    let request = hostile(seconds);
    let product = Product::collect(&["--graphite", &graphite.lines()]);
    web::post_metrics(&product.url("otlp_http", "/v1/metrics"), request.encode_to_vec()).expect("an answer");
    let wanted: BTreeSet<String> = printed(&request, &[]).into_iter().collect();
    assert_eq!(wanted.len(), series_of(&request));
    eventually("every series to be indexed", PATIENCE, || {
        let found: BTreeSet<String> = graphite.find_series("service.name=shop")?.into_iter().collect();
        match wanted.difference(&found).next() {
            None => Ok(()),
            Some(missing) => Err(format!("{} of {}; not {missing:?}", found.len(), wanted.len())),
        }
    });
    let shown = graphite.render("seriesByTag('service.name=shop')").expect("an answer of the render API");
    let shown = shown.iter().filter(|series| !series.values().is_empty()).count();
    assert_eq!(shown, wanted.len());
}

#[test]
fn graphite_web_indexes_every_series() {
    is_indexed_and_shown(&TagDatabase::Sqlite);
}

#[tokio::test(flavor = "multi_thread")]
async fn graphite_web_indexes_every_series_in_postgresql() {
    let server = Server::start().await;
    let database = TagDatabase::Postgres { port: server.port() };
    tokio::task::spawn_blocking(move || is_indexed_and_shown(&database)).await.expect("a test");
    drop(server);
}

/// Numbers, with texts that carbon keeps and texts that it does not.
fn numbers(at: u64) -> Vec<Metric> {
    let int = number_data_point::Value::AsInt;
    let double = number_data_point::Value::AsDouble;
    let doubles = [0.0, -0.0, 1.5, 1e300, 5e-324, 123_456_789.125, 1e21, -1e-7, f64::NAN, f64::INFINITY];
    let mut points: Vec<_> =
        doubles.iter().zip(at..).map(|(value, at)| point(vec![], at, double(*value))).collect();
    points.push(point(vec![], at + 50, int(i64::MIN)));
    let values =
        ["v", "", "a b", "~v", "v~", "a=b", "k;w=1", "k;w", "é", "{\"a\":1}", "{\"a\":\"b\"}", "/users/{id}"];
    let by_value = values
        .iter()
        .map(|value| point(vec![attribute("z", text(value)), attribute("a", text("1"))], at, int(1)));
    let keys = ["k", "a;b", "a!b", "a^b", "a=b", "le", "a b", "é"];
    let by_key = keys.iter().map(|key| point(vec![attribute(key, text("v"))], at, int(2)));
    let others = [
        Value::BoolValue(true),
        Value::IntValue(-7),
        Value::DoubleValue(1.0),
        Value::DoubleValue(0.25),
        Value::BytesValue(vec![0xff, 0, 1]),
        Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }] }),
    ];
    let by_type = others.into_iter().map(|value| point(vec![attribute("k", value)], at, int(3)));
    let by_all: Vec<_> = by_value.chain(by_key).chain(by_type).collect();
    let mut metrics = vec![
        metric("level", Data::Gauge(Gauge { data_points: points })),
        metric("all", Data::Gauge(Gauge { data_points: by_all })),
    ];
    for name in ["a b", "a;k=v", "a/b", "~a", "http.server.duration", "x{\"y\"}", "é"] {
        metrics.push(metric(
            name,
            Data::Gauge(Gauge { data_points: vec![point(vec![attribute("k", text("v"))], at, int(1))] }),
        ));
    }
    metrics
}

/// Everything that the exporter wrote, and an exponential histogram, which it did not.
fn of_every_kind() -> Vec<Metric> {
    let at = 1_700_000_000;
    let int = number_data_point::Value::AsInt;
    let wait = |attributes, bounds: &[f64], counts: &[u64], sum| HistogramDataPoint {
        attributes,
        time_unix_nano: at * 1_000_000_000,
        count: if counts.is_empty() { 4 } else { counts.iter().sum() },
        sum,
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        min: Some(0.1),
        ..HistogramDataPoint::default()
    };
    let waits = vec![
        wait(
            vec![attribute("z", text("1")), attribute("a", text("2"))],
            &[1e-5, 0.005, 2.5, 10.0, 123_456.5, 1e6],
            &[1, 2, 3, 4, 5, 6, 7],
            Some(9.25),
        ),
        wait(vec![], &[], &[], Some(1e22)),
        wait(vec![attribute("none", text(""))], &[1.0], &[1, 2], None),
    ];
    let rpc = SummaryDataPoint {
        time_unix_nano: at * 1_000_000_000,
        count: 7,
        sum: 2.5,
        quantile_values: [0.0, 0.5, 0.999, 1.0]
            .map(|quantile| ValueAtQuantile { quantile, value: quantile * 3.0 })
            .to_vec(),
        ..SummaryDataPoint::default()
    };
    let delta = AggregationTemporality::Delta as i32;
    let cumulative = AggregationTemporality::Cumulative as i32;
    let deltas = vec![point(vec![], at, int(2)), point(vec![], at + 1, int(3))];
    // A delta whose sum is above 2^53 is refused.
    let wait_deltas = waits.iter().filter(|wait| wait.sum != Some(1e22)).cloned().collect();
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: at * 1_000_000_000,
        count: 1,
        zero_count: 1,
        ..ExponentialHistogramDataPoint::default()
    };
    let others = [
        metric(
            "deltas",
            Data::Sum(Sum {
                data_points: deltas.clone(),
                aggregation_temporality: delta,
                is_monotonic: true,
            }),
        ),
        metric(
            "sum",
            Data::Sum(Sum { data_points: deltas, aggregation_temporality: cumulative, is_monotonic: true }),
        ),
        metric(
            "waits",
            Data::Histogram(Histogram { data_points: waits.clone(), aggregation_temporality: cumulative }),
        ),
        metric(
            "waits.delta",
            Data::Histogram(Histogram { data_points: wait_deltas, aggregation_temporality: delta }),
        ),
        metric("rpc", Data::Summary(Summary { data_points: vec![rpc] })),
        metric(
            "wide",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: cumulative,
            }),
        ),
    ];
    numbers(at).into_iter().chain(others).collect()
}

/// Where carbon would listen: what is written there.
struct Lines {
    address: SocketAddr,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let lines = Self { address: listener.local_addr().expect("an address"), text: Arc::default() };
        let text = Arc::clone(&lines.text);
        // It ends with the process: nobody tells it when the last connection was made.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, text) = (stream.expect("a connection"), Arc::clone(&text));
                thread::spawn(move || {
                    let mut part = [0; 65_536];
                    while let Ok(length @ 1..) = stream.read(&mut part) {
                        text.lock().expect("the lines").extend(&part[..length]);
                    }
                });
            }
        });
        lines
    }

    /// All lines, once that many are there that the last of which is `last`.
    fn until(&self, last: &str) -> BTreeSet<String> {
        eventually(&format!("the line {last:?}"), PATIENCE, || {
            let text = String::from_utf8_lossy(&self.text.lock().expect("the lines")).into_owned();
            match text.lines().any(|line| line == last) {
                true => Ok(text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect()),
                false => Err(text),
            }
        })
    }
}

#[test]
fn the_lines_are_those_of_the_collectors_exporter_wherever_carbon_keeps_them() {
    let folder = TempDir::new().expect("a temporary folder");
    let theirs = Lines::listen();
    let [port] = super::ports::free_ports();
    let configuration = folder.path().join("collector.yaml");
    std::fs::write(
        &configuration,
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
             exporters: {{carbon: {{endpoint: '{}'}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  \
             pipelines: {{metrics: {{receivers: [otlp], exporters: [carbon]}}}}\n",
            theirs.address
        ),
    )
    .expect("a configuration file");
    let collector = Running::start(
        "otelcol-carbon",
        Command::new(peer("otelcol-carbon").join("bin/otelcol-carbon")).arg("--config").arg(&configuration),
        folder.path(),
    );
    let ours = Lines::listen();
    let product =
        Product::collect(&["--graphite-names", "carbonexporter", "--graphite", &ours.address.to_string()]);
    let end = point(vec![], 1_700_000_099, number_data_point::Value::AsInt(1));
    let mut metrics = of_every_kind();
    metrics.push(metric("end", Data::Gauge(Gauge { data_points: vec![end] })));
    let body = request(metrics).encode_to_vec();
    eventually("the Collector's receiver", PATIENCE, || {
        web::post_metrics(&format!("http://127.0.0.1:{port}/v1/metrics"), body.clone())
    });
    web::post_metrics(&product.url("otlp_http", "/v1/metrics"), body).expect("an answer");
    let last = "end 1 1700000099";
    let (theirs, ours) = (theirs.until(last), ours.until(last));
    drop((collector, product));

    // A line that carbon keeps has three words, a path that it parses, and a finite number.
    let candidates: Vec<&String> = theirs
        .iter()
        .filter(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words.len() == 3 && words[1].parse::<f64>().is_ok_and(f64::is_finite)
        })
        .collect();
    let paths: Vec<String> =
        candidates.iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    let kept: BTreeSet<String> = candidates
        .iter()
        .zip(judged(&paths))
        .filter(|(_, stored)| stored.is_some())
        .map(|(line, _)| (*line).clone())
        .collect();
    assert!(kept.len() > 70, "{} lines: {theirs:#?}", kept.len());
    let missing: Vec<_> = kept.difference(&ours).collect();
    assert!(missing.is_empty(), "the Collector's exporter wrote, and we did not: {missing:#?}");
    // What it broke is written in another form, and nothing else is.
    let added: Vec<String> =
        ours.difference(&kept).map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        added,
        [
            "a_b_c8687a08aa5d6ed20443;k=v",
            "all;a_b_c8687a08aa5d6ed20443=v",
            "all;z=_v_19bccbd1a75c1d560a73;a=1",
            "all;z=a_b_c8687a08aa5d6ed20443;a=1",
            "all;z=k_w_25fc4e0fc4fd57fa817a;a=1",
        ]
    );
    assert!(judged(&added).iter().all(Option::is_some), "{added:#?}");
}
