//! Any body with any of the types and encodings that are known, by OTLP/HTTP: an answer each time, and good lines.
#![no_main]

use std::{io::Write as _, sync::Arc};

use axum::{
    body::Body,
    http::{Request, header},
};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use pushpull::{
    collector::{receive::otlp_http, stats::Stats},
    config::GraphiteNames,
};
use pushpull_fuzz::{Bridge, ask, carbon};

const PATHS: [&str; 4] = ["/v1/metrics", "/v1/traces", "/v1/logs", "/v1/profiles"];
const TYPES: [&str; 4] =
    ["application/x-protobuf", "application/json", "application/json; charset=utf-8", "text/plain"];

fuzz_target!(|input: &[u8]| {
    let [choice, body @ ..] = input else { return };
    let pick = usize::from(*choice);
    let mut request = Request::post(PATHS[pick % 4]).header(header::CONTENT_TYPE, TYPES[pick / 4 % 4]);
    let body = match pick / 16 % 5 {
        0 => body.to_vec(),
        1 => {
            request = request.header(header::CONTENT_ENCODING, "gzip");
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).expect("memory");
            encoder.finish().expect("memory")
        }
        encoding => {
            request = request.header(header::CONTENT_ENCODING, ["gzip", "zstd", "deflate"][encoding - 2]);
            body.to_vec()
        }
    };
    let bridge = Bridge::new(GraphiteNames::Tagged);
    let router = otlp_http::router(bridge.accept(), Arc::new(Stats::default()));
    let status = ask(router, request.body(Body::from(body)).expect("a request"));
    assert!(matches!(status, 200 | 400 | 404 | 413 | 415), "{status}");
    carbon::keeps_all(&bridge.lines());
});
