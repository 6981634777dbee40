//! Faults and load by the console's port: what is taken, what is refused, what ends by itself.

use serde_json::{Value, json};

use crate::{
    http::{self, Answer},
    process::{Launch, Program, eventually},
};

const LIST: &str = "the faults are database-refuse, database-slow=MS, pool=N, errors=RATE, truncate, collector-away, \
    scrape-refuse, each with @SECONDS up to 3600, else for 60 s";

fn start() -> Program {
    Launch::serve().variable("PUSHPULL_CONSOLE", "127.0.0.1:0").quick_database().start()
}

fn change(program: &Program, method_and_path: &str, body: &str) -> Answer {
    http::send(&program.address("console"), method_and_path, &[], body)
}

/// The names of the faults that are on, with their values.
fn active(program: &Program) -> Vec<(String, Value)> {
    let told: Value = serde_json::from_str(&change(program, "GET /api/faults", "").body).unwrap();
    let one = |fault: &Value| (fault["name"].as_str().unwrap().to_owned(), fault["value"].clone());
    told["active"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn what_is_not_a_fault_is_refused_with_the_list() {
    let program = start();
    for (name, body, reason) in [
        ("gremlins", "", "fault \"gremlins\": unknown"),
        ("%ff", "{}", "fault \"\u{fffd}\": unknown"),
        ("Errors", "{}", "fault \"Errors\": unknown"),
        ("errors", "", "errors: errors needs RATE"),
        ("errors", "{\"value\":null}", "errors: errors needs RATE"),
        ("errors", "{\"value\":-0.1}", "errors \"-0.1\": RATE is too small (give a number from 0 to 1)"),
        ("errors", "{\"value\":1.01}", "errors \"1.01\": RATE is too large (give a number from 0 to 1)"),
        (
            "pool",
            "{\"value\":1.5}",
            "pool \"1.5\": N is not a whole number (give a whole number from 0 to 1024)",
        ),
        (
            "pool",
            "{\"value\":-1}",
            "pool \"-1\": N is not a whole number (give a whole number from 0 to 1024)",
        ),
        ("pool", "{\"value\":1e300}", "N is too large (give a whole number from 0 to 1024)"),
        ("database-slow", "{\"value\":0}", "MS is too small (give a whole number from 1 to 60000)"),
        ("database-slow", "{\"value\":60001}", "MS is too large (give a whole number from 1 to 60000)"),
        ("truncate", "{\"value\":1}", "truncate \"1\": truncate takes no value"),
        (
            "truncate",
            "{\"seconds\":0}",
            "truncate \"0\": SECONDS is not above 0 (give a number above 0, up to 3600)",
        ),
        ("truncate", "{\"seconds\":-5}", "truncate \"-5\": SECONDS is not above 0"),
        ("truncate", "{\"seconds\":1e9}", "SECONDS is too large (give a number above 0, up to 3600)"),
    ] {
        let answer = change(&program, &format!("PUT /api/faults/{name}"), body);
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        let error = told["error"].as_str().unwrap();
        assert_eq!(answer.status, 400, "{name} {body}: {error}");
        assert!(error.contains(reason) && error.ends_with(LIST), "{name} {body}: {error}");
        assert_eq!(told["possible"].as_array().unwrap().len(), 7);
    }
    let unknown = change(&program, "DELETE /api/faults/gremlins", "");
    assert!(unknown.status == 400 && unknown.body.contains(LIST), "{unknown:?}");
    assert_eq!(active(&program), []);
    program.stop().assert_orderly();
}

#[test]
fn a_body_that_is_not_such_an_object_is_refused() {
    let program = start();
    for (body, reason) in [
        ("{", "the body is not JSON"),
        ("{\"value\":NaN}", "the body is not JSON"),
        ("{\"value\":1e400}", "the body is not JSON"),
        ("value=0.5", "the body is not JSON"),
        ("[0.5]", "the body is no object; give an object with value and seconds"),
        ("{\"value\":\"0.5\"}", "value \\\"0.5\\\" is not a number; give one without quotes"),
        (
            "{\"value\":0.5,\"rate\":1}",
            "\\\"rate\\\" is no field of this; give an object with value and seconds",
        ),
    ] {
        let answer = change(&program, "PUT /api/faults/errors", body);
        assert!(answer.status == 400 && answer.body.contains(reason), "{body}: {answer:?}");
    }
    let long = format!("{{\"value\":{}0.5}}", " ".repeat(5000));
    assert_eq!(change(&program, "PUT /api/faults/errors", &long).status, 413);
    for method_and_path in ["GET /api/faults/errors", "POST /api/faults/errors", "DELETE /api/faults"] {
        assert_eq!(change(&program, method_and_path, "").status, 405, "{method_and_path}");
    }
    let foreign = [("Origin", "http://example.org")];
    let answer = http::send(&program.address("console"), "PUT /api/faults/truncate", &foreign, "");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(active(&program), []);
    // Nor is it the service's to change.
    let service = http::ask(&program.address("service"), "PUT /api/faults/truncate");
    assert_eq!(service.status, 404, "{service:?}");
    program.stop().assert_orderly();
}

#[test]
fn faults_begin_change_and_end() {
    let program = start();
    // As a person types it, whatever the client says that the body is; a whole number in whatever way it is written.
    let typed = [("Content-Type", "application/x-www-form-urlencoded")];
    let console = program.address("console");
    for body in ["{\"value\":4}", "{\"value\":4.0,\"seconds\":60.0}", "{\"value\":4e0}"] {
        assert_eq!(http::send(&console, "PUT /api/faults/pool", &typed, body).status, 200, "{body}");
        assert_eq!(active(&program), [("pool".to_owned(), json!(4))], "{body}");
    }
    assert_eq!(change(&program, "PUT /api/faults/errors", "{\"value\":1}").status, 200);
    assert_eq!((program.get("/").status, program.get("/database/").status), (500, 500));
    assert_eq!(change(&program, "PUT /api/faults/errors", "{\"value\":0,\"seconds\":600}").status, 200);
    let begun: Value = serde_json::from_str(&change(&program, "PUT /api/faults/truncate", "").body).unwrap();
    let left = begun["active"][2]["seconds_left"].as_f64().unwrap();
    assert!((30.0..=60.0).contains(&left), "a minute unless said: {begun}");
    let names: Vec<_> = active(&program).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["pool", "errors", "truncate"]);
    let (half, metrics) = (program.get("/"), program.get("/metrics/"));
    assert_eq!((half.status, half.body.as_str()), (200, "Development Prometh"));
    assert_eq!(metrics.sample("pushpull_fault_active{fault=\"truncate\"}"), Some(1.0));
    for name in ["pool", "errors", "truncate", "truncate"] {
        assert_eq!(change(&program, &format!("DELETE /api/faults/{name}"), "").status, 200);
    }
    assert_eq!(active(&program), []);
    assert_eq!(program.get("/").body, "Development Prometheus-backed Flash App");

    assert_eq!(change(&program, "PUT /api/faults/scrape-refuse", "{\"seconds\":0.2}").status, 200);
    eventually("its end", || (program.get("/metrics/").status == 200).then_some(()));
    eventually("its end in the list", || active(&program).is_empty().then_some(()));
    program.stop().assert_orderly();
}

#[test]
fn load_can_be_changed_and_no_rate_is_its_end() {
    let program = start();
    for (body, reason) in [
        ("", "the body is not JSON"),
        ("{}", "rps is missing"),
        ("{\"rps\":\"5\"}", "rps \\\"5\\\" is not a number"),
        ("{\"rps\":-1}", "rps \\\"-1\\\": too small; give a number from 0 to 10000"),
        ("{\"rps\":10001}", "rps \\\"10001\\\": too large; give a number from 0 to 10000"),
        ("{\"value\":5}", "\\\"value\\\" is no field of this; give an object with rps"),
    ] {
        let answer = change(&program, "PUT /api/load", body);
        assert!(answer.status == 400 && answer.body.contains(reason), "{body}: {answer:?}");
        assert!(!answer.body.contains("truncate"), "faults are no part of it: {answer:?}");
    }
    let sent = || {
        let told: Value = serde_json::from_str(&change(&program, "GET /api/load", "").body).unwrap();
        told["sent"].as_u64().unwrap()
    };
    assert_eq!(sent(), 0);
    // The second request is due after the end of all clocks; the load takes the next rate all the same.
    assert_eq!(change(&program, "PUT /api/load", "{\"rps\":1e-320}").status, 200);
    eventually("the first request", || (sent() == 1).then_some(()));
    assert_eq!(change(&program, "PUT /api/load", "{\"rps\":200}").status, 200);
    eventually("more requests", || (sent() > 50).then_some(()));
    assert_eq!(change(&program, "PUT /api/load", "{\"rps\":0}").status, 200);
    eventually("all of them to be counted", || {
        let counted = program.get("/metrics/").sum("requests_total", &[]);
        (counted == sent() as f64).then_some(())
    });
    program.stop().assert_orderly();
}

/// Beside a collector of another process there is a console where it is asked for, and its faults.
#[test]
fn the_console_is_given_beside_an_external_collector() {
    let program = Launch::serve()
        .variable("PUSHPULL_CONSOLE", "127.0.0.1:0")
        .quick_database()
        .pushing_to("grpc", "127.0.0.1:9")
        .start();
    assert!(!program.listens("otlp_grpc"));
    assert_eq!(change(&program, "PUT /api/faults/database-refuse", "").status, 200);
    assert_eq!(program.get("/database/").status, 503);
    assert_eq!(change(&program, "DELETE /api/faults/database-refuse", "").status, 200);
    assert_eq!(program.get("/database/").status, 200);
    program.stop().assert_orderly();
}

#[test]
fn a_fault_that_is_not_one_is_exit_code_2_with_the_list() {
    let finished = Launch::bare(&["serve", "--fault", "gremlins", "--fault", "errors=2@5"]).finish();
    let message = finished.failure(2);
    assert!(message.contains("2 invalid settings") && message.matches(LIST).count() == 2, "{message}");
}

/// The signals are told under the names that the collector gives what this service pushes.
#[test]
fn signals_are_told_by_the_names_of_what_is_pushed() {
    for (namespace, job) in [("", "till"), ("shop", "shop/till")] {
        let program = Launch::serve()
            .variable("PUSHPULL_CONSOLE", "127.0.0.1:0")
            .variable("OTEL_SERVICE_NAME", "till")
            .variable("OTEL_RESOURCE_ATTRIBUTES", &format!("service.namespace={namespace}"))
            .variable("PUSHPULL_OBJECTIVE", "800ms")
            .quick_database()
            .exporting_often()
            .start();
        let told: Value = serde_json::from_str(&change(&program, "GET /api/signals", "").body).unwrap();
        assert_eq!((told["service"].as_str(), told["job"].as_str()), (Some("till"), Some(job)));
        assert_eq!((&told["objective"]["seconds"], &told["objective"]["bound"]), (&json!(0.8), &json!(1)));
        let traffic =
            told["signals"].as_array().unwrap().iter().find(|one| one["name"] == "traffic").unwrap();
        assert_eq!(traffic["promql"], format!("sum(rate(requests_total{{job=\"{job}\"}}[5m]))"));
        assert!(traffic["graphite"].as_str().unwrap().contains("'service.name=till'"), "{traffic}");
        eventually("the same job in what was pushed", || {
            program.pushed().body.contains(&format!("job=\"{job}\"")).then_some(())
        });
        program.stop().assert_orderly();
    }
}
