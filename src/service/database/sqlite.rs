//! `SQLite`: a file of this process's own, one thread for each connection.
//!
//! Must not wait in a queue, and must not measure.

use std::{
    io,
    path::Path,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{
    error::OpenError,
    faults::{Faults, linger},
    table::{ROWS, Table},
};

/// Instructions of SQLite's machine between two looks at whether an operation is still wanted: well below a
/// millisecond, and too many to be felt.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 10_000;

const EXPECTED: &str = "table (id INTEGER, sensor INTEGER, value REAL)";
const COLUMNS: &str = "\
    SELECT min(entry.type) || ' (' || group_concat(field.name || ' ' || field.type, ', ' ORDER BY field.cid) || ')' \
    FROM sqlite_schema AS entry, pragma_table_xinfo(entry.name) AS field \
    WHERE entry.name = 'reading' COLLATE NOCASE AND entry.type IN ('table', 'view')";
const CONTENT: &str = "\
    SELECT count(*), count(CASE WHEN id BETWEEN 1 AND ?1 AND sensor = id % 7 \
        AND value = (id * 7919 % 1000) / 10.0 THEN 1 END) \
    FROM (SELECT id, sensor, value FROM reading LIMIT ?1 + 1)";
const CREATE: &str =
    "CREATE TABLE reading (id INTEGER PRIMARY KEY, sensor INTEGER NOT NULL, value REAL NOT NULL)";
const FILL: &str = "\
    WITH RECURSIVE number(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ?1) \
    INSERT INTO reading (id, sensor, value) SELECT n, n % 7, (n * 7919 % 1000) / 10.0 FROM number";
/// Pairs every reading with every round: honest work that grows with the rounds.
pub(super) const EXPENSIVE: &str = "\
    WITH RECURSIVE round(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM round WHERE n < ?1) \
    SELECT count(*) AS pairs, total(reading.value * round.n) FROM round CROSS JOIN reading \
    WHERE reading.sensor <> round.n % 7";

/// Where the database is.
pub(super) struct Server {
    options: SqliteConnectOptions,
    in_memory: bool,
}

impl Server {
    /// That of a `sqlite:` URL.
    pub(super) fn of_url(url: &str) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::from_str(url)?;
        // Whoever says how the file is to be opened is taken at their word.
        let create = !url.contains("mode=");
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        let options = if create { options.create_if_missing(true) } else { options };
        Ok(Self { options: options.disable_statement_logging(), in_memory })
    }

    /// That of a file in a new temporary folder, which is removed with the folder.
    pub(super) fn temporary() -> Result<(Self, TempDir), OpenError> {
        let folder = tempfile::Builder::new().prefix("pushpull-").tempdir().map_err(OpenError::Temporary)?;
        let file = folder.path().join("pushpull.db");
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        Ok((Self { options: options.disable_statement_logging(), in_memory: false }, folder))
    }

    /// Makes and fills the table, unless that was done before. A database in memory lives as long as a connection to
    /// it, so there is one more to keep then.
    pub(super) async fn prepare(&self) -> Result<Option<SqliteConnection>, OpenError> {
        if !self.in_memory && self.is_complete_already().await? {
            return Ok(None);
        }
        let mut connection = self.options.connect().await?;
        // Another process that starts now waits here, and then finds all done.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let table = survey(&mut transaction).await?;
        if table == Table::Absent {
            sqlx::query(CREATE).execute(&mut *transaction).await?;
        }
        if table != Table::Complete {
            sqlx::query(FILL).bind(ROWS).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(self.in_memory.then_some(connection))
    }

    /// Looks at a file that is there without writing to it, so that a foreign one stays as it is to the byte.
    async fn is_complete_already(&self) -> Result<bool, OpenError> {
        let file = self.options.get_filename();
        if !file.is_file() {
            return Ok(false);
        }
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let options = self.options.clone().create_if_missing(false);
        // A connection that may write would move what another program left in its write-ahead log into the file; one
        // that may not would leave an empty log behind where there was none.
        let options = if Path::new(&log).exists() { options.read_only(true) } else { options };
        let mut connection = options.connect().await?;
        let surveyed = survey(&mut connection).await;
        connection.close().await?;
        Ok(surveyed? == Table::Complete)
    }

    pub(super) async fn connect(&self, faults: &watch::Receiver<Faults>) -> Result<Connection, sqlx::Error> {
        if faults.borrow().refuse {
            let error = io::Error::new(io::ErrorKind::ConnectionRefused, "connections are made to fail");
            return Err(error.into());
        }
        let mut inner = self.options.connect().await?;
        let unwanted = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&unwanted);
        inner
            .lock_handle()
            .await?
            .set_progress_handler(INSTRUCTIONS_BETWEEN_LOOKS, move || !seen.load(Ordering::Relaxed));
        Ok(Connection { inner, unwanted, faults: faults.clone() })
    }
}

async fn survey(connection: &mut SqliteConnection) -> Result<Table, OpenError> {
    let found: Option<String> = sqlx::query(COLUMNS).fetch_one(&mut *connection).await?.try_get(0)?;
    if Table::of_columns(found, EXPECTED)? == Table::Absent {
        return Ok(Table::Absent);
    }
    let content = sqlx::query(CONTENT).bind(ROWS).fetch_one(&mut *connection).await?;
    Ok(Table::of_rows(content.try_get(0)?, content.try_get(1)?)?)
}

/// A connection and the thread that it works on.
pub(super) struct Connection {
    inner: SqliteConnection,
    /// Set while what it does is to end at once.
    unwanted: Arc<AtomicBool>,
    faults: watch::Receiver<Faults>,
}

impl Connection {
    pub(super) async fn query(&mut self, rounds: i64) -> Result<i64, sqlx::Error> {
        linger(self.faults.clone()).await;
        sqlx::query(EXPENSIVE).bind(rounds).fetch_one(&mut self.inner).await?.try_get("pairs")
    }

    /// Ends what the thread does, soon.
    pub(super) fn abandon(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }

    /// Takes back [`Self::abandon`], for the next operation.
    pub(super) fn want(&self) {
        self.unwanted.store(false, Ordering::Relaxed);
    }

    /// Returns once the thread has done all that it was told before.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.inner.ping().await
    }
}
