//! The pool of connections, and how each is lent, given back, held, and cut.
//!
//! The pool is deadpool's rather than sqlx's, which goes on trying where a connection is refused until the time-out of
//! its wait has passed: a database that refuses would look like one that is slow.
//!
//! Must not measure, and must not know what a request is.

use std::time::Duration;

use deadpool::managed::{
    self, Metrics, Object, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts,
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    faults::{Faults, refusal},
    postgres, sqlite,
};

/// Connections to one server.
pub(super) type Pool = managed::Pool<Server>;

/// Of a holder that could not get a connection.
const HOLD_AGAIN: Duration = Duration::from_millis(100);

/// The database that connections go to.
pub(super) enum Kind {
    Sqlite(sqlite::Server),
    Postgres(postgres::Server),
}

/// What makes the pool's connections, and looks at them before they are lent again.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) faults: watch::Receiver<Faults>,
}

/// A connection could not be made.
pub(super) struct ConnectError {
    pub(super) error: sqlx::Error,
    /// When it was begun, after all waiting for a place in the pool.
    pub(super) began: Instant,
}

impl managed::Manager for Server {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        let began = Instant::now();
        let connected = match &self.kind {
            Kind::Sqlite(server) => server.connect(&self.faults).await.map(Connection::Sqlite),
            Kind::Postgres(server) => server.connect(&self.faults).await.map(Connection::Postgres),
        };
        connected.map_err(|error| ConnectError { error, began })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<ConnectError> {
        let usable = connection.suits(*self.faults.borrow()) && connection.ping().await.is_ok();
        if usable { Ok(()) } else { Err(RecycleError::message("not usable")) }
    }
}

/// A connection to either database.
pub(super) enum Connection {
    Sqlite(sqlite::Connection),
    Postgres(postgres::Connection),
}

impl Connection {
    /// Whether it may be used under these faults.
    pub(super) fn suits(&self, faults: Faults) -> bool {
        !faults.refuse
            && match self {
                Self::Sqlite(_) => true,
                Self::Postgres(connection) => connection.is_linked() == faults.slow.is_some(),
            }
    }

    async fn query(&mut self, rounds: i64) -> Result<i64, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.query(rounds).await,
            Self::Postgres(connection) => connection.query(rounds).await,
        }
    }

    async fn ping(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.ping().await,
            Self::Postgres(connection) => connection.ping().await,
        }
    }

    /// Says that nobody waits any more for what it does. A `PostgreSQL` server ends that by its own time-out.
    fn abandon(&self) {
        if let Self::Sqlite(connection) = self {
            connection.abandon();
        }
    }

    /// Returns once what was abandoned has ended.
    async fn rest(&mut self) -> Result<(), sqlx::Error> {
        self.ping().await?;
        if let Self::Sqlite(connection) = self {
            connection.want();
        }
        Ok(())
    }
}

/// A connection for one operation.
pub(super) struct Lease {
    connection: Option<Object<Server>>,
    state: State,
    faults: watch::Receiver<Faults>,
    /// The longest that an abandoned operation is waited for.
    patience: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Resting,
    Working,
    Failed,
}

impl Lease {
    pub(super) fn new(
        connection: Object<Server>,
        faults: watch::Receiver<Faults>,
        patience: Duration,
    ) -> Self {
        Self { connection: Some(connection), state: State::Resting, faults, patience }
    }

    /// Does the expensive operation; may be dropped at any time.
    pub(super) async fn query(&mut self, rounds: i64) -> Result<i64, sqlx::Error> {
        let Some(connection) = &mut self.connection else { return Err(sqlx::Error::PoolClosed) };
        self.state = State::Working;
        let outcome = connection.query(rounds).await;
        self.state = if outcome.is_ok() { State::Resting } else { State::Failed };
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let suits = connection.suits(*self.faults.borrow());
        match (self.state, Handle::try_current()) {
            (State::Resting, _) if suits => drop(connection),
            // It is in use, and not idle, for as long as it still works.
            (State::Working, Ok(runtime)) => {
                connection.abandon();
                drop(runtime.spawn(give_back(connection, self.faults.clone(), self.patience)));
            }
            // What an error leaves behind, in a cache or on the wire, is not kept.
            _ => drop(Object::take(connection)),
        }
    }
}

/// Gives a connection back once it rests, or closes it where it does not come to rest.
async fn give_back(mut connection: Object<Server>, faults: watch::Receiver<Faults>, patience: Duration) {
    let rested = tokio::select! {
        rested = timeout(patience, connection.rest()) => matches!(rested, Ok(Ok(()))),
        () = refusal(faults.clone()) => false,
    };
    if !(rested && connection.suits(*faults.borrow())) {
        drop(Object::take(connection));
    }
}

/// A connection if there is one at once, idle or new; none where all are in use.
pub(super) async fn free(pool: &Pool) -> Result<Option<Object<Server>>, ConnectError> {
    let at_once = Timeouts { wait: Some(Duration::ZERO), ..Timeouts::default() };
    match pool.timeout_get(&at_once).await {
        Ok(connection) => Ok(Some(connection)),
        Err(PoolError::Timeout(TimeoutType::Wait)) => Ok(None),
        Err(error) => Err(connect_error(error)),
    }
}

/// The next connection that becomes free, in the order of asking.
pub(super) async fn next(pool: &Pool) -> Result<Object<Server>, ConnectError> {
    pool.get().await.map_err(connect_error)
}

fn connect_error(error: PoolError<ConnectError>) -> ConnectError {
    match error {
        PoolError::Backend(error) => error,
        // No time-out is set, no hook, and the pool is never closed.
        _ => ConnectError { error: sqlx::Error::PoolClosed, began: Instant::now() },
    }
}

/// Closes the idle connections that do not suit the faults.
pub(super) fn retire(pool: &Pool, faults: Faults) {
    drop(pool.retain(|connection, _| connection.suits(faults)));
}

/// The connections that are open now.
pub(super) struct Open {
    pub(super) idle: usize,
    /// In use by an operation or held, or still at work for one that nobody waits for.
    pub(super) used: usize,
}

impl Open {
    pub(super) fn of(pool: &Pool) -> Self {
        // The pool's own figure of idle ones counts its users, among whom are those that still wait.
        let idle = pool.retain(|_, _| true).retained;
        Self { idle, used: pool.status().size.saturating_sub(idle) }
    }
}

/// Holds as many connections as the faults ask for, until there is no one left to ask.
pub(super) async fn hold(pool: Pool, mut faults: watch::Receiver<Faults>) {
    let mut held = Vec::new();
    loop {
        let Faults { refuse, left, .. } = *faults.borrow_and_update();
        let left = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let wanted = pool.status().max_size.saturating_sub(left);
        if refuse {
            held.drain(..).for_each(|connection| drop(Object::take(connection)));
        }
        held.truncate(wanted);
        let short = !refuse && held.len() < wanted;
        tokio::select! {
            got = next(&pool), if short => match got {
                Ok(connection) => held.push(connection),
                // The database is gone; operations tell of it.
                Err(_) => drop(timeout(HOLD_AGAIN, faults.changed()).await),
            },
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
