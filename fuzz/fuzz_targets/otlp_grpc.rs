//! Any bytes as the body of a gRPC call: an answer each time, and good lines.
#![no_main]

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, header},
};
use libfuzzer_sys::fuzz_target;
use pushpull::{
    collector::{receive::otlp_grpc, stats::Stats},
    config::GraphiteNames,
};
use pushpull_fuzz::{Bridge, ask, carbon};

const SERVICES: [&str; 4] = ["metrics.v1.Metrics", "trace.v1.Trace", "logs.v1.Logs", "profiles.v1.Profiles"];

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    let pick = usize::from(*choice);
    let path = format!("/opentelemetry.proto.collector.{}Service/Export", SERVICES[pick % 4]);
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/grpc");
    if pick / 4 % 2 == 1 {
        request = request.header("grpc-encoding", "gzip");
    }
    // Half of them get a frame's head that fits, or hardly any message would be looked into.
    let body = match pick / 8 % 2 {
        0 => rest.to_vec(),
        _ => {
            let length = u32::try_from(rest.len()).expect("a short input");
            [&[u8::from(pick / 4 % 2 == 1)], &length.to_be_bytes()[..], rest].concat()
        }
    };
    let bridge = Bridge::new(GraphiteNames::Tagged);
    let router = otlp_grpc::router(bridge.accept(), Arc::new(Stats::default()));
    assert_eq!(ask(router, request.body(Body::from(body)).expect("a request")), 200);
    carbon::keeps_all(&bridge.lines());
});
