//! Why the database cannot be used, or an operation was not done, and the low-cardinality name of the cause.
//!
//! No message may hold a password: none of sqlx's does, and the URL is not part of any.

use std::{borrow::Cow, io, time::Duration};

use super::table::Foreign;

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No temporary file could be made.
    #[error("failed to make a temporary folder for the database: {0}")]
    Temporary(io::Error),
    /// It is not there, or no database, refuses us, or cannot be written to.
    #[error("failed to open the database: {0}")]
    Database(#[from] sqlx::Error),
    /// What is called like the program's table is someone else's; nothing was changed.
    #[error(
        "its table \"reading\" is not this program's: {0}; give a database without a table of that name, \
         or remove it"
    )]
    Foreign(#[from] Foreign),
    /// It did not answer.
    #[error("the database did not answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
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

/// `error.type` of an operation that nobody waits for any more.
pub(super) const CANCELLED: &str = "cancelled";
/// `error.type` of what has no name of its own, as the conventions have it.
pub(super) const OTHER: &str = "_OTHER";

impl OperationError {
    /// `error.type`: what the database answered (see [`Self::status_code`]), else a name for the kind of failure.
    #[must_use]
    pub fn kind(&self) -> Cow<'static, str> {
        match self {
            Self::QueueFull => "queue_full".into(),
            Self::TimedOut => "timeout".into(),
            Self::Failed(error) => status_code(error).unwrap_or_else(|| failure(error).into()),
        }
    }

    /// `db.response.status_code`, where the database answered: the SQLSTATE of `PostgreSQL`, the name of SQLite's
    /// primary result code.
    #[must_use]
    pub fn status_code(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Failed(error) => status_code(error),
            Self::QueueFull | Self::TimedOut => None,
        }
    }
}

fn status_code(error: &sqlx::Error) -> Option<Cow<'static, str>> {
    let error = error.as_database_error()?;
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        let code = error.code()?;
        // Five digits and capitals by the standard; a server that answers otherwise has no say in our telemetry.
        let state =
            code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        return Some(if state { code.into_owned().into() } else { OTHER.into() });
    }
    Some(sqlite_name(error.code()?.parse::<u32>().ok()?).into())
}

/// The name of the primary part of an extended result code.
const fn sqlite_name(code: u32) -> &'static str {
    match code & 0xff {
        1 => "SQLITE_ERROR",
        4 => "SQLITE_ABORT",
        5 => "SQLITE_BUSY",
        6 => "SQLITE_LOCKED",
        7 => "SQLITE_NOMEM",
        8 => "SQLITE_READONLY",
        9 => "SQLITE_INTERRUPT",
        10 => "SQLITE_IOERR",
        11 => "SQLITE_CORRUPT",
        13 => "SQLITE_FULL",
        14 => "SQLITE_CANTOPEN",
        17 => "SQLITE_SCHEMA",
        26 => "SQLITE_NOTADB",
        _ => OTHER,
    }
}

/// The kind of a failure that the database itself did not tell.
fn failure(error: &sqlx::Error) -> &'static str {
    use io::ErrorKind;
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            // Of a Unix socket: a server that is not there leaves none.
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => "connection_refused",
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof => "connection_reset",
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::TimedOut => "unreachable",
            _ => "io_error",
        },
        sqlx::Error::Tls(_) => "tls_error",
        sqlx::Error::Protocol(_) => "protocol_error",
        sqlx::Error::WorkerCrashed => "connection_reset",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_a_name_of_low_cardinality() {
        for (kind, name) in [
            (io::ErrorKind::ConnectionRefused, "connection_refused"),
            (io::ErrorKind::UnexpectedEof, "connection_reset"),
            (io::ErrorKind::HostUnreachable, "unreachable"),
            (io::ErrorKind::Other, "io_error"),
        ] {
            let error = OperationError::Failed(sqlx::Error::Io(kind.into()));
            assert_eq!((error.kind().as_ref(), error.status_code()), (name, None));
        }
        assert_eq!(OperationError::QueueFull.kind(), "queue_full");
        assert_eq!(OperationError::TimedOut.kind(), "timeout");
        assert_eq!(OperationError::Failed(sqlx::Error::RowNotFound).kind(), "_OTHER");
    }

    #[test]
    fn an_extended_code_has_the_name_of_its_primary_one() {
        // SQLITE_IOERR_WRITE, SQLITE_CORRUPT_VTAB, SQLITE_FULL, and one that is not made yet.
        let names = [778, 267, 13, 250].map(sqlite_name);
        assert_eq!(names, ["SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_FULL", "_OTHER"]);
    }
}
