//! Where telemetry arrives, by which protocol, and from whom.

use crate::{
    process::{Launch, Program, eventually},
    watcher::{Watcher, attribute},
};

/// A program that pushes by a protocol, and the one whose collector it pushes to (none: itself).
fn pushing(protocol: Option<&str>, external: bool, watcher: &Watcher) -> (Program, Option<Program>) {
    let forward = watcher.url();
    let launch = Launch::serve().exporting_often().quick_database();
    if external {
        let collector = Launch::collect().arguments(&["--forward", &forward]).start();
        let receiver = if protocol.is_none() { "otlp_grpc" } else { "otlp_http" };
        let launch = match protocol {
            Some(protocol) => launch.pushing_to(protocol, &collector.address(receiver)),
            None => launch
                .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address(receiver))),
        };
        return (launch.start(), Some(collector));
    }
    let launch = launch.arguments(&["--forward", &forward]);
    let launch = match protocol {
        Some(protocol) => launch.variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        None => launch,
    };
    (launch.start(), None)
}

/// All three signals arrive by `protocol` (none: the default, gRPC), whole and as the service made them.
fn all_three_arrive(protocol: Option<&str>, external: bool) {
    let watcher = Watcher::new();
    let (service, collector) = pushing(protocol, external, &watcher);
    assert_eq!(service.listens("otlp_grpc"), !external, "a collector of its own only where none is named");
    for _ in 0..3 {
        service.get("/");
    }
    service.get("/database/");

    let receiver = if protocol.is_none() { "otlp_grpc" } else { "otlp_http" };
    let collects = collector.as_ref().unwrap_or(&service);
    for signal in ["metrics", "traces", "logs"] {
        let series =
            format!("pushpull_collector_accepted_total{{receiver=\"{receiver}\",signal=\"{signal}\"}}");
        eventually(&series, || collects.pushed().sample(&series).filter(|items| *items > 0.0));
    }
    let pushed = eventually("three requests", || {
        let pushed = collects.pushed();
        let home = pushed.sum("requests_total", &["endpoint=\"/\"", "job=\"pushpull\""]);
        let slow = pushed.sum("slow_count", &["endpoint=\"/database\""]);
        ((home, slow) == (3.0, 1.0)).then_some(pushed)
    });
    assert!(pushed.body.contains("# TYPE requests_total counter\n"), "{}", pushed.body);
    assert!(pushed.body.contains("# TYPE slow histogram\n"), "{}", pushed.body);

    // What the collector keeps it also hands on, so it can be looked at here.
    let (span, log) = (watcher.span("GET /database/"), watcher.log("database operation completed"));
    assert_eq!((&log.trace_id, &log.span_id), (&span.trace_id, &span.span_id));
    assert_eq!((span.service.as_str(), log.service.as_str()), ("pushpull", "pushpull"));
    assert_eq!(attribute(&log.attributes, "pairs").map(str::is_empty), Some(false));
    let series = watcher.series("requests_total", ("endpoint", "/database"), 1.0);
    assert_eq!(series.service, "pushpull");
}

#[test]
fn grpc_to_the_embedded_collector() {
    all_three_arrive(None, false);
}

#[test]
fn http_to_the_embedded_collector() {
    all_three_arrive(Some("http/protobuf"), false);
}

#[test]
fn grpc_to_a_collector_elsewhere() {
    all_three_arrive(None, true);
}

#[test]
fn http_to_a_collector_elsewhere() {
    all_three_arrive(Some("http/protobuf"), true);
}

/// The labels of a program's `target_info`, which both views take from the resource.
fn target_info(body: &str) -> String {
    let line = body.lines().find(|line| line.starts_with("target_info{"));
    line.unwrap_or_else(|| panic!("no target_info: {body}")).to_owned()
}

#[test]
fn the_resource_follows_the_standard_variables() {
    let service = Launch::serve()
        .exporting_often()
        .variable("OTEL_SERVICE_NAME", "flash")
        .variable("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed,team=a%2Cb,service.instance.id=seven")
        .start();
    service.get("/");
    let pulled = target_info(&service.get("/metrics/").body);
    for label in [
        "service_name=\"flash\"",
        "service_instance_id=\"seven\"",
        "team=\"a,b\"",
        concat!("service_version=\"", env!("CARGO_PKG_VERSION"), "\""),
    ] {
        assert!(pulled.contains(label), "{label}: {pulled}");
    }
    eventually("the pushed series", || {
        let labels = ["job=\"flash\"", "instance=\"seven\"", "endpoint=\"/\""];
        (service.pushed().sum("requests_total", &labels) == 1.0).then_some(())
    });
}

#[test]
fn two_processes_are_two_instances() {
    let instance = |service: &Program| {
        let info = target_info(&service.get("/metrics/").body);
        assert!(info.contains("service_name=\"pushpull\""), "{info}");
        info.split("service_instance_id=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let [one, two] = [(); 2].map(|()| Launch::serve().start());
    assert_ne!(instance(&one), "");
    assert_ne!(instance(&one), instance(&two));
    assert_eq!(instance(&one), instance(&one));
}

/// They are evaluated at collection, so that their values differ; their names and labels do not.
#[test]
fn process_and_runtime_are_in_both_views() {
    let service = Launch::serve().exporting_often().start();
    for series in [
        "process_cpu_time_seconds_total{cpu_mode=\"user\"",
        "process_cpu_time_seconds_total{cpu_mode=\"system\"",
        "process_memory_usage_bytes",
        "process_unix_file_descriptor_count",
        "process_uptime_seconds",
        "tokio_runtime_busy_ratio",
        "tokio_runtime_global_queue_depth",
        "otel_sdk_processor_span_processed_total{error_type=\"queue_full\"",
        "otel_sdk_processor_log_processed_total{error_type=\"queue_full\"",
    ] {
        let has = |body: &str| body.lines().any(|line| line.starts_with(series));
        let pulled = service.get("/metrics/").body;
        assert!(has(&pulled), "{series}: {pulled}");
        eventually(series, || has(&service.pushed().body).then_some(()));
    }
}
