//! Plain values of variables: truth, numbers, endpoints, files.
//!
//! Each error is what stands behind the variable and its value in a warning.

use std::{collections::BTreeSet, fs, net::IpAddr, ops::RangeInclusive};

use url::Url;

use super::{Protocol, tls};
use crate::telemetry::resource;

/// Times in milliseconds; what is longer, timers would not bear.
pub(super) const MILLISECONDS: RangeInclusive<u64> = 1..=i32::MAX as u64;
/// Items in a queue or a batch, whose room is taken from the start.
pub(super) const ITEMS: RangeInclusive<u64> = 1..=1_000_000;
/// Items on a span.
pub(super) const LIMIT: RangeInclusive<u64> = 0..=u32::MAX as u64;

/// Bytes of a PEM file. The list of all public authorities is well below a mebibyte.
const LARGEST_FILE: u64 = 16 << 20;

/// Only `true` is, whatever its case: so the specification has it.
pub(super) fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

pub(super) fn boolean(value: &str) -> Result<(), String> {
    match is_true(value) || value.eq_ignore_ascii_case("false") {
        true => Ok(()),
        false => Err("is neither true nor false".to_owned()),
    }
}

pub(super) fn number(value: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("is not a whole number from {} to {}", range.start(), range.end())),
    }
}

pub(super) fn port(value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| "is not a port from 0 to 65535".to_owned())
}

/// A name or an address, which may stand in brackets if it is of version 6.
pub(super) fn host(value: &str) -> Result<&str, String> {
    let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
    let is_name = |value: &str| {
        value.len() <= 253
            && value.starts_with(|first: char| first.is_ascii_alphanumeric())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            // A resolver would read 127.1 as 127.0.0.1.
            && !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    match bare.parse::<IpAddr>().is_ok() || is_name(value) {
        true => Ok(bare),
        false => Err("is not a host name or an IP address".to_owned()),
    }
}

pub(super) fn one_of(value: &str, known: &[&str]) -> Result<(), String> {
    match known.contains(&value.to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err(format!("is not one of {}", known.join(", "))),
    }
}

/// An endpoint is an http(s) URL; to gRPC also `HOST:PORT`, whose security another variable says.
pub(super) fn endpoint(value: &str, protocol: Protocol) -> Result<Url, String> {
    let url = match protocol {
        Protocol::Grpc if !value.contains("://") => format!("http://{value}"),
        _ => value.to_owned(),
    };
    // A URL parser mends what an exporter refuses: spaces around, letters that must be escaped.
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    // The exporters read it by this other parser.
    let read = url.parse::<http::Uri>().is_ok_and(|uri| uri.authority().is_some());
    match Url::parse(&url) {
        Ok(url)
            if read
                && value.bytes().all(plain)
                && matches!(url.scheme(), "http" | "https")
                && url.has_host() =>
        {
            Ok(url)
        }
        _ => Err("is not an http:// or https:// URL".to_owned()),
    }
}

/// The PEM file at `path`, which has what `what` says: `CERTIFICATE`, `CLIENT_CERTIFICATE` or `CLIENT_KEY`.
pub(super) fn pem(path: &str, what: &str) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot be read ({error})");
    // A device or a pipe would be read for ever.
    let file = fs::metadata(path).map_err(told)?;
    if !file.is_file() || file.len() > LARGEST_FILE {
        return Err("is not a file of certificates".to_owned());
    }
    let pem = fs::read(path).map_err(told)?;
    match what {
        "CERTIFICATE" => tls::authorities(&pem).map(drop)?,
        "CLIENT_CERTIFICATE" => tls::certificates(&pem).map(drop)?,
        _ => tls::key(&pem).map(drop)?,
    }
    Ok(pem)
}

/// Whether it is `name1=value1,name2=value2`, percent-encoded, with names that HTTP knows as such.
pub(super) fn are_headers(list: &str) -> bool {
    resource::parse(list).is_ok_and(|headers| headers.iter().all(|header| is_token(header.key.as_str())))
}

/// The methods of a list such as `GET,POST,PROPFIND`, each once.
pub(super) fn methods(list: &str) -> Result<Vec<&str>, String> {
    let mut methods: Vec<_> = list.split(',').map(str::trim).filter(|method| !method.is_empty()).collect();
    let mut seen = BTreeSet::new();
    methods.retain(|method| seen.insert(*method));
    match !methods.is_empty() && methods.iter().all(|method| is_token(method)) {
        true => Ok(methods),
        false => Err("is not a list of HTTP methods, such as GET,POST,PROPFIND".to_owned()),
    }
}

/// Whether HTTP takes it for a name (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.bytes().all(allowed)
}
