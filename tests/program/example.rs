//! The example of the library, as a process: what it pushes is what it exposes.

use std::{path::PathBuf, process::Command};

use crate::{
    http,
    process::{Launch, eventually},
};

/// The example, built as the tests were. Whoever runs all tests has built it by then.
fn built() -> PathBuf {
    let build = ["build", "--example", "axum_layer", "--message-format", "json"];
    let output =
        Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let executable = |message: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(message).ok()?;
        let is_example = message["target"]["name"] == "axum_layer";
        is_example.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    };
    messages.into_iter().find_map(executable).unwrap()
}

#[test]
fn the_example_is_seen_by_pull_and_by_push() {
    let collector = Launch::collect().start();
    let example = Launch::of(&built(), &["127.0.0.1:0"])
        .pushing_to("grpc", &collector.address("otlp_grpc"))
        .exporting_often()
        .start();
    let text = eventually("how to see its data", || {
        Some(example.stdout()).filter(|text| text.contains("shows it at http://127.0.0.1:5001/\n"))
    });
    let address = text.strip_prefix("http://").unwrap().split_once('/').unwrap().0.to_owned();
    let endpoint = format!("Pushed, to http://{}:\n", collector.address("otlp_grpc"));
    for told in [&format!("Pulled: http://{address}/metrics "), &endpoint] {
        assert!(text.contains(told.as_str()), "{told}: {text}");
    }

    for name in ["Ada", "Grace"] {
        assert_eq!(http::ask(&address, &format!("GET /hello/{name}")).body, format!("Hello, {name}!\n"));
    }
    let of_the_route = ["http_route=\"/hello/{name}\"", "http_response_status_code=\"200\""];
    let count = "http_server_request_duration_seconds_count";
    let pulled = http::ask(&address, "GET /metrics");
    assert_eq!(pulled.sum(count, &of_the_route), 2.0, "{}", pulled.body);
    eventually("the same by push", || (collector.pushed().sum(count, &of_the_route) == 2.0).then_some(()));
    let spans = "pushpull_collector_accepted_total{receiver=\"otlp_grpc\",signal=\"traces\"}";
    // The scrape has a span too.
    eventually("three spans", || collector.pushed().sample(spans).filter(|spans| *spans >= 3.0));

    let ended = example.stop_by("INT");
    ended.assert_orderly();
    assert_eq!(ended.stderr, "");
}
