//! The host names that a listener answers to.
//!
//! A web page can point a name of its own at a loopback address (DNS rebinding); the browser then lets it read what
//! listens there, and send to it, as if both were one site. The request still names the page's host, which a listener
//! on loopback therefore refuses. It must not know what it guards.

use std::{
    future::{Ready, ready},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, Request, Response, StatusCode, Uri, Version,
        header::{CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS},
        uri::Authority,
    },
    response::IntoResponse,
};
use parking_lot::Mutex;
use tokio_util::either::Either;
use tower_layer::Layer;
use tower_service::Service;

use crate::net::Unlogged;

/// The longest part of a name that is repeated: the longest name of the DNS.
const LONGEST: usize = 253;

/// The names that all listeners of a process answer to in addition to loopback names, and the count of refused requests.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts {
    /// As `--allowed-hosts` has them: in lower case, without port, IPv6 in brackets; `*` for any.
    names: Arc<[String]>,
    refused: Arc<AtomicU64>,
}

impl AllowedHosts {
    /// These names: in lower case, without port, IPv6 addresses in brackets; `*` for any.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self { names: names.into(), refused: Arc::default() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many requests were refused, over all listeners.
    #[must_use]
    pub fn refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }

    /// The names that a listener bound to this address answers to. On loopback these are the loopback names and the
    /// allowed ones; elsewhere any, unless some are allowed: then those, the loopback names, and the address itself.
    #[must_use]
    pub fn on(&self, bound: SocketAddr) -> Hosts {
        let is_open = !is_on_loopback(bound.ip()) && self.is_empty();
        if is_open || self.names.iter().any(|name| name == "*") {
            return Hosts(None);
        }
        let Self { names, refused } = self.clone();
        Hosts(Some(Arc::new(Checked { bound, names, refused, unlogged: Mutex::default() })))
    }

    /// The names that a listener on 127.0.0.1 answers to.
    #[must_use]
    pub fn on_loopback(&self) -> Hosts {
        self.on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// The names that one listener answers to; [`Hosts::default`] is any.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Option<Arc<Checked>>);

#[derive(Debug)]
struct Checked {
    bound: SocketAddr,
    names: Arc<[String]>,
    refused: Arc<AtomicU64>,
    unlogged: Mutex<Unlogged>,
}

impl Hosts {
    /// Lets only requests for these names reach the router.
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        match self.0 {
            Some(_) => router.layer(self.clone()),
            None => router,
        }
    }

    /// The answer to a request for another name, 421 (RFC 9110, 15.5.20), or `PERMISSION_DENIED` where it is gRPC; `None`
    /// where the request may pass.
    #[must_use]
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let checked = self.0.as_deref()?;
        let stranger = checked.stranger(request.version(), request.uri(), request.headers())?;
        let text = checked.refuse(&stranger);
        let media_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
        if media_type.is_some_and(|media_type| media_type.starts_with(b"application/grpc")) {
            return Some(tonic::Status::permission_denied(text).into_http());
        }
        let headers = [(X_CONTENT_TYPE_OPTIONS, "nosniff")];
        Some((StatusCode::MISDIRECTED_REQUEST, headers, format!("{text}\n")).into_response())
    }
}

impl Checked {
    /// The first name in the request that this listener does not answer to; empty where the request has none, though HTTP
    /// asks for one since version 1.1. Every name counts: HTTP/2 has it in the target, HTTP/1 in a header, an HTTP/1
    /// request for a proxy in both.
    fn stranger(&self, version: Version, target: &Uri, headers: &HeaderMap) -> Option<String> {
        let target = target.authority().map(Authority::as_str);
        let hosts = headers.get_all(HOST).iter().map(|host| host.as_bytes());
        let mut names = target.map(str::as_bytes).into_iter().chain(hosts).peekable();
        if names.peek().is_none() {
            return (version > Version::HTTP_10).then(String::new);
        }
        let name = names.find(|name| !std::str::from_utf8(name).is_ok_and(|name| self.knows(name)))?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// Whether this listener answers to `HOST[:PORT]`.
    fn knows(&self, name: &str) -> bool {
        let Some(host) = host(name) else { return false };
        if is_loopback(host) {
            return true;
        }
        match address(host) {
            // A browser that was given an address asks no DNS: its own page is the one that is here.
            Some(ip) => {
                ip == self.bound.ip().to_canonical()
                    || self.names.iter().any(|name| address(name).is_some_and(|allowed| allowed == ip))
            }
            None => {
                let host = host.strip_suffix('.').unwrap_or(host);
                self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }

    /// Counts a refusal and logs it, at most once a minute; returns the text of the answer.
    fn refuse(&self, stranger: &str) -> String {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let shown: String = host(stranger).unwrap_or(stranger).chars().take(LONGEST).collect();
        let shown = shown.escape_debug().to_string();
        let due = self.unlogged.lock().add(Instant::now());
        if let Some(requests) = due {
            tracing::warn!(
                listener = %self.bound,
                host = shown,
                requests,
                "requests for a host name that this listener does not answer to are refused: a web page may have pointed \
                 its own name here; where the name is yours, add it to --allowed-hosts"
            );
        }
        match shown.is_empty() {
            true => "the request names no host: send a Host header, such as localhost".to_owned(),
            false => format!(
                "this listener does not answer to the host name {shown}: ask for localhost or a loopback address, or \
                 start pushpull with --allowed-hosts {shown}"
            ),
        }
    }
}

/// The host of `HOST[:PORT]`, an IPv6 address with its brackets.
fn host(name: &str) -> Option<&str> {
    let end = match name.starts_with('[') {
        true => name.find(']')? + 1,
        false => name.find(':').unwrap_or(name.len()),
    };
    let (host, port) = name.split_at(end);
    let port_is_plain = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    (port_is_plain && !host.is_empty()).then_some(host)
}

/// An IPv4 address, or an IPv6 address in brackets.
fn address(host: &str) -> Option<IpAddr> {
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    };
    ip.map(|ip| ip.to_canonical())
}

/// Whether no resolver of the DNS can point the host elsewhere: a loopback address, `localhost` or a name below it
/// (RFC 6761, 6.3).
fn is_loopback(host: &str) -> bool {
    if let Some(ip) = address(host) {
        return ip.is_loopback();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost") && !host.contains('@')
}

fn is_on_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl<S> Layer<S> for Hosts {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { hosts: self.clone(), inner }
    }
}

/// A service that only requests for the names of its listener reach.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    hosts: Hosts,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.hosts.refusal(&request) {
            Some(refused) => Either::Left(ready(Ok(refused))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(bound: &str, allowed: &[&str]) -> Hosts {
        let names: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        AllowedHosts::new(&names).on(bound.parse().unwrap())
    }

    fn status(hosts: &Hosts, request: Request<()>) -> u16 {
        hosts.refusal(&request).map_or(200, |refused| refused.status().as_u16())
    }

    fn asked(hosts: &Hosts, host: &str) -> u16 {
        status(hosts, Request::builder().header(HOST, host).body(()).unwrap())
    }

    #[test]
    fn knows_the_names_of_this_machine() {
        let loopback = on("127.0.0.1:5000", &[]);
        for name in [
            "localhost",
            "LocalHost:5001",
            "localhost.",
            "localhost:",
            "app.localhost:5000",
            "a.b.LOCALHOST.",
            "127.0.0.1",
            "127.0.0.1:5001",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:5001",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert_eq!(asked(&loopback, name), 200, "{name}");
        }
        for name in [
            "",
            ":5001",
            "example.org",
            "localhost.example.org",
            "localhost.example.org.",
            "notlocalhost",
            "127.0.0.1.example.org",
            "localhost@example.org",
            "example.org@localhost",
            "user:x@localhost",
            "10.0.0.1",
            "0.0.0.0:5001",
            "[::]:5001",
            "[2001:db8::1]",
            "[::ffff:10.0.0.1]",
            "[::1",
            "[::1]x",
            "::1",
            "2130706433",
            "127.1",
            "local host",
            "localhost:80:80",
            "localhost,example.org",
        ] {
            assert_eq!(asked(&loopback, name), 421, "{name}");
        }
    }

    #[test]
    fn a_name_is_allowed_on_any_port_and_in_any_case() {
        for bound in ["127.0.0.1:5000", "[::1]:5000", "10.0.0.7:5000", "0.0.0.0:5000"] {
            let hosts = on(bound, &["shop.example", "10.0.0.8", "[2001:db8::1]"]);
            for name in [
                "shop.example",
                "Shop.Example.:81",
                "10.0.0.8:5000",
                "[2001:DB8:0::1]:5000",
                "[::ffff:10.0.0.8]",
                "localhost",
                "127.0.0.1:9",
            ] {
                assert_eq!(asked(&hosts, name), 200, "{name} on {bound}");
            }
            for name in ["a.shop.example", "shop.example.evil.example", "10.0.0.9", "[2001:db8::2]"] {
                assert_eq!(asked(&hosts, name), 421, "{name} on {bound}");
            }
            assert_eq!(asked(&hosts, "10.0.0.7"), if bound.starts_with("10.") { 200 } else { 421 });
        }
    }

    #[test]
    fn a_listener_elsewhere_answers_to_any_name_unless_some_are_allowed() {
        for hosts in
            [on("0.0.0.0:1", &[]), on("[::]:1", &[]), on("10.0.0.7:1", &[]), on("127.0.0.1:1", &["*"])]
        {
            assert!(hosts.0.is_none());
            assert_eq!(asked(&hosts, "evil.example"), 200);
        }
        for hosts in [on("127.0.0.2:1", &[]), on("[::ffff:127.0.0.1]:1", &[])] {
            assert_eq!(asked(&hosts, "evil.example"), 421);
        }
    }

    #[test]
    fn every_name_counts_and_only_old_requests_may_lack_one() {
        let hosts = on("127.0.0.1:1", &[]);
        let made = |target: &str, version, names: &[&str]| {
            let request = Request::builder().uri(target).version(version);
            let request = names.iter().fold(request, |request, name| request.header(HOST, *name));
            status(&hosts, request.body(()).unwrap())
        };
        for (target, version, names, expected) in [
            ("/", Version::HTTP_10, &[][..], 200),
            ("/", Version::HTTP_10, &["evil.example"], 421),
            ("/", Version::HTTP_11, &[], 421),
            ("/", Version::HTTP_2, &[], 421),
            ("http://localhost:1/", Version::HTTP_2, &[], 200),
            ("http://localhost/", Version::HTTP_2, &["evil.example"], 421),
            ("http://evil.example/", Version::HTTP_2, &[], 421),
            ("http://evil.example/", Version::HTTP_11, &["localhost"], 421),
            ("/", Version::HTTP_11, &["localhost", "evil.example"], 421),
            ("/", Version::HTTP_11, &["localhost", "127.0.0.1"], 200),
        ] {
            assert_eq!(made(target, version, names), expected, "{target} {version:?} {names:?}");
        }
    }

    #[test]
    fn refusals_are_counted_over_all_listeners() {
        let allowed = AllowedHosts::new(&[]);
        for bound in ["127.0.0.1:1", "[::1]:1"] {
            assert_eq!(asked(&allowed.on(bound.parse().unwrap()), "evil.example"), 421);
        }
        assert_eq!(allowed.refused().load(Ordering::Relaxed), 2);
    }

    #[test]
    fn grpc_is_refused_in_its_own_way() {
        let hosts = on("127.0.0.1:1", &[]);
        let request =
            Request::builder().uri("http://evil.example/x").header(CONTENT_TYPE, "application/grpc+proto");
        let refused = hosts.refusal(&request.body(()).unwrap()).unwrap();
        assert_eq!(refused.status(), 200);
        assert_eq!(refused.headers()["grpc-status"], "7");
        let message = refused.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains("evil.example") && message.contains("--allowed-hosts"), "{message}");
    }
}
