//! The host under which the browser asked for the page, for links to this machine's other ports.
//!
//! An unspecified address (`0.0.0.0`, `[::]`) is one to listen on, not to open; the page shows this host in its place.
//! What the request says is parsed as a host and nothing else before it becomes part of a link.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, Uri, header::HOST, uri::Authority};
use url::{Host, Url};

/// The host that a request names; none where it names none, or several.
#[derive(Clone, Debug)]
pub(super) struct Asked(Option<Host>);

impl Asked {
    /// Reads it from the target (HTTP/2's `:authority`), else from the only `Host` header.
    pub(super) fn of(target: &Uri, headers: &HeaderMap) -> Self {
        let mut hosts = headers.get_all(HOST).iter();
        let header = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        Self(target.authority().map(Authority::as_str).or(header).and_then(host))
    }

    /// The URL as the browser can open it; `None` where its host is unspecified and the request names none.
    pub(super) fn url(&self, url: &Url) -> Option<Url> {
        let mut url = url.clone();
        if is_unspecified(&url) {
            url.set_host(Some(&self.0.as_ref()?.to_string())).ok()?;
        }
        Some(url)
    }

    /// A listener's address for a program that runs where the browser does.
    pub(super) fn address(&self, address: &str) -> String {
        match address.parse::<SocketAddr>() {
            Ok(bound) if bound.ip().to_canonical().is_unspecified() => match &self.0 {
                Some(host) => format!("{host}:{}", bound.port()),
                None => format!("port {}", bound.port()),
            },
            _ => address.to_owned(),
        }
    }
}

/// Whether the URL's host is an address to listen on.
fn is_unspecified(url: &Url) -> bool {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(Host::Domain(_)) | None => return false,
    };
    ip.to_canonical().is_unspecified()
}

/// The host of `HOST[:PORT]`. A browser that asked for an unspecified address reached its own machine.
fn host(authority: &str) -> Option<Host> {
    let authority = authority.parse::<Authority>().ok().filter(|_| !authority.contains('@'))?;
    match Host::parse(authority.host()).ok()? {
        Host::Ipv4(ip) if ip.is_unspecified() => Some(Host::Ipv4(Ipv4Addr::LOCALHOST)),
        Host::Ipv6(ip) if IpAddr::V6(ip).to_canonical().is_unspecified() => {
            Some(Host::Ipv4(Ipv4Addr::LOCALHOST))
        }
        host => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, hosts: &[&str]) -> Asked {
        let headers = hosts.iter().map(|host| (HOST, host.parse().unwrap())).collect();
        Asked::of(&target.parse().unwrap(), &headers)
    }

    #[test]
    fn an_unspecified_host_becomes_the_one_that_was_asked() {
        for (target, hosts, url, address) in [
            ("/", &["127.0.0.1:5001"][..], "http://127.0.0.1:9090/graph", "127.0.0.1:14317"),
            ("/", &["console.example"], "http://console.example:9090/graph", "console.example:14317"),
            ("/", &["[::1]:5001"], "http://[::1]:9090/graph", "[::1]:14317"),
            ("/", &["0.0.0.0:5001"], "http://127.0.0.1:9090/graph", "127.0.0.1:14317"),
            ("/", &["[::]:5001"], "http://127.0.0.1:9090/graph", "127.0.0.1:14317"),
            (
                "http://other.example:1/",
                &["127.0.0.1"],
                "http://other.example:9090/graph",
                "other.example:14317",
            ),
        ] {
            let asked = asked(target, hosts);
            for unspecified in
                ["http://0.0.0.0:9090/graph", "http://[::]:9090/graph", "http://[::ffff:0.0.0.0]:9090/graph"]
            {
                let shown = asked.url(&unspecified.parse().unwrap()).unwrap();
                assert_eq!(shown.as_str(), url, "{target} {hosts:?}");
            }
            assert_eq!(asked.address("0.0.0.0:14317"), address);
            assert_eq!(asked.address("[::]:14317"), address);
            assert_eq!(asked.address("10.0.0.1:14317"), "10.0.0.1:14317");
            let full: Url = "https://grafana.example/d".parse().unwrap();
            assert_eq!(asked.url(&full), Some(full));
        }
    }

    #[test]
    fn what_is_no_host_becomes_no_link() {
        for hosts in [
            &[][..],
            &["a", "b"],
            &["user@evil.example"],
            &["evil.example/path"],
            &["\"><script>"],
            &["a b"],
            &["::1"],
            &[""],
        ] {
            let asked = asked("/", hosts);
            assert_eq!(asked.url(&"http://0.0.0.0:9090/".parse().unwrap()), None, "{hosts:?}");
            assert_eq!(asked.address("0.0.0.0:14317"), "port 14317", "{hosts:?}");
        }
    }
}
