//! What tells series apart in Graphite, and what is said where nothing does.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::metric::Data,
};
use pushpull::collector::stats::Event;

use crate::{
    carbon::Carbon,
    graphite::{PLACE, lines_of},
    support::*,
};

/// The lines of two series that share a path until the remedy of the notice is taken.
async fn shared(flags: &str, requests: &[ExportMetricsServiceRequest; 2]) -> (u64, Vec<String>) {
    let (logs, _guard) = Logs::capture();
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {} {flags}", carbon.address()));
    for time in 0..3 {
        for request in requests {
            let mut request = request.clone();
            let metrics =
                request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
            for metric in metrics.flat_map(|scope| &mut scope.metrics) {
                let Some(Data::Gauge(gauge)) = &mut metric.data else { panic!("a gauge") };
                gauge.data_points.iter_mut().for_each(|point| point.time_unix_nano = seconds(T + time));
            }
            assert_eq!(collector.send(&request).await, (0, String::new()));
        }
    }
    (collector.count(Event::Shared, PLACE, ""), logs.lines_with("write the Graphite path"))
}

#[tokio::test]
async fn the_notice_of_a_shared_path_names_what_really_separates() {
    let level = |resource: &[(&str, &str)], scope: &str, own: &[(&str, &str)], name: &str| {
        let mut request = request(resource, vec![gauge(name, vec![int(own, T, 1)])]);
        let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
        request.resource_metrics[0].scope_metrics[0].scope = Some(scope);
        request
    };
    let host = |host: &str| {
        level(&[("service.name", "shop"), ("host.name", host), ("process.pid", host)], "", &[], "level")
    };
    let scope = |scope: &str| level(&[("service.name", "shop")], scope, &[], "level");
    let of_key = |key: &str| level(&[("service.name", "shop")], "", &[(key, "x")], "level");
    let both = "--graphite-tags service.name,service.instance.id";
    for (flags, requests, remedy) in [
        ("", [host("a"), host("b")], "--graphite-tags service.name,host.name"),
        // It is set already, and does not help.
        (both, [host("a"), host("b")], "--graphite-tags service.instance.id,service.name,host.name"),
        (both, [scope("a"), scope("b")], "--graphite-tags service.instance.id,service.name,otel.scope.name"),
        ("--graphite-names dotted", [of_key("j"), of_key("k")], "--graphite-names tagged"),
    ] {
        let (count, lines) = shared(flags, &requests).await;
        assert!(count > 0 && lines.len() == 1, "{flags}: {lines:?}");
        assert!(lines[0].trim_end().ends_with(remedy), "{flags}: {lines:?}");
        // Whoever takes the advice is rid of it.
        let mut settled = vec![flags];
        settled.retain(|flags| remedy.split(' ').next() != flags.split(' ').next());
        let (count, lines) = shared(&[&settled[..], &[remedy]].concat().join(" "), &requests).await;
        assert_eq!((count, lines), (0, Vec::new()), "{remedy}");
    }
}

#[tokio::test]
async fn scopes_are_tags_where_they_are_asked_for() {
    let mut wanted = request(SHOP, vec![gauge("level", vec![int(&[("otel.scope.name", "mine")], T, 1)])]);
    let scope =
        InstrumentationScope { name: "lib".to_owned(), version: "2".to_owned(), ..Default::default() };
    wanted.resource_metrics[0].scope_metrics[0].scope = Some(scope);
    let carbon = Carbon::listen();
    let flags = "--graphite-tags service.name,otel.scope.name,otel.scope.version --statsd-flush 20ms";
    let collector = Running::start(&format!("--graphite {} {flags}", carbon.address()));
    assert_eq!(collector.send(&wanted).await.0, 0);
    let mut connection = carbon.accept().await;
    let path =
        "level;exported_otel.scope.name=mine;otel.scope.name=lib;otel.scope.version=2;service.name=shop";
    assert_eq!(connection.exactly(1).await, [format!("{path} 1 {T}")]);
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(b"load:5|g", collector.statsd).await.unwrap();
    eventually("a line of StatsD", async || collector.scrape().await.samples.get("load{}").copied()).await;
    let lines = connection.exactly(2).await;
    assert!(lines[1].starts_with("load 5 "), "{lines:?}");
}

#[tokio::test]
async fn what_prometheus_calls_the_name_is_no_tag() {
    let metrics = vec![gauge("level", vec![int(&[("__name__", "x")], T, 1)])];
    assert_eq!(lines_of("", metrics, 1).await, [format!("level;exported_name=x;service.name=shop 1 {T}")]);
}

#[tokio::test]
async fn doubles_in_attributes_are_written_as_the_collector_does() {
    let any = |value| Some(AnyValue { value: Some(value) });
    let list = any_value::Value::ArrayValue(ArrayValue {
        values: vec![
            AnyValue { value: Some(any_value::Value::DoubleValue(2.0)) },
            AnyValue { value: Some(any_value::Value::DoubleValue(f64::NAN)) },
        ],
    });
    let mut point = int(&[], T, 1);
    for (key, value) in [
        ("a", any_value::Value::DoubleValue(1e21)),
        ("b", any_value::Value::DoubleValue(f64::INFINITY)),
        ("c", list),
        ("d", any_value::Value::DoubleValue(2.0)),
    ] {
        point.attributes.push(KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() });
    }
    let path = r#"level;a=1e+21;b=Infinity;c=[2,"NaN"];d=2;service.name=shop"#;
    assert_eq!(lines_of("", vec![gauge("level", vec![point])], 1).await, [format!("{path} 1 {T}")]);
}
