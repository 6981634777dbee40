//! Who the client is and by which scheme it came, where a proxy may stand between.
//!
//! What a header says of it counts only from a proxy that the application trusts: anyone can write one.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ::http::{HeaderMap, HeaderName, header::FORWARDED};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `url.scheme`: how a client reached the server.
///
/// A server that answers both puts the one of each connection into its requests' extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word of it, `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// Whether the proxy at an address is trusted to say for whom it forwards.
#[derive(Clone)]
pub(super) struct Trust(pub(super) Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// What one proxy said of the request that it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hop {
    client: Option<IpAddr>,
    scheme: Option<Scheme>,
}

impl Trust {
    /// The address of the client and the scheme that it used, for a connection from `peer`: each header is read from
    /// its end, which the nearest proxy wrote, as far as those who wrote it are trusted.
    ///
    /// `Forwarded` (RFC 7239) counts where it is there, else `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, Option<Scheme>) {
        let (mut client, mut scheme) = (peer, None);
        for hop in hops(headers) {
            if !(self.0)(client) {
                break;
            }
            scheme = hop.scheme.or(scheme);
            let Some(next) = hop.client else { break };
            client = next;
        }
        (client, scheme)
    }
}

/// What the proxies said, the nearest one first.
fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let forwarded = elements(headers, &FORWARDED);
    if !forwarded.is_empty() {
        return forwarded.into_iter().map(element).collect();
    }
    let clients = elements(headers, &X_FORWARDED_FOR);
    let schemes = elements(headers, &X_FORWARDED_PROTO);
    let hop = |place: usize| Hop {
        client: clients.get(place).copied().and_then(address),
        scheme: schemes.get(place).copied().and_then(Scheme::named),
    };
    (0..clients.len().max(schemes.len())).map(hop).collect()
}

/// The elements of a list in all headers of this name, the last one first.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut elements: Vec<_> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    elements.reverse();
    elements
}

/// One element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn element(text: &str) -> Hop {
    let mut hop = Hop::default();
    for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.client = address(value),
            name if name.eq_ignore_ascii_case("proto") => hop.scheme = Scheme::named(value),
            _ => {}
        }
    }
    hop
}

/// An address with or without brackets and port; none for `unknown` and for hidden names.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&str, &str)]) -> (String, Option<Scheme>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let trust = Trust(Arc::new(|address: IpAddr| address.is_loopback()));
        let (client, scheme) = trust.client(peer.parse().unwrap(), &map);
        (client.to_string(), scheme)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let headers = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")];
        assert_eq!(client("127.0.0.1", &headers), ("192.0.2.7".to_owned(), Some(Scheme::Https)));
        assert_eq!(client("198.51.100.1", &headers), ("198.51.100.1".to_owned(), None));
        assert_eq!(client("127.0.0.1", &[]), ("127.0.0.1".to_owned(), None));
    }

    #[test]
    fn what_stands_before_an_untrusted_address_is_anyones_invention() {
        let headers = [
            ("x-forwarded-for", "203.0.113.9, 192.0.2.7"),
            ("x-forwarded-for", "127.0.0.2"),
            ("x-forwarded-proto", "http, https, https"),
        ];
        assert_eq!(client("127.0.0.1", &headers), ("192.0.2.7".to_owned(), Some(Scheme::Https)));
    }

    #[test]
    fn the_standard_header_is_read_with_ports_brackets_and_quotes() {
        for (header, address, scheme) in [
            ("for=192.0.2.60;proto=https;by=203.0.113.43", "192.0.2.60", Some(Scheme::Https)),
            ("For=\"[2001:db8:cafe::17]:4711\"; Proto=HTTP", "2001:db8:cafe::17", Some(Scheme::Http)),
            ("for=\"192.0.2.1:80\"", "192.0.2.1", None),
            ("for=unknown;proto=gopher", "127.0.0.1", None),
            ("for=_hidden, ;;=,=", "127.0.0.1", None),
        ] {
            let headers = [("forwarded", header), ("x-forwarded-for", "9.9.9.9")];
            assert_eq!(client("127.0.0.1", &headers), (address.to_owned(), scheme), "{header}");
        }
    }
}
