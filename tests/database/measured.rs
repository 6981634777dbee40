//! What is measured of an operation: done, shed, too late, cancelled in any state.

use std::{collections::BTreeSet, time::Duration};

use pushpull::service::database::{OperationError, Settings};

use crate::support::{ENDLESS, Measured, Spans, State, eventually, settings};

/// Holds whatever has a connection, until it is taken back.
const HELD: Option<Duration> = Some(Duration::from_secs(3_600));

#[tokio::test]
async fn an_operation_is_told_by_the_conventions() {
    let spans = Spans::capture();
    let measured = Measured::open(&Settings { pool: 3, ..settings() }).await.unwrap();
    for _ in 0..4 {
        // 5 rounds of 2000 rows, without those whose sensor is the round's: 286 each, as 2000 is 285 times 7 and 5.
        assert_eq!(measured.database.expensive_operation().await.unwrap(), 8_570);
    }

    let operation =
        [("db.collection.name", "reading"), ("db.operation.name", "SELECT"), ("db.system.name", "sqlite")];
    let durations = measured.points("db.client.operation.duration");
    let [duration] = &durations[..] else { panic!("not one: {durations:?}") };
    let attributes: Vec<_> = duration.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!((attributes.as_slice(), duration.unit.as_str(), duration.count), (&operation[..], "s", 4));
    let boundaries = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
    assert_eq!(duration.bounds, boundaries);

    let pool = [("db.client.connection.pool.name", "database")];
    for (name, unit, count) in [
        ("db.client.connection.wait_time", "s", 4),
        ("db.client.connection.timeouts", "{timeout}", 0),
        ("db.client.connection.max", "{connection}", 3),
        ("db.client.connection.pending_requests", "{request}", 0),
    ] {
        let points = measured.points(name);
        let [point] = &points[..] else { panic!("not one {name}: {points:?}") };
        let attributes: Vec<_> = point.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            (attributes.as_slice(), point.unit.as_str(), point.count),
            (&pool[..], unit, count),
            "{name}"
        );
    }
    assert_eq!(measured.points("db.client.connection.wait_time")[0].bounds, boundaries);
    // One connection was enough, and is there from the start.
    assert_eq!(measured.state(), State { idle: 1, used: 0, pending: 0 });

    let told = spans.take();
    assert_eq!(told.len(), 4);
    for span in &told {
        assert_eq!((span.name.as_str(), span.is_error), ("SELECT reading", false));
        for (name, value) in operation {
            assert_eq!(span.attribute(name), Some(value));
        }
        assert!(span.attribute("db.query.text").unwrap().contains("FROM round CROSS JOIN reading"));
        assert_eq!(span.attribute("error.type"), None);
    }
    // The span has the wait too.
    assert!(told.iter().map(|span| span.seconds).sum::<f64>() >= duration.sum);
}

#[tokio::test]
async fn the_queue_is_as_long_as_it_says_and_what_is_beyond_is_shed_at_once() {
    let spans = Spans::capture();
    let measured = Measured::open(&settings()).await.unwrap();
    measured.database.slow(HELD);
    let waiting = [(); 3].map(|()| measured.operation());
    measured.reaches(State { idle: 0, used: 1, pending: 2 }).await;
    for _ in 0..5 {
        let shed = measured.database.expensive_operation().await.unwrap_err();
        assert!(matches!(shed, OperationError::QueueFull), "{shed}");
    }
    assert_eq!(measured.state(), State { idle: 0, used: 1, pending: 2 });
    let told = spans.take();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told.iter().all(|span| span.is_error && span.attribute("error.type") == Some("queue_full")));

    measured.database.slow(None);
    for operation in waiting {
        operation.await.unwrap().unwrap();
    }
    measured.rests().await;
    assert_eq!(measured.failures("queue_full"), 5);
    // What was shed never came to the database, and never waited.
    assert_eq!((measured.succeeded(), measured.failed_there("queue_full")), (3, 0));
    assert_eq!(measured.count("db.client.connection.wait_time", &[]), 3);
}

#[tokio::test]
async fn without_a_queue_the_second_is_shed() {
    let measured = Measured::open(&Settings { queue: 0, ..settings() }).await.unwrap();
    measured.database.slow(HELD);
    let first = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    assert!(matches!(measured.database.expensive_operation().await, Err(OperationError::QueueFull)));
    measured.database.slow(None);
    first.await.unwrap().unwrap();
    measured.database.expensive_operation().await.unwrap();
}

#[tokio::test]
async fn a_time_out_in_the_queue_is_one_of_the_pool() {
    let spans = Spans::capture();
    let short = Settings { timeout: Duration::from_secs(2), ..settings() };
    let measured = Measured::open(&short).await.unwrap();
    measured.database.hold(Some(0));
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    let late = measured.database.expensive_operation().await.unwrap_err();
    assert!(matches!(late, OperationError::TimedOut), "{late}");
    assert_eq!(measured.count("db.client.connection.timeouts", &[]), 1);
    assert_eq!((measured.failures("timeout"), measured.failed_there("timeout")), (1, 0));
    assert_eq!(measured.state(), State { idle: 0, used: 1, pending: 0 });
    let told = spans.take();
    assert_eq!(told.iter().map(|span| span.attribute("error.type")).collect::<Vec<_>>(), [Some("timeout")]);

    measured.database.hold(None);
    measured.reaches(State { idle: 1, used: 0, pending: 0 }).await;
    measured.database.expensive_operation().await.unwrap();
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_interrupted_and_its_span_ends_with_its_answer() {
    let spans = Spans::capture();
    let endless = Settings { timeout: Duration::from_secs(2), work: ENDLESS, ..settings() };
    let measured = Measured::open(&endless).await.unwrap();
    let late = measured.database.expensive_operation().await.unwrap_err();
    assert!(matches!(late, OperationError::TimedOut), "{late}");
    // The span has ended by now, while SQLite may not have noticed yet.
    let told = spans.take();
    let [span] = &told[..] else { panic!("not one: {told:?}") };
    assert_eq!((span.attribute("error.type"), span.is_error), (Some("timeout"), true));
    assert!((2.0..10.0).contains(&span.seconds), "{span:?}");

    assert_eq!((measured.failures("timeout"), measured.failed_there("timeout")), (1, 1));
    assert_eq!(measured.count("db.client.connection.timeouts", &[]), 0);
    // It would work for minutes, and be in use for as long.
    measured.reaches(State { idle: 1, used: 0, pending: 0 }).await;
    // The connection is fit for another one.
    let next = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    assert!(matches!(next.await.unwrap(), Err(OperationError::TimedOut)));
}

#[tokio::test]
async fn a_cancelled_operation_leaves_nothing_behind() {
    let spans = Spans::capture();
    let measured = Measured::open(&Settings { work: ENDLESS, ..settings() }).await.unwrap();
    // In the middle of the query.
    let working = measured.operation();
    measured.connected(1).await;
    // In the queue.
    let waiting = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 1 }).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(measured.state(), State { idle: 0, used: 1, pending: 0 });
    working.abort();
    assert!(working.await.unwrap_err().is_cancelled());
    measured.reaches(State { idle: 1, used: 0, pending: 0 }).await;
    // Before the query, with a connection.
    measured.database.slow(HELD);
    let slowed = measured.operation();
    measured.connected(2).await;
    slowed.abort();
    assert!(slowed.await.unwrap_err().is_cancelled());
    measured.reaches(State { idle: 1, used: 0, pending: 0 }).await;

    assert_eq!((measured.failures("cancelled"), measured.failed_there("cancelled")), (3, 2));
    let causes: BTreeSet<_> = spans
        .take()
        .iter()
        .map(|span| (span.attribute("error.type").unwrap().to_owned(), span.is_error))
        .collect();
    assert_eq!(causes, [("cancelled".to_owned(), true)].into());
}

/// Many operations that are dropped at any point of their lives, some before they begin: the sums are right after all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_cancelled_the_sums_are_right() {
    const OPERATIONS: u32 = 400;
    let measured = Measured::open(&Settings { pool: 3, queue: 300, work: 0.02, ..settings() }).await.unwrap();
    let mut running = Vec::new();
    for number in 0..OPERATIONS {
        let database = measured.database.clone();
        // From nothing to more than an operation takes with its wait.
        let patience = Duration::from_micros(u64::from(number * 7_919 % 1_000_000));
        running.push(tokio::spawn(async move {
            tokio::time::timeout(patience, database.expensive_operation()).await
        }));
        if number % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (mut done, mut shed, mut cancelled) = (0, 0, 0);
    for operation in running {
        match operation.await.unwrap() {
            Ok(Ok(_)) => done += 1,
            Ok(Err(OperationError::QueueFull)) => shed += 1,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => cancelled += 1,
        }
    }
    measured.rests().await;
    assert!(done > 0 && cancelled > 0, "{done} done, {shed} shed, {cancelled} cancelled");
    assert_eq!(measured.succeeded(), done);
    assert_eq!(measured.failures("queue_full"), shed);
    assert_eq!(measured.failures("cancelled"), cancelled);
    let got = measured.count("db.client.connection.wait_time", &[]);
    assert_eq!(got, done + measured.failed_there("cancelled"));
    // The pool still has all that it may have.
    let all = [(); 3].map(|()| measured.operation());
    for operation in all {
        operation.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn operations_get_connections_in_the_order_of_asking_and_no_more_than_there_are() {
    let measured = Measured::open(&Settings { pool: 2, queue: 10, ..settings() }).await.unwrap();
    measured.database.slow(HELD);
    let operations = [(); 12].map(|()| measured.operation());
    measured.reaches(State { idle: 0, used: 2, pending: 10 }).await;
    measured.database.slow(None);
    for operation in operations {
        operation.await.unwrap().unwrap();
    }
    eventually("both are idle", || {
        (measured.state() == State { idle: 2, used: 0, pending: 0 }).then_some(())
    })
    .await;
    assert_eq!(measured.count("db.client.connection.wait_time", &[]), 12);
}
