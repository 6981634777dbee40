//! The host names that listeners answer to.
//!
//! Must not resolve any.

use std::net::Ipv6Addr;

use url::Host;

use super::invalid::Fault;

/// One of `--allowed-hosts`: `*`, or a host as browsers write it, without a port.
pub(super) fn allowed(text: &str) -> Result<String, Fault> {
    let fault = |reason| Fault::new(reason, "give a name such as shop.example or an IP address, or *");
    if text == "*" {
        return Ok(text.to_owned());
    }
    if text.contains("://") {
        return Err(fault("a URL, not a host name"));
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Ok(format!("[{ip}]"));
    }
    if text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']')) {
        return Err(fault("a host name with a port; it is allowed on every port"));
    }
    if text.contains('*') {
        return Err(fault("a pattern, not a host name"));
    }
    let host =
        Host::parse(text).ok().filter(|_| !text.contains('%')).ok_or_else(|| fault("not a host name"))?;
    let host = host.to_string();
    match host.strip_suffix('.').unwrap_or(&host) {
        "" => Err(fault("not a host name")),
        host => Ok(host.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_as_browsers_write_them() {
        for (text, expected) in [
            ("*", "*"),
            ("shop.example", "shop.example"),
            ("Shop.Example.", "shop.example"),
            ("graphite-bridge", "graphite-bridge"),
            ("my_app", "my_app"),
            ("käse.example", "xn--kse-qla.example"),
            ("10.0.0.7", "10.0.0.7"),
            ("2001:DB8::1", "[2001:db8::1]"),
            ("[2001:db8:0::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(allowed(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, reason) in [
            ("http://shop.example", "a URL, not a host name"),
            ("shop.example:5000", "a host name with a port; it is allowed on every port"),
            ("[::1]:5000", "a host name with a port; it is allowed on every port"),
            ("*.example", "a pattern, not a host name"),
            ("shop.example/x", "not a host name"),
            ("a@shop.example", "not a host name"),
            ("shop example", "not a host name"),
            ("a%2eb", "not a host name"),
            (".", "not a host name"),
            ("[::1", "not a host name"),
        ] {
            assert_eq!(allowed(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
    }
}
