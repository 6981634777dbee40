//! What the program connects to: the database, Graphite, a health page.
//!
//! Must not connect to any of them, and must not show a password.

use std::fmt;
use std::str::FromStr;

use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use tracing::dispatcher::{Dispatch, with_default};
use url::Url;

use super::invalid::{Fault, redacted};
use super::listen::host_and_port;

/// The URL of a database, `SQLite`'s or `PostgreSQL`'s. Neither `Display` nor `Debug` shows a password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The whole URL, a password included: for the connection alone.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({:?})", redacted(&self.0))
    }
}

/// Where carbon lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphiteTarget {
    /// `host:port`, to be resolved at each connect.
    Address(String),
    /// Standard output.
    Stdout,
}

/// A database's URL, as far as it can be judged without opening it.
pub(super) fn database(text: &str) -> Result<DatabaseUrl, Fault> {
    const REMEDY: &str = "give sqlite://PATH, such as sqlite://pushpull.db?mode=rwc, or \
                          postgres://USER:PASSWORD@HOST/NAME, or leave it out";
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(Fault::new("not a URL", REMEDY));
    };
    let judged = match scheme {
        "sqlite" => SqliteConnectOptions::from_str(text).map(drop),
        // What sqlx says of a parameter that it does not know has its value, which may be a password.
        "postgres" | "postgresql" if rest.starts_with("//") => {
            with_default(&Dispatch::none(), || PgConnectOptions::from_str(text)).map(drop)
        }
        "postgres" | "postgresql" => return Err(Fault::new("a PostgreSQL URL without //", REMEDY)),
        _ => {
            let reason = match scheme.to_ascii_lowercase().as_str() {
                "mysql" | "mariadb" => "MySQL and MariaDB are not supported, only SQLite and PostgreSQL are",
                _ => "not a SQLite or PostgreSQL URL, and only these are supported",
            };
            return Err(Fault::new(reason, REMEDY));
        }
    };
    match judged {
        Ok(()) => Ok(DatabaseUrl(text.to_owned())),
        // It may hold a name out of the URL, decoded.
        Err(sqlx::Error::Configuration(error)) => {
            let reason = error.to_string().replace(char::is_control, " ");
            // Where one configuration error is the cause of another.
            Err(Fault::new(reason.trim_start_matches("error with configuration: "), REMEDY))
        }
        Err(_) => Err(Fault::new("not a URL of a database", REMEDY)),
    }
}

/// One `--graphite`.
pub(super) fn graphite(text: &str) -> Result<GraphiteTarget, Fault> {
    const EXAMPLE: &str = "127.0.0.1:2003";
    if text == "-" {
        return Ok(GraphiteTarget::Stdout);
    }
    let fault =
        |reason| Fault::new(reason, format!("give HOST:PORT, such as {EXAMPLE}, or - to print the lines"));
    match host_and_port(text, EXAMPLE) {
        Ok((_, 0)) => Err(fault("port 0 cannot be connected to".to_owned())),
        Ok(_) => Ok(GraphiteTarget::Address(text.to_owned())),
        Err(Fault { reason, .. }) => Err(fault(reason)),
    }
}

/// The URL of `health`.
pub(super) fn health(text: &str) -> Result<Url, Fault> {
    let fault =
        |reason| Fault::new(reason, "give an http:// or https:// URL, such as http://127.0.0.1:5000/healthz");
    match plain_url(text).map_err(fault)? {
        url if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(fault("neither http:// nor https://")),
    }
}

/// The `HOST:PORT` of the URL of `load`.
pub(super) fn service(text: &str) -> Result<String, Fault> {
    let fault =
        |reason| Fault::new(reason, "give the http:// URL of a service, such as http://127.0.0.1:5000");
    let url = plain_url(text).map_err(fault)?;
    if url.scheme() != "http" {
        return Err(fault("not http://"));
    }
    if url.path() != "/" {
        return Err(fault("a URL with a path: the load asks for / and /database/ by itself"));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(fault("a URL without a host"));
    };
    Ok(format!("{host}:{port}"))
}

/// The URL of an exposition that the console reads.
pub(super) fn exposition(text: &str) -> Result<Url, Fault> {
    let fault = |reason| {
        Fault::new(reason, "give the http:// URL of an exposition, such as http://127.0.0.1:8889/metrics")
    };
    match plain_url(text).map_err(fault)? {
        url if url.scheme() == "http" => Ok(url),
        _ => Err(fault("not http://")),
    }
}

/// A URL with a host and without user, password, query and fragment.
pub(super) fn plain_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "not a URL")?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err("a URL without a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user or a password, which is not supported");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a URL with a query or a fragment, which is not supported");
    }
    if url.port() == Some(0) {
        return Err("port 0 cannot be connected to");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        for text in [
            "sqlite:app.db",
            "sqlite://data/app.db?mode=rwc",
            "sqlite::memory:",
            "postgres://user:secret@db:5433/app?sslmode=verify-full",
            "postgresql://%2Frun%2Fpostgresql/app",
            "postgresql:///app?host=/run/postgresql",
        ] {
            assert_eq!(database(text).map(|url| url.as_str().to_owned()), Ok(text.to_owned()));
        }
        for (text, reason) in [
            ("app.db", "not a URL"),
            ("postgres:app", "a PostgreSQL URL without //"),
            ("postgres://user:secret@db:port/app", "invalid port number"),
            ("postgres://user:pass#word@db/app", "invalid port number"),
            ("postgres://db/app?sslmode=perhaps", "unknown value \"perhaps\" for `ssl_mode`"),
            ("mysql://db/app", "MySQL and MariaDB are not supported, only SQLite and PostgreSQL are"),
            ("redis://db", "not a SQLite or PostgreSQL URL, and only these are supported"),
            ("POSTGRES://db", "not a SQLite or PostgreSQL URL, and only these are supported"),
            ("sqlite:app.db?a%0Ab=1", "unknown query parameter `a b` while parsing connection URL"),
            ("sqlite:app.db?mode=x", "unknown value \"x\" for `mode`"),
        ] {
            assert_eq!(database(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_database_url_hides_its_password() {
        let url = database("postgres://user:secret@db/app").unwrap();
        assert_eq!(url.to_string(), "postgres://…@db/app");
        assert_eq!(format!("{url:?}"), "DatabaseUrl(\"postgres://…@db/app\")");
        assert_eq!(url.as_str(), "postgres://user:secret@db/app");
    }

    #[test]
    fn graphite_targets() {
        assert_eq!(graphite("-"), Ok(GraphiteTarget::Stdout));
        assert_eq!(graphite("carbon:2003"), Ok(GraphiteTarget::Address("carbon:2003".to_owned())));
        assert_eq!(graphite("[::1]:2003"), Ok(GraphiteTarget::Address("[::1]:2003".to_owned())));
        for text in ["carbon", "carbon:0", "http://carbon:2003", "car bon:2003"] {
            assert!(graphite(text).is_err(), "{text}");
        }
    }

    #[test]
    fn services_under_load() {
        for (text, authority) in
            [("http://app:5000", "app:5000"), ("http://APP", "app:80"), ("http://[::1]:5000/", "[::1]:5000")]
        {
            assert_eq!(service(text).as_deref(), Ok(authority));
        }
        for (text, reason) in [
            ("127.0.0.1:5000", "not a URL"),
            ("app:5000", "a URL without a host"),
            ("https://app", "not http://"),
            ("http://app/database/", "a URL with a path: the load asks for / and /database/ by itself"),
            ("http://app?x", "a URL with a query or a fragment, which is not supported"),
            ("http://app:0", "port 0 cannot be connected to"),
        ] {
            assert_eq!(service(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn health_pages() {
        assert!(health("https://host/healthz").is_ok());
        for text in ["127.0.0.1:5000", "grpc://host:1", "http://user@host", "healthz"] {
            assert!(health(text).is_err(), "{text}");
        }
    }

    #[test]
    fn expositions() {
        assert!(exposition("http://graphite-bridge:8890/metrics").is_ok());
        for text in ["graphite-bridge:8890", "https://host/metrics", "http://user@host/metrics"] {
            assert!(exposition(text).is_err(), "{text}");
        }
    }
}
