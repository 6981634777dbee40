//! `pushpull load` at a service of another process, which may be away.

use serde_json::Value;

use crate::process::{Launch, Program, eventually};

fn load(url: &str, flags: &[&str]) -> Program {
    Launch::bare(&["load", url]).variable("PUSHPULL_LOG", "json").arguments(flags).start()
}

/// The fields of the first line with this message.
fn line(stderr: &str, message: &str) -> Option<Value> {
    let lines = stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|mut line| line["fields"].take()).find(|fields| fields["message"] == message)
}

fn count(fields: &Value, name: &str) -> u64 {
    fields[name].as_u64().unwrap_or_else(|| panic!("no {name} in {fields}"))
}

#[test]
fn a_service_gets_requests_and_checks_and_a_line_says_what_came_of_them() {
    let service = Launch::serve().quick_database().start();
    let load = load(&format!("http://{}", service.address("service")), &["--rps", "50", "--probe", "100ms"]);
    let begins = eventually("the first line", || line(&load.stderr(), "load begins"));
    assert_eq!(begins["url"], format!("http://{}/", service.address("service")));
    assert_eq!((begins["rps"].as_f64(), begins["probe"].as_str()), (Some(50.0), Some("100ms")));
    let shown = eventually("a line of ten seconds", || line(&load.stderr(), "load of the last 10 s"));
    assert!(count(&shown, "sent") > 0 && shown["p50_ms"].as_f64() <= shown["p99_ms"].as_f64(), "{shown}");

    let finished = load.stop_by("INT");
    finished.assert_orderly();
    assert_eq!(finished.stdout, "");
    let all = line(&finished.stderr, "load in all").unwrap();
    assert_eq!((count(&all, "failed"), &all["failed_checks"]), (0, &"/ 0, /database/ 0, /metrics/ 0".into()));
    // Each was sent to the service, and it had the checks of these two pages, too.
    let answered = service.get("/metrics/").sum("requests_total", &["endpoint="]);
    let sent = f64::from(u32::try_from(count(&all, "sent")).unwrap());
    assert!(sent <= answered && count(&all, "sent") >= count(&shown, "sent"), "{sent}, {answered}");
}

#[test]
fn a_service_that_ends_is_counted_as_away_and_found_again() {
    let start = |address: &str| Launch::serve().quick_database().arguments(&["--listen", address]).start();
    let service = start("127.0.0.1:0");
    let address = service.address("service");
    let load = load(&format!("http://{address}"), &["--rps", "50", "--probe", "100ms"]);
    eventually("requests", || (service.get("/metrics/").sum("requests_total", &[]) > 10.0).then_some(()));
    service.stop().assert_orderly();
    eventually("a failed check", || line(&load.stderr(), "a page fails its probe"));
    let service = start(&address);
    eventually("a check that is passed", || line(&load.stderr(), "a page passes its probe again"));
    service.get("/");
    let finished = load.stop();
    finished.assert_orderly();
    let all = line(&finished.stderr, "load in all").unwrap();
    assert!(count(&all, "failed") > 0 && count(&all, "failed") < count(&all, "sent"), "{all}");
}

#[test]
fn what_is_no_service_is_refused() {
    for (url, reason) in [("https://127.0.0.1:5000", "not http://"), ("127.0.0.1:5000", "not a URL")] {
        let finished = Launch::bare(&["load", url]).finish();
        let message = finished.failure(2);
        assert!(message.contains(reason) && message.contains("such as http://127.0.0.1:5000"), "{message}");
    }
    let finished = Launch::bare(&["load"]).finish();
    assert!(finished.failure(2).contains("URL: missing; give the http:// URL"), "{finished:?}");
}

#[test]
fn a_name_that_cannot_be_resolved_is_said() {
    let load = load("http://no-such-host.invalid", &["--probe", "off"]);
    eventually("the name", || {
        load.stderr().contains("no-such-host.invalid cannot be resolved now").then_some(())
    });
    load.stop().assert_orderly();
}
