//! Addresses: those that the program listens on, and host and port in general.
//!
//! Must not open a socket. A name to listen on is resolved here, once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::flag::Flag;
use super::invalid::{Fault, Problem};
use super::reader::Given;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 takes a free port.
    pub address: SocketAddr,
    /// The other loopback address, where `localhost` was given: both families, under one port number.
    pub second: Option<SocketAddr>,
    /// By a flag or a variable; else it is the default.
    pub given: bool,
    /// The flag that changes it, with its dashes, for messages.
    pub flag: &'static str,
}

impl Listen {
    /// All of its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        [Some(self.address), self.second].into_iter().flatten()
    }
}

/// Where the console listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Console {
    /// Nothing was given: there, if the embedded collector runs.
    Default(Listen),
    /// There, with or without the embedded collector.
    Given(Listen),
    /// Nowhere.
    Off,
}

/// An address to listen on.
pub(super) fn listen(flag: &Flag, given: &Given<'_>, example: &str) -> Result<Listen, Fault> {
    let (host, port) = host_and_port(given.text, example)?;
    let (address, second) = match ip(host) {
        Some(ip) => (SocketAddr::new(ip, port), None),
        None if is_localhost(host) => {
            let of = |ip: IpAddr| SocketAddr::new(ip, port);
            (of(Ipv4Addr::LOCALHOST.into()), Some(of(Ipv6Addr::LOCALHOST.into())))
        }
        None => (resolved(host, port)?, None),
    };
    Ok(Listen { address, second, given: given.given, flag: flag.long })
}

/// An address to listen on, or `off`.
pub(super) fn listen_or_off(flag: &Flag, given: &Given<'_>, example: &str) -> Result<Option<Listen>, Fault> {
    if given.text == "off" {
        return Ok(None);
    }
    match listen(flag, given, example) {
        Ok(listen) => Ok(Some(listen)),
        Err(fault) => Err(Fault { remedy: format!("{}, or off", fault.remedy), ..fault }),
    }
}

/// Splits `HOST:PORT`. The host is an IPv4 address, an IPv6 address in brackets, or a well-formed name.
pub(super) fn host_and_port<'a>(text: &'a str, example: &str) -> Result<(&'a str, u16), Fault> {
    let fault =
        |reason| Fault::new(reason, format!("give IP:PORT, [IPv6]:PORT or NAME:PORT, such as {example}"));
    if text.contains("://") {
        return Err(fault("a URL, not an address"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(fault("no port"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault("no host"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| fault("no port"))?;
    if host.is_empty() {
        return Err(fault("no host"));
    }
    // `parse` would take a plus sign too.
    let port = match port.parse() {
        Ok(port) if port_is_plain(port, text) => port,
        _ => return Err(fault("the port is not a number from 0 to 65535")),
    };
    if ip(host).is_some() {
        return Ok((host, port));
    }
    if host.contains([':', '[', ']']) {
        return Err(fault("not an IPv6 address in brackets"));
    }
    // A resolver would read 127.1 as 127.0.0.1.
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(fault("not an IP address"));
    }
    let well_formed = host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if well_formed { Ok((host, port)) } else { Err(fault("not a host name")) }
}

fn port_is_plain(port: u16, text: &str) -> bool {
    text.ends_with(&format!(":{port}"))
}

/// An IPv4 address, or an IPv6 address in brackets.
fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether it is the name of this machine for itself, which is the loopback address of both families whatever a resolver
/// says (RFC 6761, 6.3).
pub(crate) fn is_localhost(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost")
}

/// A name's address; an IPv4 one where it has both, since that is what the defaults are.
fn resolved(host: &str, port: u16) -> Result<SocketAddr, Fault> {
    let fault = |reason| Fault::new(reason, "give a name that this machine can resolve, or an IP address");
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| fault(format!("the name cannot be resolved ({error})")))?
        .collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| fault("the name has no address".to_owned()))
}

/// One problem for each two TCP listeners that want the same address.
pub(super) fn conflicts(listeners: &[&Listen]) -> Vec<Problem> {
    let pairs = listeners
        .iter()
        .enumerate()
        .flat_map(|(at, second)| listeners.iter().take(at).map(move |first| (first, second)));
    pairs
        .filter(|(first, second)| {
            let among = |address| second.addresses().any(|other| overlap(address, other));
            first.addresses().any(among)
        })
        .map(|(first, second)| {
            Fault::new(
                format!("the same address as {} {}", first.flag, first.address),
                "give one of them another port",
            )
            .of(second.flag, Some(&second.address.to_string()))
        })
        .collect()
}

/// Whether both cannot be listened on at once; a wildcard address covers the others of its kind.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
    a.port() != 0
        && a.port() == b.port()
        && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests {
    use super::super::flags::LISTEN;
    use super::*;

    fn parsed(text: &str) -> Result<SocketAddr, String> {
        let listen = listen(&LISTEN, &Given { text, given: true }, "127.0.0.1:5000");
        listen.map(|listen| listen.address).map_err(|fault| fault.reason)
    }

    #[test]
    fn addresses() {
        for (text, address) in [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:5000", "[::1]:5000"),
            ("localhost:80", "127.0.0.1:80"),
        ] {
            assert_eq!(parsed(text).map(|address| address.to_string()), Ok(address.to_owned()));
        }
        for (text, reason) in [
            ("127.0.0.1", "no port"),
            ("::1", "no port"),
            ("localhost", "no port"),
            ("5000", "no host"),
            (":5000", "no host"),
            ("127.0.0.1:65536", "the port is not a number from 0 to 65535"),
            ("127.0.0.1:+80", "the port is not a number from 0 to 65535"),
            ("127.0.0.1:", "the port is not a number from 0 to 65535"),
            ("::1:5000x", "the port is not a number from 0 to 65535"),
            ("[::1:5000", "not an IPv6 address in brackets"),
            ("[127.0.0.1]:5000", "not an IPv6 address in brackets"),
            ("127.1:5000", "not an IP address"),
            ("*:5000", "not a host name"),
            ("http://127.0.0.1:5000", "a URL, not an address"),
        ] {
            assert_eq!(parsed(text), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn localhost_is_both_families_and_conflicts_with_each() {
        let given = |text| listen(&LISTEN, &Given { text, given: true }, "127.0.0.1:5000").unwrap();
        for name in ["localhost:80", "LocalHost:80", "localhost.:80"] {
            let addresses: Vec<_> = given(name).addresses().map(|address| address.to_string()).collect();
            assert_eq!(addresses, ["127.0.0.1:80", "[::1]:80"]);
            for (other, expected) in
                [("[::1]:80", 1), ("127.0.0.1:80", 1), ("127.0.0.2:80", 0), ("[::1]:81", 0)]
            {
                assert_eq!(conflicts(&[&given(name), &given(other)]).len(), expected, "{other}");
                assert_eq!(conflicts(&[&given(other), &given(name)]).len(), expected, "{other}");
            }
        }
    }

    #[test]
    fn wildcards_cover_their_kind() {
        for (a, b, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
        ] {
            let [first, second] = [a, b].map(|text| text.parse().unwrap());
            assert_eq!((overlap(first, second), overlap(second, first)), (expected, expected), "{a} {b}");
        }
    }
}
