//! The database: a real SQLite file, a bounded pool of connections, and a bounded queue before it.
//!
//! It must not answer HTTP; the routes map its errors to status codes.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use tokio::{sync::Semaphore, time::timeout};
use tracing::{Instrument as _, field};

/// Longest wait for the first connection, however short an operation's time is.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of the table that the expensive operation reads again and again.
const ROWS: i64 = 2_000;
/// Readings of the whole table that are work 1, about a quarter of a second on one core of 2020's make.
const ROUNDS: f64 = 1_250.0;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS reading (id INTEGER PRIMARY KEY, sensor INTEGER NOT NULL, value REAL NOT NULL)";
/// Fills an empty table; on a filled one it changes nothing.
const FILL: &str = "\
    WITH RECURSIVE number(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ?1) \
    INSERT INTO reading (id, sensor, value) SELECT n, n % 7, (n * 7919 % 1000) / 10.0 FROM number \
    WHERE NOT EXISTS (SELECT 1 FROM reading)";
/// Pairs every reading with every round: honest work that grows with the rounds.
const EXPENSIVE: &str = "\
    WITH RECURSIVE round(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM round WHERE n < ?1) \
    SELECT count(*) AS pairs, total(reading.value * round.n) FROM round CROSS JOIN reading \
    WHERE reading.sensor <> round.n % 7";

/// How the database is reached and loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `sqlite:` URL; without one, a temporary file that is removed with the last handle.
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

/// A handle to the database; clones share the pool.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: SqlitePool,
    /// One for each connection and each place in the queue.
    places: Semaphore,
    timeout: Duration,
    rounds: i64,
    failing: AtomicBool,
    #[expect(dead_code, reason = "removes the temporary file when dropped")]
    temporary: Option<TempDir>,
}

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No temporary file could be made.
    #[error("failed to make a temporary folder for the database: {0}")]
    Temporary(std::io::Error),
    /// The file is not there, or not a database, or cannot be written to.
    #[error("failed to open the database: {0}")]
    Database(#[from] sqlx::Error),
}

/// The expensive operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// All connections were busy and the queue before them was full.
    #[error("the queue before the connection pool is full")]
    QueueFull,
    /// It took longer than the time-out, its wait for a connection included.
    #[error("the operation did not end within its time-out")]
    TimedOut,
    /// The database refused or failed.
    #[error("the database failed: {0}")]
    Failed(#[from] sqlx::Error),
}

impl OperationError {
    /// The low-cardinality name of its kind, for `error.type`.
    const fn kind(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TimedOut => "timeout",
            Self::Failed(_) => "database_error",
        }
    }
}

impl Database {
    /// Opens the database; makes and fills its table where it is not there yet.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let (options, temporary) = match &settings.url {
            Some(url) => {
                let options = SqliteConnectOptions::from_str(url)?;
                // Whoever says how the file is to be opened is taken at their word.
                let created = !url.contains("mode=");
                (if created { options.create_if_missing(true) } else { options }, None)
            }
            None => {
                let folder =
                    tempfile::Builder::new().prefix("pushpull-").tempdir().map_err(OpenError::Temporary)?;
                let file = folder.path().join("pushpull.db");
                (SqliteConnectOptions::new().filename(file).create_if_missing(true), Some(folder))
            }
        };
        // What there is to say of a statement is said here, with the ids of its request.
        let options = options.disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(settings.pool)
            .min_connections(1)
            // An operation's own time-out is around its wait too.
            .acquire_slow_level(log::LevelFilter::Off)
            .acquire_timeout(settings.timeout.max(OPEN_TIMEOUT))
            .connect_with(options)
            .await?;
        sqlx::query(CREATE).execute(&pool).await?;
        sqlx::query(FILL).bind(ROWS).execute(&pool).await?;
        let connections = usize::try_from(settings.pool).unwrap_or(usize::MAX);
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                places: Semaphore::new(
                    connections.saturating_add(settings.queue).min(Semaphore::MAX_PERMITS),
                ),
                timeout: settings.timeout,
                rounds: rounds(settings.work),
                failing: AtomicBool::new(false),
                temporary,
            }),
        })
    }

    /// Does the expensive operation; returns how many pairs of rows it looked at.
    ///
    /// # Errors
    /// [`OperationError`]
    pub async fn expensive_operation(&self) -> Result<i64, OperationError> {
        let span = tracing::info_span!(
            "SELECT reading",
            otel.kind = "client",
            db.system.name = "sqlite",
            db.operation.name = "SELECT",
            db.collection.name = "reading",
            db.query.text = EXPENSIVE,
            error.r#type = field::Empty,
            otel.status_code = field::Empty,
        );
        let outcome = self.within_bounds().instrument(span.clone()).await;
        if let Err(error) = &outcome {
            span.record("error.type", error.kind());
            span.record("otel.status_code", "ERROR");
        }
        self.note(&outcome);
        outcome
    }

    async fn within_bounds(&self) -> Result<i64, OperationError> {
        let inner = &*self.inner;
        let _place = inner.places.try_acquire().map_err(|_| OperationError::QueueFull)?;
        let query = sqlx::query(EXPENSIVE).bind(inner.rounds).fetch_one(&inner.pool);
        match timeout(inner.timeout, query).await {
            Ok(Ok(row)) => Ok(row.try_get("pairs")?),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(OperationError::TimedOut),
            Ok(Err(error)) => Err(OperationError::Failed(error)),
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

#[expect(clippy::cast_possible_truncation, reason = "settings bound the work far below")]
fn rounds(work: f64) -> i64 {
    (work * ROUNDS).round().max(1.0) as i64
}
