//! What every answer of the console is wrapped in: a check of who asks, and headers that let a browser do
//! nothing with the page but show it and send its own forms.
//!
//! A console without a token is for this machine alone, and checks under which host name it was asked.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
            WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        },
        uri::Authority,
    },
    middleware::Next,
    response::{AppendHeaders, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::hosts::Hosts;
use parking_lot::RwLock;

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
             frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // With `no-referrer` the page's own forms would be sent with `Origin: null`.
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What a console that listens beyond this machine asks for. All clones change with [`Token::replace`].
#[derive(Clone)]
pub struct Token(Arc<RwLock<Arc<str>>>);

impl Token {
    /// The fewest characters of a token.
    pub const SHORTEST: usize = 16;

    /// A token of at least [`Token::SHORTEST`] characters without white space; else `None`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let long = text.chars().count() >= Self::SHORTEST;
        (long && !text.contains(char::is_whitespace)).then(|| Self(Arc::new(RwLock::new(text.into()))))
    }

    /// Asks for what `new` asks for from now on.
    pub fn replace(&self, new: &Self) {
        let text = Arc::clone(&new.0.read());
        *self.0.write() = text;
    }

    /// Whether the request gives it: as a Bearer token (RFC 6750) or as the password of any user (RFC 7617),
    /// since that is what a browser can ask a person for.
    fn is_given_by(&self, request: &Request) -> bool {
        let credentials =
            request.headers().get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
        credentials.filter_map(|credentials| credentials.split_once(' ')).any(|(scheme, given)| {
            if scheme.eq_ignore_ascii_case("bearer") {
                return self.is(given.trim().as_bytes());
            }
            let user_and_password = STANDARD.decode(given.trim()).unwrap_or_default();
            let password = user_and_password.iter().position(|byte| *byte == b':').map(|at| at + 1);
            scheme.eq_ignore_ascii_case("basic")
                && password.is_some_and(|at| self.is(&user_and_password[at..]))
        })
    }

    /// Compared without a hint in its time of how much was right.
    fn is(&self, given: &[u8]) -> bool {
        let token = Arc::clone(&self.0.read());
        let token = token.as_bytes();
        let differences = token.iter().zip(given).fold(0, |differences, (a, b)| differences | (a ^ b));
        token.len() == given.len() && differences == 0
    }
}

/// The token itself is never shown.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a request must satisfy.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) token: Option<Token>,
    pub(super) hosts: Hosts,
}

/// Refuses who may not see the page and sets the headers on whatever is answered.
pub(super) async fn protect(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let refused = match &guard.token {
        // Before the token is asked for: nobody shall be asked for a password by the page of another site.
        _ if !request.method().is_safe() && is_of_another_site(&request) => Some(forbidden()),
        Some(token) if !token.is_given_by(&request) => Some(unauthorized()),
        _ => guard.hosts.refusal(&request),
    };
    let mut response = match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

fn unauthorized() -> Response {
    // One line each: Chromium takes a line for one challenge, and does not know the first of these.
    let challenges = AppendHeaders([
        (WWW_AUTHENTICATE, "Bearer"),
        (WWW_AUTHENTICATE, "Basic realm=\"pushpull\", charset=\"UTF-8\""),
    ]);
    let text = "the console asks for its token: as Bearer token, or as the password of any user\n";
    (StatusCode::UNAUTHORIZED, challenges, text).into_response()
}

fn forbidden() -> Response {
    let text =
        "the console takes a change from its own pages and from programs, not from a page of another site\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Whether a browser says that the page of another site asks. A program says nothing of the kind.
fn is_of_another_site(request: &Request) -> bool {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    let foreign_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let name = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, name)| name);
        name.is_none() || name != host
    });
    let foreign_fetch =
        headers.get_all("sec-fetch-site").iter().any(|site| site != "same-origin" && site != "none");
    foreign_origin || foreign_fetch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_with(authorization: &str) -> Request {
        Request::builder().header(AUTHORIZATION, authorization).body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn the_token_is_a_bearer_token_or_a_password() {
        let token = Token::new("0123456789abcdef").unwrap();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for good in
            ["Bearer 0123456789abcdef".to_owned(), basic("me:0123456789abcdef"), basic(":0123456789abcdef")]
        {
            assert!(token.is_given_by(&asked_with(&good)), "{good}");
        }
        for bad in [
            "Bearer 0123456789abcdeX".to_owned(),
            "Bearer 0123456789abcde".to_owned(),
            "Bearer".to_owned(),
            "0123456789abcdef".to_owned(),
            basic("0123456789abcdef"),
            basic("0123456789abcdef:x"),
            "Basic ???".to_owned(),
        ] {
            assert!(!token.is_given_by(&asked_with(&bad)), "{bad}");
        }
        assert!(Token::new("short").is_none() && Token::new("0123456789 abcdefg").is_none());
    }

    #[test]
    fn knows_the_pages_of_other_sites() {
        let asked = |headers: &[(&str, &str)]| {
            let request = Request::builder().header(HOST, "127.0.0.1:5001");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            is_of_another_site(&request.body(axum::body::Body::empty()).unwrap())
        };
        for own in [
            &[][..],
            &[("origin", "http://127.0.0.1:5001"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!asked(own), "{own:?}");
        }
        for foreign in [
            ("origin", "http://example.org"),
            ("origin", "http://127.0.0.1:5000"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(asked(&[foreign]), "{foreign:?}");
        }
    }
}
