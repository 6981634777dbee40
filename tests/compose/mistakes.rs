//! What a person gets who forgets a variable, has a port in use, or gives a volume to the wrong owner.

use std::net::TcpListener;

use super::process::eventually;
use super::stack::{PATIENCE, SERVICE, Stack};
use super::web;

pub(super) fn are_named(stack: &Stack) {
    a_port_in_use(stack);
    a_volume_of_another_owner(stack);
    stack.remove();
    the_bridge_alone();
}

fn a_port_in_use(stack: &Stack) {
    stack.run(&["stop", "app"]);
    let taken = TcpListener::bind("127.0.0.1:5000").expect("the port of the service");
    let error = stack.compose(&["up", "--detach", "app"]).expect_err("a port that is taken");
    assert!(error.contains("127.0.0.1:5000"), "{error}");
    drop(taken);
    stack.up(&[]);
    eventually("the service", PATIENCE, || web::get(&format!("{SERVICE}/healthz")));
}

/// A folder of root's in the place of the spool, as a volume is that was made for another image.
fn a_volume_of_another_owner(stack: &Stack) {
    let volume = "pushpull-test-of-root";
    stack
        .docker(&[
            "run",
            "--rm",
            "--volume",
            &format!("{volume}:/spool"),
            "busybox:1.37.0",
            "chmod",
            "0755",
            "/spool",
        ])
        .expect("a volume");
    for (flag, folder) in [("--spool", "/spool"), ("--console-token-file", "/spool/token")] {
        let error = stack
            .compose(&[
                "run",
                "--rm",
                "--no-deps",
                "--volume",
                &format!("{volume}:/spool"),
                "graphite-bridge",
                "collect",
                flag,
                folder,
            ])
            .expect_err("a folder that cannot be written");
        assert!(
            error.contains(flag) && error.contains("uid 0 (mode 0755)") && error.contains("uid 10003"),
            "{error}"
        );
    }
    stack.docker(&["volume", "rm", volume]).expect("its end");
}

/// The second file, without its variable and with it.
fn the_bridge_alone() {
    let mut bridge = Stack::of("docker-compose.bridge.yml", "pushpull-bridge-test");
    bridge.set("GRAPHITE", "unused:2003");
    bridge.remove();
    bridge.unset("GRAPHITE");
    let error = bridge.compose(&["up", "--detach"]).expect_err("a variable that is not set");
    assert!(error.contains("GRAPHITE") && error.contains("give HOST:PORT of carbon"), "{error}");
    assert!(error.contains(".env.example"), "{error}");
    bridge.set("GRAPHITE", "carbon:2003");
    bridge.up(&[]);
    let carbon = "pushpull-bridge-test-carbon";
    bridge
        .docker(&[
            "run",
            "--rm",
            "--detach",
            "--name",
            carbon,
            "--network",
            "pushpull-bridge-test_default",
            "--network-alias",
            "carbon",
            "pushpull-graphite:1.1.10",
        ])
        .expect("a Graphite");
    let sent = eventually("the bridge to take a point", PATIENCE, || {
        web::post_json("http://127.0.0.1:4318/v1/metrics", "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"proof.alone\",\"gauge\":{\"dataPoints\":[{\"asDouble\":4.5,\"timeUnixNano\":\"0\"}]}}]}]}]}".replace("\"0\"", &format!("\"{}\"", now())).as_str())
    });
    assert_eq!(sent, 200);
    eventually("the point in that Graphite", PATIENCE, || {
        let found = bridge.docker(&["exec", carbon, "python3", "-c", "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/render?target=proof.alone&format=json&from=-5min').read().decode())"])?;
        if found.contains("4.5") { Ok(()) } else { Err(found) }
    });
    bridge.docker(&["stop", carbon]).expect("its end");
}

fn now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos()
}
