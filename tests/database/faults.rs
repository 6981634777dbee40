//! Each fault on the real pool: what it moves, what it leaves as it is, and that it is over when it is.

use std::time::{Duration, Instant};

use pushpull::service::database::{OperationError, Settings};

use crate::support::{ENDLESS, Measured, Spans, State, settings};

#[tokio::test]
async fn refuse_closes_what_is_open_and_fails_what_is_asked() {
    let spans = Spans::capture();
    let measured = Measured::open(&Settings { pool: 2, work: ENDLESS, ..settings() }).await.unwrap();
    let working = [measured.operation(), measured.operation()];
    measured.connected(2).await;
    let waiting = measured.operation();
    measured.reaches(State { idle: 0, used: 2, pending: 1 }).await;

    measured.database.refuse(true);
    for operation in working {
        let error = operation.await.unwrap().unwrap_err();
        assert_eq!((error.kind().as_ref(), error.status_code()), ("connection_reset", None));
    }
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), "connection_refused");
    measured.reaches(State { idle: 0, used: 0, pending: 0 }).await;
    let began = Instant::now();
    for _ in 0..20 {
        let error = measured.database.expensive_operation().await.unwrap_err();
        assert!(matches!(error, OperationError::Failed(_)), "{error}");
        assert_eq!(error.kind(), "connection_refused");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "each of them at once");
    assert_eq!(
        (measured.failures("connection_refused"), measured.failed_there("connection_refused")),
        (21, 21)
    );
    assert_eq!(measured.failed_there("connection_reset"), 2);
    assert_eq!(measured.count("db.client.connection.timeouts", &[]), 0);
    let told = spans.take();
    let refused = told.iter().filter(|span| span.attribute("error.type") == Some("connection_refused"));
    assert_eq!((refused.count(), told.len()), (21, 23));
    measured.database.refuse(false);
    let again = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    again.abort();
}

#[tokio::test]
async fn refuse_closes_idle_and_held_connections_too_and_is_over_at_once() {
    let measured = Measured::open(&Settings { pool: 4, ..settings() }).await.unwrap();
    measured.database.hold(Some(2));
    measured.reaches(State { idle: 0, used: 2, pending: 0 }).await;
    measured.database.expensive_operation().await.unwrap();
    measured.reaches(State { idle: 1, used: 2, pending: 0 }).await;
    measured.database.refuse(true);
    measured.reaches(State { idle: 0, used: 0, pending: 0 }).await;
    measured.database.refuse(false);
    // What was held is held again, and what is left works.
    measured.reaches(State { idle: 0, used: 2, pending: 0 }).await;
    measured.database.expensive_operation().await.unwrap();
    measured.database.hold(None);
    measured.reaches(State { idle: 3, used: 0, pending: 0 }).await;
}

#[tokio::test]
async fn a_database_in_memory_outlives_a_refusal() {
    let url = Some("sqlite::memory:".to_owned());
    let measured = Measured::open(&Settings { url, ..settings() }).await.unwrap();
    measured.database.expensive_operation().await.unwrap();
    measured.database.refuse(true);
    measured.database.expensive_operation().await.unwrap_err();
    measured.database.refuse(false);
    measured.database.expensive_operation().await.unwrap();
}

#[tokio::test]
async fn slow_is_time_within_the_database_and_not_before_it() {
    const DELAY: Duration = Duration::from_secs(1);
    let measured = Measured::open(&settings()).await.unwrap();
    measured.database.slow(Some(DELAY));
    for _ in 0..2 {
        measured.database.expensive_operation().await.unwrap();
    }
    let [duration] = &measured.points("db.client.operation.duration")[..] else { panic!("not one") };
    assert!(duration.sum >= 2.0 * DELAY.as_secs_f64(), "{duration:?}");
    let [wait] = &measured.points("db.client.connection.wait_time")[..] else { panic!("not one") };
    assert!(wait.sum < DELAY.as_secs_f64(), "{wait:?}");

    // Whoever is in the midst of it is let go when it is over.
    measured.database.slow(Some(Duration::from_secs(3_600)));
    let slowed = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    measured.database.slow(None);
    slowed.await.unwrap().unwrap();
    measured.reaches(State { idle: 1, used: 0, pending: 0 }).await;
}

#[tokio::test]
async fn hold_takes_connections_that_operations_then_wait_for() {
    let measured = Measured::open(&Settings { pool: 3, queue: 8, ..settings() }).await.unwrap();
    measured.database.hold(Some(1));
    measured.reaches(State { idle: 0, used: 2, pending: 0 }).await;
    measured.database.expensive_operation().await.unwrap();
    measured.reaches(State { idle: 1, used: 2, pending: 0 }).await;

    measured.database.hold(Some(0));
    measured.reaches(State { idle: 0, used: 3, pending: 0 }).await;
    let waiting = [(); 8].map(|()| measured.operation());
    measured.reaches(State { idle: 0, used: 3, pending: 8 }).await;
    let shed = measured.database.expensive_operation().await;
    assert!(matches!(shed, Err(OperationError::QueueFull)), "the queue does not grow by what is held");
    assert_eq!(measured.count("db.client.connection.max", &[]), 3);

    measured.database.hold(None);
    for operation in waiting {
        operation.await.unwrap().unwrap();
    }
    measured.rests().await;
    // The wait is in the wait, and not in the operation.
    assert_eq!(measured.succeeded(), 9);
    let [duration] = &measured.points("db.client.operation.duration")[..] else { panic!("not one") };
    let [wait] = &measured.points("db.client.connection.wait_time")[..] else { panic!("not one") };
    assert_eq!((duration.count, wait.count), (9, 9));
}

#[tokio::test]
async fn hold_takes_what_is_in_use_once_it_is_free() {
    let measured = Measured::open(&Settings { pool: 1, queue: 1, ..settings() }).await.unwrap();
    measured.database.slow(Some(Duration::from_secs(3_600)));
    let first = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    measured.database.hold(Some(0));
    measured.database.slow(None);
    first.await.unwrap().unwrap();
    measured.reaches(State { idle: 0, used: 1, pending: 0 }).await;
    let waiting = measured.operation();
    measured.reaches(State { idle: 0, used: 1, pending: 1 }).await;
    measured.database.hold(None);
    waiting.await.unwrap().unwrap();
    // More than there are, and none at all, hold nothing.
    measured.database.hold(Some(9));
    measured.database.expensive_operation().await.unwrap();
    measured.reaches(State { idle: 1, used: 0, pending: 0 }).await;
}
