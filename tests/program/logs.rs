//! Log lines: their ids on the terminal and over OTLP, and their absence.

use std::collections::BTreeSet;

use crate::{
    process::{Launch, eventually},
    watcher::Watcher,
};

const COMPLETED: &str = "database operation completed";

/// Asks the service, and returns its terminal's lines about single requests with the ids of the requests that
/// must be theirs.
fn lines_of_requests(launch: Launch, filter: &str) -> (Vec<String>, BTreeSet<(String, String)>) {
    let watcher = Watcher::new();
    let service = launch
        .exporting_often()
        .quick_database()
        .variable("RUST_LOG", filter)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", watcher.grpc))
        .start();
    for path in ["/", "/database", "/database/", "/metrics/"] {
        service.get(path);
    }
    let queries = eventually("two queries' spans", || {
        let spans = watcher.spans().into_iter();
        let queries: Vec<_> = spans.filter(|span| span.name == "SELECT reading").collect();
        (queries.len() == 2).then_some(queries)
    });
    let pushed = eventually("two log records", || {
        let logs = watcher.logs().into_iter();
        let logs: Vec<_> = logs.filter(|log| log.body == COMPLETED).collect();
        (logs.len() == 2).then_some(logs)
    });
    let traces: BTreeSet<_> = queries.iter().map(|span| span.trace_id.clone()).collect();
    let logged: BTreeSet<_> = pushed.iter().map(|log| log.trace_id.clone()).collect();
    assert_eq!((traces.len(), &traces), (2, &logged), "a trace for each request");
    let ids: BTreeSet<_> = pushed.iter().map(|log| (log.trace_id.clone(), log.span_id.clone())).collect();
    for (trace_id, span_id) in &ids {
        // It ends behind its query's, and may be in a later batch.
        let span = eventually("the request's span", || {
            watcher.spans().into_iter().find(|span| span.span_id == *span_id)
        });
        assert_eq!((&span.trace_id, span.kind), (trace_id, "server"));
    }
    // Exports must not become exports themselves, whatever the filter lets through.
    let bodies: BTreeSet<_> = watcher.logs().iter().map(|log| log.body.clone()).collect();
    assert!(bodies.iter().all(|body| body == COMPLETED || body == "ready"), "{bodies:?}");

    let finished = service.stop();
    finished.assert_orderly();
    let lines = finished.stderr.lines().filter(|line| line.contains("pushpull::service"));
    (lines.map(str::to_owned).collect(), ids)
}

#[test]
fn json_lines_carry_the_ids_of_their_request() {
    let (lines, ids) = lines_of_requests(Launch::serve(), "debug");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let lines = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let found = lines.map(|line| {
        assert_eq!(line["fields"]["message"], COMPLETED);
        let id = |name: &str| line[name].as_str().unwrap().to_owned();
        (id("trace_id"), id("span_id"))
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), ids);
}

#[test]
fn text_lines_carry_the_ids_of_their_request() {
    let (lines, ids) = lines_of_requests(Launch::serve().text_log(), "info,pushpull::service=debug");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let found = lines.iter().map(|line| {
        assert!(line.contains(COMPLETED), "{line}");
        let id = |name: &str| {
            let id = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            id.unwrap_or_else(|| panic!("no {name}: {line}")).to_owned()
        };
        (id("trace_id"), id("span_id"))
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), ids);
}

#[test]
fn lines_of_operations_that_fail_carry_ids_too() {
    // A second of work for each operation, and one millisecond to do it in.
    let service = Launch::serve()
        .arguments(&["--database-timeout", "1ms", "--database-work", "4"])
        .variable("RUST_LOG", "pushpull::service=debug,pushpull::cli=info")
        .start();
    let answer = service.get("/database/");
    assert_eq!(answer.status, 504, "{answer:?}");
    let line = eventually("the line", || {
        let stderr = service.stderr();
        stderr.lines().find(|line| line.contains("database operation failed")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{line}");
}

#[test]
fn nothing_is_said_of_requests_at_the_default_level() {
    let service = Launch::serve().exporting_often().quick_database().start();
    let before = service.stderr();
    for path in ["/", "/database/", "/metrics/", "/healthz", "/nothing"] {
        for _ in 0..3 {
            service.get(path);
        }
    }
    eventually("what was pushed", || {
        (service.pushed().sum("requests_total", &["endpoint=\"/\""]) == 3.0).then_some(())
    });
    let finished = service.stop();
    finished.assert_orderly();
    assert_eq!((finished.stderr, finished.stdout.as_str()), (before, ""));
}
