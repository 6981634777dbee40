//! What `docker-compose.yml` promises of its containers, as the engine has it.

use super::stack::Stack;

/// Services whose image is this project's own program.
const OURS: [&str; 2] = ["app", "graphite-bridge"];
/// Runs once, as root with one capability, and has ended.
const ONE_SHOT: &str = "otel-collector-storage";
/// All limits together, in bytes.
const MEMORY: u64 = 1_500_000_000;
/// The image, in bytes.
const IMAGE: u64 = 40_000_000;

pub(super) fn holds(stack: &Stack) {
    every_container_is_closed(stack);
    every_limit_together_is_small(stack);
    every_port_is_on_loopback(stack);
    our_image_holds_the_program_alone(stack);
}

fn every_container_is_closed(stack: &Stack) {
    for service in stack.services() {
        let settings = stack.inspect(
            &service,
            "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{gt .HostConfig.Memory 0}} {{.HostConfig.PidsLimit}} {{index .HostConfig.LogConfig.Config \"max-size\"}}",
        );
        assert_eq!(settings, "true [ALL] [no-new-privileges:true] true 128 10m", "{service}");
        let added = stack.inspect(&service, "{{.HostConfig.CapAdd}}");
        if service == ONE_SHOT {
            assert!(added.contains("CHOWN"), "{service}: {added}");
            continue;
        }
        assert!(added == "[]" || added == "<no value>", "{service}: {added}");
        let processes =
            stack.docker(&["top", &stack.container(&service), "-o", "pid,uid"]).expect("its processes");
        let users: Vec<_> =
            processes.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        assert!(!users.is_empty() && users.iter().all(|user| *user != "0"), "{service} runs as {users:?}");
        // A file that nobody may put there, by the engine itself.
        let refused = stack.docker(&["cp", "Cargo.toml", &format!("{}:/made", stack.container(&service))]);
        let refused = refused.expect_err("a write to the root");
        assert!(refused.contains("read-only"), "{service}: {refused}");
    }
    // By the program itself, as the user that it runs as.
    let refused = stack
        .compose(&["run", "--rm", "--no-deps", "graphite-bridge", "collect", "--spool", "/made"])
        .expect_err("a folder in the root");
    assert!(refused.contains("Read-only file system"), "{refused}");
}

fn every_limit_together_is_small(stack: &Stack) {
    let config: serde_json::Value =
        serde_json::from_str(&stack.run(&["--profile", "*", "config", "--format", "json"])).expect("JSON");
    let services = config["services"].as_object().expect("services");
    let limit = |service: &serde_json::Value| -> u64 {
        service["mem_limit"].as_str().and_then(|bytes| bytes.parse().ok()).expect("a limit of memory")
    };
    let all: u64 = services.values().map(limit).sum();
    assert!(all < MEMORY, "{all} bytes over {} services", services.len());
    for (name, service) in services {
        let image = service["image"].as_str().unwrap_or_default();
        assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image} is not pinned");
    }
}

fn every_port_is_on_loopback(stack: &Stack) {
    for service in stack.services() {
        let ports = stack.inspect(
            &service,
            "{{range $port, $there := .HostConfig.PortBindings}}{{range $there}}{{.HostIp}}:{{.HostPort}}={{$port}} {{end}}{{end}}",
        );
        for port in ports.split_whitespace() {
            let (published, inside) = port.split_once('=').expect("two sides");
            let (number, _) = inside.split_once('/').expect("a protocol");
            assert_eq!(published, format!("127.0.0.1:{number}"), "{service}");
        }
    }
}

fn our_image_holds_the_program_alone(stack: &Stack) {
    let image = stack.inspect("app", "{{.Image}}");
    for service in OURS {
        assert_eq!(stack.inspect(service, "{{.Image}}"), image, "{service} has an image of its own");
    }
    let size: u64 = stack
        .docker(&["image", "inspect", "--format", "{{.Size}}", &image])
        .expect("its size")
        .parse()
        .expect("a number");
    assert!(size < IMAGE, "{size} bytes");
    eprintln!("  the image has {:.1} MB", size as f64 / 1e6);
    let labels =
        stack.docker(&["image", "inspect", "--format", "{{json .Config.Labels}}", &image]).expect("labels");
    assert!(labels.contains("org.opencontainers.image.licenses\":\"MIT"), "{labels}");
    // A new container, since a running one has what the engine mounts.
    let made = stack.docker(&["create", &image]).expect("a container");
    let listing = super::process::run(
        stack.command("bash").args([
            "-euo",
            "pipefail",
            "-c",
            "docker export \"$1\" | tar -t",
            "bash",
            &made,
        ]),
        "",
    );
    stack.docker(&["rm", &made]).expect("its end");
    let listing = listing.expect("what is in it");
    // What the engine itself puts there for every container.
    let engine =
        [".dockerenv", "dev/", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc/", "sys/"];
    let files: Vec<_> = listing
        .lines()
        .filter(|file| !file.ends_with('/') && !engine.iter().any(|made| file.starts_with(made)))
        .collect();
    assert_eq!(files, ["etc/ssl/certs/ca-certificates.crt", "licenses/LICENSE", "usr/local/bin/pushpull"]);
}
