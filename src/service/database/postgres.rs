//! `PostgreSQL`: a server behind a socket, whose work is not ours to end but by its own time-out.
//!
//! Must not wait in a queue, must not measure, and must not show its options: they hold the password.

use std::{io, str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions,
};
use tokio::{net::UnixListener, sync::watch};
use tracing::dispatcher::{Dispatch, with_default};

use super::{
    error::OpenError,
    faults::Faults,
    link::{self, Link},
    table::{ROWS, Table},
};

/// What the server's own time-out is longer than ours, so that ours tells.
const AFTER_TIMEOUT: Duration = Duration::from_millis(100);
/// Of the advisory lock that the processes take that make the table: "pushpull" in ASCII.
const LOCK: i64 = 0x7075_7368_7075_6c6c;

const EXPECTED: &str = "table (id bigint, sensor bigint, value double precision)";
const COLUMNS: &str = "\
    SELECT CASE min(class.relkind) WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' \
        WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'relation' END \
        || ' (' || string_agg(field.attname || ' ' || format_type(field.atttypid, field.atttypmod), ', ' \
        ORDER BY field.attnum) || ')' \
    FROM pg_class AS class JOIN pg_attribute AS field ON field.attrelid = class.oid \
    WHERE class.oid = to_regclass('reading') AND field.attnum > 0 AND NOT field.attisdropped";
const CONTENT: &str = "\
    SELECT count(*), count(CASE WHEN id BETWEEN 1 AND $1 AND sensor = id % 7 \
        AND value = (id * 7919 % 1000) / 10.0::double precision THEN 1 END) \
    FROM (SELECT id, sensor, value FROM reading LIMIT $1 + 1) AS first";
const CREATE: &str = "\
    CREATE TABLE reading (id bigint PRIMARY KEY, sensor bigint NOT NULL, value double precision NOT NULL)";
const FILL: &str = "\
    INSERT INTO reading (id, sensor, value) \
    SELECT n, n % 7, (n * 7919 % 1000) / 10.0::double precision FROM generate_series(1, $1::bigint) AS n";
/// Pairs every reading with every round, as SQLite's does.
pub(super) const EXPENSIVE: &str = "\
    SELECT count(*) AS pairs, sum(reading.value * round.n) \
    FROM generate_series(1, $1::bigint) AS round(n) CROSS JOIN reading WHERE reading.sensor <> round.n % 7";

/// Where the server is, and how to log in.
pub(super) struct Server {
    options: PgConnectOptions,
    statement_timeout: Duration,
}

impl Server {
    /// That of a `postgres:` URL. Its operations end on the server too, a little after `timeout`.
    pub(super) fn of_url(url: &str, timeout: Duration) -> Result<Self, sqlx::Error> {
        // A parameter that sqlx does not know it logs with its value, which may be a password under a wrong name.
        let options = with_default(&Dispatch::none(), || PgConnectOptions::from_str(url))?;
        Ok(Self { options: options.disable_statement_logging(), statement_timeout: timeout + AFTER_TIMEOUT })
    }

    /// The server's name or address, or the folder of its Unix socket.
    pub(super) fn address(&self) -> String {
        match self.options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => self.options.get_host().to_owned(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.options.get_port()
    }

    /// The database's name; the server takes the user's where the URL has none.
    pub(super) fn namespace(&self) -> &str {
        self.options.get_database().unwrap_or_else(|| self.options.get_username())
    }

    /// Makes and fills the table, unless that was done before.
    pub(super) async fn prepare(&self) -> Result<(), OpenError> {
        let mut connection = self.options.connect().await?;
        // First without a lock: a server that only replicates may grant none, and has the table.
        if survey(&mut connection).await? != Table::Complete {
            let mut transaction = connection.begin().await?;
            // Another process that starts now waits here, and then finds all done.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
            let table = survey(&mut transaction).await?;
            if table == Table::Absent {
                sqlx::query(CREATE).execute(&mut *transaction).await?;
            }
            if table != Table::Complete {
                sqlx::query(FILL).bind(ROWS).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        // It has done its work: what becomes of it is of no interest.
        let _ = connection.close().await;
        Ok(())
    }

    pub(super) async fn connect(&self, faults: &watch::Receiver<Faults>) -> Result<Connection, sqlx::Error> {
        let Faults { refuse, slow, .. } = *faults.borrow();
        let (mut inner, link) = if refuse {
            (refused(&self.options).await?, None)
        } else if slow.is_some() {
            let (folder, link) = Link::open(&self.options, faults).await?;
            (self.options.clone().socket(folder.path()).connect().await?, Some(link))
        } else {
            (self.options.connect().await?, None)
        };
        let limit = format!("{}ms", self.statement_timeout.as_millis());
        sqlx::query("SELECT set_config('statement_timeout', $1, false)")
            .bind(limit)
            .execute(&mut inner)
            .await?;
        // Now, and not within the first operation.
        (&mut inner).prepare(sqlx::SqlStr::from_static(EXPENSIVE)).await?;
        Ok(Connection { inner, link })
    }
}

/// Connects to a socket that nobody listens at: a real refusal.
async fn refused(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let folder = link::folder()?;
    drop(UnixListener::bind(link::socket(folder.path(), options))?);
    match options.clone().socket(folder.path()).connect().await {
        Ok(_) => Err(io::Error::other("a socket that is closed takes connections").into()),
        Err(error) => Err(error),
    }
}

async fn survey(connection: &mut PgConnection) -> Result<Table, OpenError> {
    let found: Option<String> = sqlx::query(COLUMNS).fetch_one(&mut *connection).await?.try_get(0)?;
    if Table::of_columns(found, EXPECTED)? == Table::Absent {
        return Ok(Table::Absent);
    }
    let content = sqlx::query(CONTENT).bind(ROWS).fetch_one(&mut *connection).await?;
    Ok(Table::of_rows(content.try_get(0)?, content.try_get(1)?)?)
}

/// A session of the server.
pub(super) struct Connection {
    inner: PgConnection,
    link: Option<Link>,
}

impl Connection {
    pub(super) fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    pub(super) async fn query(&mut self, rounds: i64) -> Result<i64, sqlx::Error> {
        if let Some(link) = &self.link {
            link.delay_next_answer();
        }
        sqlx::query(EXPENSIVE).bind(rounds).fetch_one(&mut self.inner).await?.try_get("pairs")
    }

    /// Returns once the server has answered all that it was asked before.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.inner.ping().await
    }
}
