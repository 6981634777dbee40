//! Points a second that `collect` takes in over OTLP/HTTP on one core: bodies of 1,000 counters in protobuf, three
//! attributes each, the next value of the same series each time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point::Value,
    },
    resource::v1::Resource,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    task::JoinSet,
};

use crate::{
    median,
    program::{Cores, Program, move_to_second_core},
};

const POINTS: u32 = 1_000;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);

pub(crate) fn points() {
    let collector = Program::collect(Cores::First);
    move_to_second_core();
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let rates: Vec<_> =
        (0..ROUNDS).map(|_| runtime.block_on(round(collector.address("OTLP/HTTP")))).collect();
    println!(
        "collect takes in {:.0} points/s over OTLP/HTTP on one core; resident memory {:.1} MB",
        median(&rates),
        collector.resident_megabytes()
    );
}

async fn round(collector: SocketAddr) -> f64 {
    let until = Instant::now() + ROUND;
    let mut connections = JoinSet::new();
    for sender in 0..CONNECTIONS {
        connections.spawn(send(collector, sender, until));
    }
    let bodies: u32 = connections.join_all().await.into_iter().sum();
    f64::from(bodies) * f64::from(POINTS) / ROUND.as_secs_f64()
}

/// Sends until the time is up; each body was answered with full success before the next.
async fn send(collector: SocketAddr, sender: usize, until: Instant) -> u32 {
    let start = nanoseconds();
    let mut request = request(sender, start);
    let mut stream = TcpStream::connect(collector).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut bytes, mut answer) = (Vec::new(), vec![0; 4_096]);
    let mut bodies = 0;
    while Instant::now() < until {
        advance(&mut request, bodies + 1);
        bytes.clear();
        bytes.extend_from_slice(
            format!(
                "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
                 content-length: {}\r\n\r\n",
                request.encoded_len()
            )
            .as_bytes(),
        );
        request.encode(&mut bytes).unwrap();
        stream.write_all(&bytes).await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..read]);
        // A body would be a partial success.
        let whole = text.starts_with("HTTP/1.1 200 ") && text.contains("content-length: 0\r\n");
        assert!(whole && text.ends_with("\r\n\r\n"), "{text}");
        bodies += 1;
    }
    bodies
}

/// The next value of each series, of now.
fn advance(request: &mut ExportMetricsServiceRequest, total: u32) {
    let now = nanoseconds();
    let scopes = request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
    for metric in scopes.flat_map(|scope| &mut scope.metrics) {
        let Some(Data::Sum(sum)) = &mut metric.data else { continue };
        for point in &mut sum.data_points {
            point.time_unix_nano = now;
            point.value = Some(Value::AsInt(i64::from(total)));
        }
    }
}

/// Ten counters of a hundred series each.
fn request(sender: usize, start: u64) -> ExportMetricsServiceRequest {
    let metric = |number| Metric {
        name: format!("shop.orders.{number}"),
        description: "Orders that were taken".to_owned(),
        unit: "{order}".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: (0..POINTS / 10).map(|series| point(series, start)).collect(),
            aggregation_temporality: 2,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    let resource = Resource {
        attributes: vec![
            attribute("service.name", "shop".to_owned()),
            attribute("service.instance.id", format!("shop-{sender}")),
        ],
        ..Resource::default()
    };
    let scope = ScopeMetrics { metrics: (0..10).map(metric).collect(), ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![scope],
            schema_url: String::new(),
        }],
    }
}

fn point(series: u32, start: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![
            attribute("http.request.method", "GET".to_owned()),
            attribute("http.route", format!("/orders/{{id}}/{series}")),
            attribute("region", "eu-central-1".to_owned()),
        ],
        start_time_unix_nano: start,
        ..NumberDataPoint::default()
    }
}

fn attribute(key: &str, value: String) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanoseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(elapsed.as_nanos()).unwrap()
}
