//! What every answer of the console is wrapped in: a check of the Host, and headers that let a browser do
//! nothing with the page but show it.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Refuses a foreign Host with 421 and sets the headers on whatever is answered.
pub(super) async fn protect(request: Request, next: Next) -> Response {
    let mut response = if is_for_this_machine(&request) {
        next.run(request).await
    } else {
        (
            StatusCode::MISDIRECTED_REQUEST,
            "the console answers only under a loopback address or localhost, such as http://127.0.0.1\n",
        )
            .into_response()
    };
    response.headers_mut().extend(HEADERS);
    response
}

/// Whether every name that the request gives for its target, and at least one, is this machine's own.
fn is_for_this_machine(request: &Request) -> bool {
    // HTTP/2 has the name in the target, HTTP/1 in a header, an HTTP/1 proxy request in both.
    let target = request.uri().authority().map(|authority| Some(authority.as_str()));
    let hosts = request.headers().get_all(HOST).iter().map(|host| host.to_str().ok());
    let mut names = target.into_iter().chain(hosts).peekable();
    names.peek().is_some() && names.all(|name| name.is_some_and(is_loopback))
}

fn is_loopback(name: &str) -> bool {
    let Ok(authority) = name.parse::<Authority>() else { return false };
    if name.contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_this_machine() {
        for name in [
            "localhost",
            "LocalHost:5001",
            "127.0.0.1",
            "127.0.0.1:5001",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:5001",
        ] {
            assert!(is_loopback(name), "{name}");
        }
        for name in [
            "",
            ":5001",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "localhost@example.org",
            "example.org@localhost",
            "10.0.0.1",
            "0.0.0.0:5001",
            "[::]:5001",
            "[2001:db8::1]",
            "2130706433",
            "local host",
        ] {
            assert!(!is_loopback(name), "{name}");
        }
    }
}
