//! What a request line says, as the closed sets of words that metrics may carry.
//!
//! No word here may come from the client: whatever is not known has one word for all of it.

use ::http::{Request, Version, uri::Scheme};

/// The word for every method that the conventions do not know.
pub(super) const OTHER_METHOD: &str = "_OTHER";

/// Method, scheme and protocol version of a request; all that is known of it besides its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    /// `http.request.method`
    pub(super) method: &'static str,
    /// `url.scheme`
    pub(super) scheme: &'static str,
    /// `network.protocol.version`
    pub(super) version: Option<&'static str>,
}

impl Labels {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: method(request.method().as_str()),
            scheme: if request.uri().scheme() == Some(&Scheme::HTTPS) { "https" } else { "http" },
            version: version(request.version()),
        }
    }
}

/// The methods that the conventions call known: RFC 9110's, PATCH (RFC 5789) and QUERY. Names are case-sensitive.
fn method(name: &str) -> &'static str {
    match name {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        "QUERY" => "QUERY",
        _ => OTHER_METHOD,
    }
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(method: &str, uri: &str, version: Version) -> Labels {
        let request = Request::builder().method(method).uri(uri).version(version).body(()).unwrap();
        Labels::of(&request)
    }

    #[test]
    fn methods_are_a_closed_set() {
        for known in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"]
        {
            assert_eq!(labels(known, "/", Version::HTTP_11).method, known);
        }
        for unknown in ["get", "BREW", "_OTHER", "PROPFIND"] {
            assert_eq!(labels(unknown, "/", Version::HTTP_11).method, "_OTHER");
        }
    }

    #[test]
    fn scheme_and_version_come_from_the_request_line() {
        let plain = labels("GET", "/x", Version::HTTP_10);
        assert_eq!((plain.scheme, plain.version), ("http", Some("1.0")));
        let secure = labels("GET", "https://example.com/x", Version::HTTP_2);
        assert_eq!((secure.scheme, secure.version), ("https", Some("2")));
        assert_eq!(labels("GET", "ftp://example.com/x", Version::HTTP_11).scheme, "http");
    }
}
