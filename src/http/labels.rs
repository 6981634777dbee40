//! What is known of a request before it is served, as the closed sets of words that metrics may carry.
//!
//! No word here may come from the client: whatever is not known has one word for all of it.

use std::sync::Arc;

use ::http::{Request, Version};

use super::{forwarded::Scheme, words};

/// The word for every method that the conventions do not know.
pub(super) const OTHER_METHOD: &str = "_OTHER";

/// The methods that the conventions call known: RFC 9110's, PATCH (RFC 5789) and QUERY. Names are case-sensitive.
const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// The methods that have a word of their own.
#[derive(Clone, Debug)]
pub(super) struct Methods(Arc<[&'static str]>);

impl Default for Methods {
    fn default() -> Self {
        Self(METHODS.into())
    }
}

impl Methods {
    /// These and no others. They are kept for as long as the process lives.
    pub(super) fn new(known: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(known.into_iter().map(|name| words::lasting(name.as_ref())).collect())
    }

    /// What a request is counted under; all that are not known are one.
    fn find(&self, name: &str) -> Method {
        match self.0.iter().position(|known| *known == name) {
            Some(place) => Method { place, name: self.0[place] },
            None => Method { place: self.0.len(), name: OTHER_METHOD },
        }
    }
}

/// A method, by its place among the known ones, which is quicker to compare than the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Method {
    place: usize,
    name: &'static str,
}

/// Method, scheme and protocol version of a request; all that is known of it besides its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    method: Method,
    scheme: Scheme,
    version: Version,
}

impl Labels {
    pub(super) fn of<B>(request: &Request<B>, methods: &Methods, scheme: Scheme) -> Self {
        Self { method: methods.find(request.method().as_str()), scheme, version: request.version() }
    }

    /// `http.request.method`
    pub(super) fn method(self) -> &'static str {
        self.method.name
    }

    /// `url.scheme`
    pub(super) fn scheme(self) -> &'static str {
        self.scheme.as_str()
    }

    /// `network.protocol.version`
    pub(super) fn version(self) -> Option<&'static str> {
        match self.version {
            Version::HTTP_09 => Some("0.9"),
            Version::HTTP_10 => Some("1.0"),
            Version::HTTP_11 => Some("1.1"),
            Version::HTTP_2 => Some("2"),
            Version::HTTP_3 => Some("3"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(method: &str, version: Version) -> Labels {
        let request = Request::builder().method(method).version(version).body(()).unwrap();
        Labels::of(&request, &Methods::default(), Scheme::Http)
    }

    #[test]
    fn methods_are_a_closed_set() {
        for known in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"]
        {
            assert_eq!(labels(known, Version::HTTP_11).method(), known);
        }
        for unknown in ["get", "BREW", "_OTHER", "PROPFIND"] {
            assert_eq!(labels(unknown, Version::HTTP_11).method(), "_OTHER");
        }
    }

    #[test]
    fn the_version_is_that_of_the_request_line() {
        assert_eq!(labels("GET", Version::HTTP_10).version(), Some("1.0"));
        assert_eq!(labels("GET", Version::HTTP_2).version(), Some("2"));
    }
}
