//! The database: a real one, `SQLite` or `PostgreSQL`, a bounded pool of connections, and a bounded queue before it.
//!
//! It must not answer HTTP; the routes map its errors to status codes.

mod error;
mod faults;
mod instruments;
mod link;
mod operation;
mod pool;
mod postgres;
mod sqlite;
mod table;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use opentelemetry::metrics::Meter;
use sqlx::SqliteConnection;
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};

pub use self::{
    error::{OpenError, OperationError},
    table::Foreign,
};
use self::{
    faults::Faults,
    instruments::{Gauges, Instruments},
    operation::{Description, Operation, Pending, Remote},
    pool::{Kind, Lease, Pool, Server},
};

/// Longest time that opening takes, however short an operation's time is.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Readings of the whole table that are work 1, about a quarter of a second on one core of 2020's make.
const ROUNDS: f64 = 1_250.0;

/// How the database is reached and loaded. `Debug` does not show the URL, which may hold a password.
#[derive(Clone)]
pub struct Settings {
    /// The URL, `sqlite:`, `postgres://` or `postgresql://`; without one, a temporary `SQLite` file that is removed with
    /// the last handle.
    pub url: Option<String>,
    /// Connections at the most.
    pub pool: u32,
    /// Operations that may wait for a connection.
    pub queue: usize,
    /// The longest that an operation may take, its wait included.
    pub timeout: Duration,
    /// How much work an operation is; 1 is about 250 ms.
    pub work: f64,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("pool", &self.pool)
            .field("queue", &self.queue)
            .field("timeout", &self.timeout)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

/// A handle to the database; clones share the pool.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("pool", &self.inner.gauges.pool.status()).finish_non_exhaustive()
    }
}

struct Inner {
    gauges: Arc<Gauges>,
    /// One for each place in the queue.
    queue: Semaphore,
    faults: watch::Sender<Faults>,
    timeout: Duration,
    rounds: i64,
    description: Description,
    instruments: Instruments,
    failing: AtomicBool,
    #[expect(dead_code, reason = "a database in memory lives as long as a connection to it")]
    keeper: Option<SqliteConnection>,
    /// Removes the temporary file when dropped.
    temporary: Option<TempDir>,
}

impl Database {
    /// Opens the database; makes and fills its table where it is not there yet. What else is there stays as it is.
    ///
    /// Runs on the current runtime, from now on; the instruments are `meter`'s.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(settings: &Settings, meter: &Meter) -> Result<Self, OpenError> {
        let limit = settings.timeout.max(OPEN_TIMEOUT);
        timeout(limit, Self::open_at_leisure(settings, meter))
            .await
            .map_err(|_| OpenError::TimedOut(limit))?
    }

    async fn open_at_leisure(settings: &Settings, meter: &Meter) -> Result<Self, OpenError> {
        let (kind, temporary) = match &settings.url {
            Some(url) if is_postgres(url) => {
                (Kind::Postgres(postgres::Server::of_url(url, settings.timeout)?), None)
            }
            Some(url) => (Kind::Sqlite(sqlite::Server::of_url(url)?), None),
            None => {
                let (server, folder) = sqlite::Server::temporary()?;
                (Kind::Sqlite(server), Some(folder))
            }
        };
        let (description, keeper) = match &kind {
            Kind::Sqlite(server) => (
                Description { system: "sqlite", text: sqlite::EXPENSIVE, server: None },
                server.prepare().await?,
            ),
            Kind::Postgres(server) => {
                server.prepare().await?;
                let remote = Remote {
                    address: server.address(),
                    port: server.port(),
                    namespace: server.namespace().to_owned(),
                };
                let text = postgres::EXPENSIVE;
                (Description { system: "postgresql", text, server: Some(remote) }, None)
            }
        };
        let (faults, seen) = watch::channel(Faults::default());
        let connections = usize::try_from(settings.pool).unwrap_or(usize::MAX);
        let pool = Pool::builder(Server { kind, faults: seen.clone() })
            .max_size(connections)
            .build()
            .map_err(|error| sqlx::Error::Configuration(error.to_string().into()))?;
        // The first request finds a connection.
        drop(pool::next(&pool).await.map_err(|refused| refused.error)?);
        tokio::spawn(pool::hold(pool.clone(), seen));

        let gauges = Arc::new(Gauges { pool, pending: AtomicI64::new(0) });
        let instruments = Instruments::new(meter, description.attributes(), &Arc::downgrade(&gauges));
        Ok(Self {
            inner: Arc::new(Inner {
                gauges,
                queue: Semaphore::new(settings.queue.min(Semaphore::MAX_PERMITS)),
                faults,
                timeout: settings.timeout,
                rounds: rounds(settings.work),
                description,
                instruments,
                failing: AtomicBool::new(false),
                keeper,
                temporary,
            }),
        })
    }

    /// The folder of the temporary file, which is removed with the last handle: whoever ends the process before that has
    /// to remove it. None where a URL says where the database is.
    #[must_use]
    pub fn temporary_folder(&self) -> Option<&Path> {
        self.inner.temporary.as_ref().map(TempDir::path)
    }

    /// Does the expensive operation; returns how many pairs of rows it looked at.
    ///
    /// # Errors
    /// [`OperationError`]
    pub async fn expensive_operation(&self) -> Result<i64, OperationError> {
        let mut operation = Operation::begin(&self.inner.instruments, &self.inner.description);
        let outcome = self.attempt(&mut operation).await;
        operation.end(outcome.as_ref().err());
        self.note(&outcome);
        outcome
    }

    async fn attempt(&self, operation: &mut Operation<'_>) -> Result<i64, OperationError> {
        let inner = &*self.inner;
        let deadline = Instant::now() + inner.timeout;
        let Ok(lease) = timeout_at(deadline, self.lease(operation)).await else {
            inner.instruments.timed_out_waiting();
            return Err(OperationError::TimedOut);
        };
        let mut lease = lease?;
        operation.connected();
        tokio::select! {
            pairs = lease.query(inner.rounds) => Ok(pairs?),
            () = sleep_until(deadline) => Err(OperationError::TimedOut),
            () = faults::refusal(inner.faults.subscribe()) => {
                Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into())
            }
        }
    }

    /// A connection: one that is free, or the next one that becomes free, as far as the queue has a place.
    async fn lease(&self, operation: &mut Operation<'_>) -> Result<Lease, OperationError> {
        let inner = &*self.inner;
        let pool = &inner.gauges.pool;
        let got = match pool::free(pool).await {
            Ok(None) => {
                let _place = inner.queue.try_acquire().map_err(|_| OperationError::QueueFull)?;
                let _pending = Pending::new(&inner.gauges.pending);
                pool::next(pool).await
            }
            Ok(Some(connection)) => Ok(connection),
            Err(refused) => Err(refused),
        };
        match got {
            Ok(connection) => Ok(Lease::new(connection, inner.faults.subscribe(), inner.timeout)),
            Err(refused) => {
                operation.refused(refused.began);
                Err(refused.error.into())
            }
        }
    }

    /// One line when the database begins to fail and one when it works again, not one for each request.
    fn note(&self, outcome: &Result<i64, OperationError>) {
        let failed = matches!(outcome, Err(OperationError::Failed(_)));
        let before = self.inner.failing.swap(failed, Ordering::Relaxed);
        match outcome {
            Err(error) if failed && !before => tracing::warn!(%error, "database operations fail"),
            Ok(_) if before => tracing::info!("database operations work again"),
            _ => {}
        }
    }
}

/// The faults: each is real as far as it can be, counts at once, and is over with the opposite call.
impl Database {
    /// Whether the database refuses: new connections fail, and those that are open are closed, the ones in use and
    /// the ones held by [`Self::hold`] too.
    ///
    /// For `PostgreSQL` the connections are made to a socket that nobody listens at; for `SQLite` what makes a
    /// connection fails.
    pub fn refuse(&self, refuse: bool) {
        self.change(|faults| faults.refuse = refuse);
    }

    /// How much longer each operation takes within the database, while it has its connection.
    ///
    /// For `PostgreSQL` a socket between the pool and the server delays the server's answers; for `SQLite` the
    /// connection waits before it works.
    pub fn slow(&self, by: Option<Duration>) {
        self.change(|faults| faults.slow = by);
    }

    /// How many connections are left; the others are taken from the pool as they become free, and held. With 0 left,
    /// every operation waits.
    pub fn hold(&self, left: Option<u32>) {
        self.change(|faults| faults.left = left);
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.inner.faults.send_modify(change);
        pool::retire(&self.inner.gauges.pool, *self.inner.faults.borrow());
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

#[expect(clippy::cast_possible_truncation, reason = "settings bound the work far below")]
fn rounds(work: f64) -> i64 {
    (work * ROUNDS).round().max(1.0) as i64
}
