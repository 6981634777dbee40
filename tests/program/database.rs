//! What requests get when the database is busy, late or broken, and what the program says of one that it cannot use.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
};

use crate::{
    http::{Answer, ask_meanwhile},
    process::{Launch, Program, eventually},
    watcher::{Watcher, attribute},
};

const TEXT: &str = "text/plain; charset=utf-8";

fn assert_plain(answer: &Answer, status: u16, line: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, line));
    assert_eq!(answer.header("content-type"), TEXT);
}

fn pool(program: &Program, gauge: &str) -> Option<f64> {
    let labels = "db_client_connection_pool_name=\"database\"";
    program.get("/metrics/").sample(&format!("db_client_connection_{gauge}{{{labels}}}"))
}

#[test]
fn what_the_queue_has_no_place_for_is_shed_at_once() {
    let watcher = Watcher::new();
    let collector = Launch::collect().arguments(&["--forward", &watcher.url()]).start();
    let service = Launch::serve()
        .pushing_to("grpc", &collector.address("otlp_grpc"))
        .exporting_often()
        .arguments(&["--database-pool", "1", "--database-queue", "2", "--database-work", "1000"])
        .arguments(&["--database-timeout", "1h", "--stop-within", "4s"])
        .start();
    let waiting = [(); 3].map(|()| ask_meanwhile(&service.address("service"), "GET /database/"));
    eventually("two in the queue", || (pool(&service, "pending_requests") == Some(2.0)).then_some(()));
    for _ in 0..4 {
        let shed = service.get("/database");
        assert_plain(&shed, 503, "Too many requests wait for the database; try again\n");
        assert_eq!(shed.header("retry-after"), "1");
    }
    assert_eq!(pool(&service, "pending_requests"), Some(2.0));
    assert_eq!(pool(&service, "max"), Some(1.0));
    let scrape = service.get("/metrics/");
    assert_eq!(scrape.sample("pushpull_database_failures_total{error_type=\"queue_full\"}"), Some(4.0));
    assert_eq!(scrape.sum("slow_count", &[]), 4.0);
    let span = watcher.span("SELECT reading");
    assert_eq!((attribute(&span.attributes, "error.type"), span.error), (Some("queue_full"), true));
    eventually("the cause in a log record", || {
        watcher.logs().into_iter().find(|log| {
            attribute(&log.attributes, "error")
                .is_some_and(|error| error.contains("queue before the connection pool is full"))
        })
    });
    // The rest is cut by the stop.
    service.stop().assert_orderly();
    drop(waiting);
}

#[test]
fn what_comes_too_late_is_a_gateway_time_out() {
    let service = Launch::serve()
        .arguments(&["--database-pool", "1", "--database-timeout", "200ms", "--database-work", "1000"])
        .start();
    let behind = ask_meanwhile(&service.address("service"), "GET /database");
    for answer in [service.get("/database"), behind.join().unwrap().unwrap()] {
        assert_plain(&answer, 504, "The database did not answer in time\n");
    }
    // Nothing works on where nobody waits.
    let used = "db_client_connection_count{db_client_connection_pool_name=\"database\",\
                db_client_connection_state=\"used\"}";
    eventually("the connection to rest", || {
        (service.get("/metrics").sample(used) == Some(0.0)).then_some(())
    });
    let scrape = service.get("/metrics/");
    assert_eq!(scrape.sample("pushpull_database_failures_total{error_type=\"timeout\"}"), Some(2.0));
    let at_the_database =
        scrape.sum("db_client_operation_duration_seconds_count", &["error_type=\"timeout\""]);
    let in_the_queue = scrape.sum("db_client_connection_timeouts_total", &[]);
    assert_eq!(at_the_database + in_the_queue, 2.0, "{}", scrape.body);
    service.stop().assert_orderly();
}

#[test]
fn damage_at_run_time_is_a_503_without_internals_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.db");
    let url = format!("sqlite://{}", file.display());
    let service = Launch::serve().quick_database().arguments(&["--database", &url]).start();
    assert_eq!(service.get("/database").status, 200);
    let good = fs::read(&file).unwrap();
    fs::write(&file, vec![0xa5; good.len()]).unwrap();
    for _ in 0..3 {
        let broken = service.get("/database");
        assert_plain(&broken, 503, "The database is not available; try again\n");
        assert_eq!(broken.header("retry-after"), "1");
    }
    let scrape = service.get("/metrics");
    let failed = ["db_response_status_code=\"SQLITE_NOTADB\"", "error_type=\"SQLITE_NOTADB\""];
    assert_eq!(scrape.sum("db_client_operation_duration_seconds_count", &failed), 3.0, "{}", scrape.body);
    fs::write(&file, &good).unwrap();
    assert_eq!(service.get("/database").status, 200);
    let finished = service.stop();
    finished.assert_orderly();
    // One line when it begins and one when it is over.
    for line in ["database operations fail", "database operations work again"] {
        assert_eq!(finished.stderr.matches(line).count(), 1, "{}", finished.stderr);
    }
}

#[test]
fn a_url_of_another_kind_is_a_bad_setting_without_its_password() {
    for (url, reason) in [
        ("mysql://user:secret@host/name", "only SQLite and PostgreSQL are"),
        ("postgres://user:secret@host:port/name", "invalid port number"),
        ("postgres://user:secret@host/name?sslmode=so", "unknown value"),
        ("postgres:user:secret@host", "without //"),
    ] {
        let finished = Launch::text(&["serve", "--database", url]).finish();
        let message = finished.failure(2);
        assert!(message.contains("--database") && message.contains(reason), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    // A port that is bound and does not listen refuses, and nobody else gets it.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    closed.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let refusing = closed.local_addr().unwrap().as_socket().unwrap();
    // One that takes connections and closes them.
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closing.local_addr().unwrap();
    std::thread::spawn(move || while closing.accept().is_ok() {});
    for (address, reason) in [(refusing, "Connection refused"), (address, "failed to open the database")] {
        let url = format!("postgres://user:secret@{address}/name?sslmode=disable&passwrod=hidden");
        for log in ["text", "json"] {
            let finished = Launch::text(&["serve"])
                .variable("DATABASE_URL", &url)
                .variable("PUSHPULL_LOG", log)
                .finish();
            let message = finished.failure(1);
            assert!(message.contains(&format!("postgres://…@{address}/name")), "{message}");
            assert!(message.contains(reason) && message.contains("--database"), "{message}");
            assert!(!message.contains("secret") && !message.contains("hidden"), "{message}");
        }
    }
}

/// The system lets the process write no more than a little to any file: what a full disk is to it.
#[test]
fn a_disk_without_room_is_named_and_what_was_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    fs::write(&file, "").unwrap();
    let url = format!("sqlite://{}", file.display());
    for database in [Some(url), None] {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // In units of 512 bytes; the signal that comes with it would end the process.
        command.args([
            "-c",
            "trap '' XFSZ; ulimit -f 8; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_pushpull"),
            "serve",
        ]);
        command.env_clear().env("TMPDIR", temporary.path()).stdin(Stdio::null());
        for listener in ["LISTEN", "OTLP_GRPC", "OTLP_HTTP", "STATSD", "EXPOSITION", "CONSOLE"] {
            command.env(format!("PUSHPULL_{listener}"), "127.0.0.1:0");
        }
        command.envs(database.as_ref().map(|url| ("DATABASE_URL", url)));
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{message}");
        let name = database.as_deref().unwrap_or("the temporary database");
        assert!(message.contains(name) && message.contains("--database"), "{message}");
        assert!(message.contains("disk I/O error") || message.contains("is full"), "{message}");
        assert_eq!(fs::read(&file).unwrap(), b"");
        assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
}
