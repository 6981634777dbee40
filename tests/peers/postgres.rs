//! The database on a real `PostgreSQL` server: its table, its errors, its faults, its death and return.

#[path = "../database/support.rs"]
mod measured;
pub(super) mod server;

use std::{process::Command, time::Duration};

use pushpull::service::database::{OpenError, OperationError, Settings};
use sqlx::{Connection as _, Executor as _, Row as _};

use self::{
    measured::{ENDLESS, Measured, Spans, State, eventually, settings},
    server::{PASSWORD, Server},
};
use super::product::Product;

fn at(url: String) -> Settings {
    Settings { url: Some(url), ..settings() }
}

/// One number out of a database.
async fn number(server: &Server, database: &str, query: &'static str) -> i64 {
    let mut connection = server.connect(database).await;
    let found = connection.fetch_one(query).await.unwrap().get(0);
    connection.close().await.unwrap();
    found
}

async fn run(server: &Server, database: &str, statements: &[&'static str]) {
    let mut connection = server.connect(database).await;
    for statement in statements {
        connection.execute(*statement).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Sessions of the program, by what they do.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                        AND application_name <> 'the test'";
const WORKING: &str = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%' \
                       AND application_name <> 'the test'";

async fn until(server: &Server, query: &'static str, wanted: i64) {
    let start = std::time::Instant::now();
    loop {
        let found = number(server, "postgres", query).await;
        if found == wanted {
            return;
        }
        assert!(start.elapsed() < measured::DEADLINE, "{found} and not {wanted}: {query}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_table_is_made_once_and_read_by_the_conventions() {
    const STATE: &str = "SELECT sum(hashtext(ctid::text || xmin::text || reading::text))::bigint \
                         + 'reading'::regclass::oid::bigint FROM reading";
    let server = Server::start().await;
    let spans = Spans::capture();
    run(&server, "postgres", &["CREATE DATABASE tls", "CREATE DATABASE socket"]).await;

    // The server's own name is checked, and its Unix socket is as good as its port.
    for (url, database, address) in [
        (server.url("postgres"), "postgres", "127.0.0.1".to_owned()),
        (server.tls_url("tls"), "tls", "localhost".to_owned()),
        (server.unix_url("socket"), "socket", server.folder()),
    ] {
        let measured = Measured::open(&at(url.clone())).await.unwrap();
        // 5 rounds of 2000 rows without 286 each, as on SQLite.
        assert_eq!(measured.database.expensive_operation().await.unwrap(), 8_570);
        let made = number(&server, database, STATE).await;
        let again = Measured::open(&at(url)).await.unwrap();
        again.database.expensive_operation().await.unwrap();
        assert_eq!(number(&server, database, STATE).await, made, "the second start changes nothing");

        let durations = measured.points("db.client.operation.duration");
        let [duration] = &durations[..] else { panic!("not one: {durations:?}") };
        let port = server.port().to_string();
        let expected = [
            ("db.collection.name", "reading"),
            ("db.namespace", database),
            ("db.operation.name", "SELECT"),
            ("db.system.name", "postgresql"),
            ("server.address", &address),
            ("server.port", &port),
        ];
        let attributes: Vec<_> = duration.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!((attributes.as_slice(), duration.unit.as_str(), duration.count), (&expected[..], "s", 1));
        assert_eq!(duration.bounds.len(), 9);
        let told = spans.take();
        assert_eq!(told.len(), 2);
        for (name, value) in expected {
            assert_eq!(told[0].attribute(name), Some(value));
        }
        assert_eq!(told[0].name, "SELECT reading");
        assert!(told[0].seconds >= duration.sum, "the span has the operation in it: {told:?}");
        assert!(!told[0].is_error && !format!("{told:?}").contains(PASSWORD));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_that_start_at_once_make_one_table() {
    let server = Server::start().await;
    for database in ["one", "two", "three"] {
        run(
            &server,
            "postgres",
            &[match database {
                "one" => "CREATE DATABASE one",
                "two" => "CREATE DATABASE two",
                _ => "CREATE DATABASE three",
            }],
        )
        .await;
        let starts = [(); 8].map(|()| {
            let settings = at(server.url(database));
            tokio::spawn(async move { Measured::open(&settings).await.map(drop) })
        });
        for start in starts {
            start.await.unwrap().unwrap();
        }
        assert_eq!(number(&server, database, "SELECT count(*) FROM reading").await, 2_000);
    }
    // And as processes.
    run(&server, "postgres", &["CREATE DATABASE processes"]).await;
    let url = server.url("processes");
    let starts = [(); 3].map(|()| {
        let url = url.clone();
        std::thread::spawn(move || {
            let mut product = Product::serve(&["--database", &url, "--database-work", "0.01"]);
            product.get("service", "/database/").unwrap();
            product.stop();
        })
    });
    for start in starts {
        start.join().unwrap();
    }
    assert_eq!(number(&server, "processes", "SELECT count(*) FROM reading").await, 2_000);
}

#[tokio::test]
async fn what_cannot_be_used_is_named_without_the_password_and_stays_as_it_is() {
    let server = Server::start().await;
    run(
        &server,
        "postgres",
        &[
            "CREATE DATABASE columns",
            "CREATE DATABASE rows",
            "CREATE ROLE guest LOGIN PASSWORD 'guest-secret'",
        ],
    )
    .await;
    run(&server, "columns", &["CREATE TABLE reading (meter text)", "INSERT INTO reading VALUES ('a')"]).await;
    run(
        &server,
        "rows",
        &[
            "CREATE TABLE reading (id bigint PRIMARY KEY, sensor bigint NOT NULL, value double precision NOT NULL)",
            "INSERT INTO reading VALUES (1, 1, 1)",
        ],
    )
    .await;
    for (database, expected) in [
        (
            "columns",
            "there is a table (meter text) where it would be a table (id bigint, sensor bigint, value double precision)",
        ),
        ("rows", "0 of its 1 rows are the program's, which has 2000"),
    ] {
        const STATE: &str =
            "SELECT sum(hashtext(ctid::text || xmin::text || reading::text))::bigint FROM reading";
        let before = number(&server, database, STATE).await;
        let Err(error) = Measured::open(&at(server.url(database))).await else {
            panic!("{database} was taken")
        };
        assert!(matches!(error, OpenError::Foreign(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(number(&server, database, STATE).await, before);
    }

    let guest = format!("postgres://guest:guest-secret@127.0.0.1:{}/postgres", server.port());
    for (url, reasons) in [
        (server.url_with("wrong-secret", "postgres"), ["password authentication failed", "--database"]),
        (server.url("nothing"), ["database \"nothing\" does not exist", "--database"]),
        (server.url("columns"), ["its table \"reading\" is not this program's", "--database"]),
        (guest, ["permission denied for schema public", "--database"]),
    ] {
        for log in ["text", "json"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pushpull"));
            command.args(["serve", "--listen", "127.0.0.1:0", "--console", "off", "--log", log]);
            let output = command
                .env("DATABASE_URL", &url)
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
                .output()
                .unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{message}");
            for reason in reasons {
                assert!(message.contains(reason), "{message}");
            }
            let address = format!("postgres://…@127.0.0.1:{}/", server.port());
            assert!(message.contains(&address), "{message}");
            assert!(!message.contains("secret") && !message.contains(PASSWORD), "{message}");
        }
    }
}

#[tokio::test]
async fn a_server_that_dies_and_returns_is_used_again() {
    let mut server = Server::start().await;
    let measured = Measured::open(&Settings { pool: 3, ..at(server.url("postgres")) }).await.unwrap();
    let endless = Measured::open(&Settings { work: ENDLESS, ..at(server.url("postgres")) }).await.unwrap();
    let all = [(); 3].map(|()| measured.operation());
    for operation in all {
        operation.await.unwrap().unwrap();
    }
    measured.rests().await;
    let cut = endless.operation();
    until(&server, WORKING, 1).await;

    server.kill();
    let error = cut.await.unwrap().unwrap_err();
    assert!(["connection_reset", "57P02"].contains(&error.kind().as_ref()), "{error}");
    for _ in 0..5 {
        let error = measured.database.expensive_operation().await.unwrap_err();
        assert_eq!(error.kind(), "connection_refused", "{error}");
    }
    assert_eq!(measured.state(), State { idle: 0, used: 0, pending: 0 });
    server.start_again().await;
    for _ in 0..3 {
        measured.database.expensive_operation().await.unwrap();
    }

    // What it left idle is dead as well; nobody who comes after its return is told.
    let all = [(); 3].map(|()| measured.operation());
    for operation in all {
        operation.await.unwrap().unwrap();
    }
    server.kill();
    server.start_again().await;
    for _ in 0..3 {
        measured.database.expensive_operation().await.unwrap();
    }
    assert_eq!(
        (measured.failures("connection_refused"), measured.failed_there("connection_refused")),
        (5, 5)
    );
    assert_eq!(measured.succeeded(), 3 + 3 + 3 + 3);
}

#[tokio::test]
async fn refuse_closes_the_sessions_and_makes_no_new_one() {
    let server = Server::start().await;
    let settings = Settings { pool: 3, work: ENDLESS, ..at(server.tls_url("postgres")) };
    let measured = Measured::open(&settings).await.unwrap();
    let working = [measured.operation(), measured.operation()];
    until(&server, WORKING, 2).await;
    measured.database.refuse(true);
    for operation in working {
        assert_eq!(operation.await.unwrap().unwrap_err().kind(), "connection_reset");
    }
    for _ in 0..10 {
        let error = measured.database.expensive_operation().await.unwrap_err();
        assert!(matches!(error, OperationError::Failed(_)), "{error}");
        assert_eq!(error.kind(), "connection_refused");
    }
    assert_eq!(measured.state(), State { idle: 0, used: 0, pending: 0 });
    measured.database.refuse(false);
    let again = measured.operation();
    measured.connected(3).await;
    again.abort();
}

#[tokio::test]
async fn slow_delays_the_servers_answer_once_for_each_operation() {
    const DELAY: Duration = Duration::from_secs(1);
    let server = Server::start().await;
    for url in [server.url("postgres"), server.tls_url("postgres"), server.unix_url("postgres")] {
        let measured = Measured::open(&at(url)).await.unwrap();
        measured.database.expensive_operation().await.unwrap();
        let [before] = &measured.points("db.client.operation.duration")[..] else { panic!("not one") };
        measured.database.slow(Some(DELAY));
        // Over a connection that is new, and over one that is not.
        for done in 1..=2 {
            measured.database.expensive_operation().await.unwrap();
            let [duration] = &measured.points("db.client.operation.duration")[..] else { panic!("not one") };
            let delays = (duration.sum - before.sum) / DELAY.as_secs_f64();
            let done = f64::from(done);
            assert!((done..done + 0.9).contains(&delays), "{delays} delays in {done} operations");
        }
        let [wait] = &measured.points("db.client.connection.wait_time")[..] else { panic!("not one") };
        // A log-in takes several answers.
        assert!(wait.sum < 2.0 * DELAY.as_secs_f64(), "neither log-in nor ping is delayed: {wait:?}");

        // Whoever is in the midst of it is let go when it is over, and the socket between is gone.
        measured.database.slow(Some(Duration::from_secs(3_600)));
        let slowed = measured.operation();
        measured.connected(4).await;
        measured.database.slow(None);
        slowed.await.unwrap().unwrap();
        eventually("the delayed connection is closed", || {
            (measured.state() == State { idle: 0, used: 0, pending: 0 }).then_some(())
        })
        .await;
        measured.database.expensive_operation().await.unwrap();
        assert_eq!(measured.state(), State { idle: 1, used: 0, pending: 0 });
    }
    // A server that dies while it is slow is missed at once, and refuses as ever.
    let mut server = server;
    let measured = Measured::open(&Settings { work: ENDLESS, ..at(server.url("postgres")) }).await.unwrap();
    measured.database.slow(Some(DELAY));
    let slowed = measured.operation();
    until(&server, WORKING, 1).await;
    server.kill();
    assert_eq!(slowed.await.unwrap().unwrap_err().kind(), "connection_reset");
    assert_eq!(measured.database.expensive_operation().await.unwrap_err().kind(), "connection_refused");
}

#[tokio::test]
async fn hold_keeps_real_sessions() {
    let server = Server::start().await;
    let measured = Measured::open(&Settings { pool: 4, ..at(server.url("postgres")) }).await.unwrap();
    measured.database.hold(Some(1));
    measured.reaches(State { idle: 0, used: 3, pending: 0 }).await;
    until(&server, SESSIONS, 3).await;
    measured.database.expensive_operation().await.unwrap();
    until(&server, SESSIONS, 4).await;
    measured.database.hold(Some(0));
    measured.reaches(State { idle: 0, used: 4, pending: 0 }).await;
    let waiting = measured.operation();
    measured.reaches(State { idle: 0, used: 4, pending: 1 }).await;
    measured.database.hold(None);
    waiting.await.unwrap().unwrap();
    measured.reaches(State { idle: 4, used: 0, pending: 0 }).await;
}

#[tokio::test]
async fn what_nobody_waits_for_ends_on_the_server_too() {
    let server = Server::start().await;
    let settings = |timeout| Settings { timeout, work: ENDLESS, ..at(server.url("postgres")) };
    let measured = Measured::open(&settings(Duration::from_millis(500))).await.unwrap();
    let late = measured.database.expensive_operation().await.unwrap_err();
    assert!(matches!(late, OperationError::TimedOut), "{late}");
    assert_eq!((measured.failures("timeout"), measured.failed_there("timeout")), (1, 1));
    measured.rests().await;
    until(&server, WORKING, 0).await;

    let measured = Measured::open(&settings(Duration::from_secs(5))).await.unwrap();
    let cancelled = measured.operation();
    until(&server, WORKING, 1).await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    assert_eq!(measured.state().used, 1, "in use for as long as the server works on it");
    measured.rests().await;
    until(&server, WORKING, 0).await;
    assert_eq!(measured.failed_there("cancelled"), 1);
}

#[tokio::test]
async fn an_error_of_the_servers_has_its_code_and_passes() {
    let server = Server::start().await;
    let spans = Spans::capture();
    let measured = Measured::open(&at(server.url("postgres"))).await.unwrap();
    run(&server, "postgres", &["ALTER TABLE reading RENAME TO mislaid"]).await;
    for _ in 0..2 {
        let error = measured.database.expensive_operation().await.unwrap_err();
        assert_eq!((error.kind().as_ref(), error.status_code().as_deref()), ("42P01", Some("42P01")));
    }
    for span in spans.take() {
        assert_eq!((span.attribute("error.type"), span.is_error), (Some("42P01"), true));
        assert_eq!(span.attribute("db.response.status_code"), Some("42P01"));
    }
    run(&server, "postgres", &["ALTER TABLE mislaid RENAME TO reading"]).await;
    measured.database.expensive_operation().await.unwrap();
    assert_eq!(measured.failed_there("42P01"), 2);
}
