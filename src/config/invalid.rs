//! What is wrong with the settings, all of it in one message.
//!
//! Must not show a secret: every value that a person gave passes through `shown` or
//! `named` before it is kept.

use std::fmt;

/// Every bad setting of one command line and environment, in the order in which they were found.
///
/// Its text has a first line that counts them and then one line for each. The exit code is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 invalid setting:")?,
            n => write!(f, "{n} invalid settings:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Invalid {}

/// One bad setting: what it is and where it was given, its value, why it is bad, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The flag (`--listen`), the variable (`PUSHPULL_LISTEN`) or the argument.
    pub setting: String,
    /// The value as it may be shown: on one line, cut, and without passwords.
    pub value: Option<String>,
    /// Why it is bad.
    pub reason: String,
    /// What to give instead.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(value) = &self.value {
            write!(f, " {value}")?;
        }
        write!(f, ": {}; {}", self.reason, self.remedy)
    }
}

/// Why a value is bad and what to give instead: a [`Problem`] that does not know yet whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }

    pub(super) fn of(self, setting: &str, value: Option<&str>) -> Problem {
        Problem {
            setting: setting.to_owned(),
            value: value.map(shown),
            reason: self.reason,
            remedy: self.remedy,
        }
    }
}

/// A value as a message may hold it: quoted on one line, cut, and without passwords.
pub(super) fn shown(value: &str) -> String {
    const LONGEST: usize = 120;
    let clean = redacted(value);
    let mut quoted: String = clean.chars().take(LONGEST).collect();
    if quoted.len() < clean.len() {
        quoted.push('…');
    }
    format!("{quoted:?}")
}

/// The name of an unknown flag or variable as a message may hold it: a name is whatever somebody typed, too.
pub(super) fn named(name: &str) -> String {
    shown(name).trim_matches('"').to_owned()
}

/// The text without what may be a secret in a URL: its user information, its fragment, the values of query parameters,
/// a port that is none, and a path where it is no file's or database's.
///
/// A password may itself hold `/`, `?`, `#` or `@` by mistake, so all up to the last `@` counts as user information;
/// but not before a plain number without any `:`, as in `--fault errors=0.5@10`.
pub(super) fn redacted(text: &str) -> String {
    if !text.contains(':') && text.rsplit_once('@').is_some_and(|(_, rest)| rest.parse::<f64>().is_ok()) {
        return text.to_owned();
    }
    let (scheme, slashes, rest) = match text.split_once("//") {
        Some((scheme, rest)) => (scheme, "//", rest),
        None => ("", "", text),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", rest),
    };
    // A pattern or a name may hold these characters too.
    let is_url = !slashes.is_empty() || rest.contains(':');
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, _)) if is_url => (rest, "#…"),
        _ => (rest, ""),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) if is_url || query.contains('=') => (rest, Some(query)),
        _ => (rest, None),
    };
    let rest = if is_web(scheme) { without_path(rest) } else { rest.to_owned() };
    let query = query.map(|query| {
        // What a web server or a collector is asked with may be a secret under any name.
        if is_web(scheme) {
            return "?…".to_owned();
        }
        let parameters: Vec<_> = query.split('&').map(without_secret).collect();
        format!("?{}", parameters.join("&"))
    });
    format!("{scheme}{slashes}{user}{rest}{}{fragment}", query.unwrap_or_default())
}

/// Whether what is before the slashes ends with the scheme of something that is asked over the network with a path.
fn is_web(before: &str) -> bool {
    let scheme = before.rsplit('=').next().unwrap_or_default().to_ascii_lowercase();
    ["http:", "https:", "grpc:", "grpcs:"].contains(&scheme.as_str())
}

/// Host and port: what stands for a port and is no number may be a piece of a password, a path may be a token.
fn without_path(rest: &str) -> String {
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (rest, None),
    };
    let authority = match authority.rsplit_once(':') {
        Some((host, port))
            if !authority.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{host}:…")
        }
        _ => authority.to_owned(),
    };
    match path {
        None => authority,
        Some("") => format!("{authority}/"),
        Some(_) => format!("{authority}/…"),
    }
}

/// A parameter of a query: only values of those of a database's that say how to connect are shown.
fn without_secret(parameter: &str) -> String {
    const SHOWN: [&str; 9] =
        ["mode", "cache", "immutable", "vfs", "sslmode", "ssl-mode", "host", "port", "dbname"];
    match parameter.split_once('=') {
        Some((name, _)) if SHOWN.contains(&name) => parameter.to_owned(),
        Some((name, _)) => format!("{name}=…"),
        None => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (text, safe) in [
            ("postgres://user:secret@db:5432/app", "postgres://…@db:5432/app"),
            ("postgres://user:se/c?r@et@db/app", "postgres://…@db/app"),
            ("user:secret@db", "…@db"),
            ("postgres://db/app?sslmode=on&Password=secret", "postgres://db/app?sslmode=on&Password=…"),
            ("sqlite://data/app.db?mode=rwc", "sqlite://data/app.db?mode=rwc"),
            ("metrics=https://user@backend/otlp?id=secret&x", "metrics=https://…@backend/…?…"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("errors=2@60", "errors=2@60"),
            ("user:secret@60", "…@60"),
            ("secret@db", "…@db"),
            ("http://host:4318?sig=secret", "http://host:4318?…"),
            ("host:4318?secret", "host:4318?…"),
            ("host?sig=secret", "host?sig=…"),
            ("https://host/#secret", "https://host/#…"),
            ("grpc://host:4317/secret", "grpc://host:4317/…"),
            ("metrics+traces=http://host/secret/v1/metrics", "metrics+traces=http://host/…"),
            ("HTTPS://user:se#c/r?et@host/secret?secret#secret", "HTTPS://…@host/…?…#…"),
            ("http://user:sec", "http://user:…"),
            ("http://[::1]", "http://[::1]"),
            ("http://[::1]:4318/", "http://[::1]:4318/"),
            ("jvm.?emory.*#1", "jvm.?emory.*#1"),
        ] {
            assert_eq!(redacted(text), safe);
        }
    }

    #[test]
    fn a_value_stays_on_one_short_line() {
        assert_eq!(shown("a\nb"), r#""a\nb""#);
        let long = shown(&"x".repeat(10_000));
        assert!(long.ends_with("x…\"") && long.len() < 200, "{long}");
    }
}
