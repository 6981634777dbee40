//! Binds every listener before any of them answers, and says of each that cannot be bound which flag to use.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use url::Host;

use super::{Failure, names::Names};
use crate::{
    collector::{Sockets, receive::statsd},
    config::{CollectorSettings, ForwardTarget, Listen, TlsFiles},
    net::{self, File, Listener, Terms, Tls},
};

/// What to do where an address is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A default makes way for a free port; what was given is an error.
    Replace,
    /// It is an error.
    Fail,
}

/// Binds sockets and collects what goes wrong.
#[derive(Debug, Default)]
pub(super) struct Binder {
    problems: Vec<String>,
    replaced: Vec<String>,
}

/// The addresses that a collector is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) otlp_grpc: SocketAddr,
    pub(super) otlp_http: SocketAddr,
    pub(super) statsd: Option<SocketAddr>,
    pub(super) exposition: SocketAddr,
}

impl Binder {
    /// A listening socket; `None` where a problem was noted.
    pub(super) fn tcp(&mut self, listen: &Listen, taken: Taken) -> Option<(Listener, SocketAddr)> {
        self.bind(listen, taken, |address| Listener::bind(address, listen.second))
    }

    /// The listener that `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT` ask for; `None` where a problem was noted.
    pub(super) fn prometheus(
        &mut self,
        address: SocketAddr,
        second: Option<SocketAddr>,
    ) -> Option<(Listener, SocketAddr)> {
        let unknown = TcpListener::bind((address.ip(), 0))
            .is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
        let flag = if unknown { "OTEL_EXPORTER_PROMETHEUS_HOST" } else { "OTEL_EXPORTER_PROMETHEUS_PORT" };
        self.tcp(&Listen { address, second, given: true, flag }, Taken::Fail)
    }

    fn udp(&mut self, listen: &Listen, taken: Taken) -> Option<(Vec<UdpSocket>, SocketAddr)> {
        let bind = |address| {
            let socket = statsd::bind(address)?;
            let bound = socket.local_addr()?;
            Ok((socket, bound))
        };
        self.bind(listen, taken, |address| net::on_both(address, listen.second, bind))
    }

    /// All sockets of a collector; `None` where a problem was noted.
    pub(super) fn collector(
        &mut self,
        settings: &CollectorSettings,
        taken: Taken,
        names: &Names,
    ) -> Option<(Sockets, Addresses)> {
        let otlp_grpc = self.tcp(&settings.otlp_grpc, taken);
        let otlp_http = self.tcp(&settings.otlp_http, taken);
        let statsd = settings.statsd.as_ref().map(|listen| self.udp(listen, taken));
        let exposition = self.tcp(&settings.exposition, taken);
        let (otlp_grpc, otlp_http, exposition) = (otlp_grpc?, otlp_http?, exposition?);
        let statsd = match statsd {
            Some(bound) => Some(bound?),
            None => None,
        };
        let addresses = Addresses {
            otlp_grpc: otlp_grpc.1,
            otlp_http: otlp_http.1,
            statsd: statsd.as_ref().map(|(_, address)| *address),
            exposition: exposition.1,
        };
        for target in settings.forward.iter().filter(|target| leads_back(target, settings, &addresses, names))
        {
            self.problems.push(format!(
                "--forward {} is this collector's own receiver, and would send everything in a circle: name another endpoint",
                target.label
            ));
        }
        let sockets = Sockets {
            otlp_grpc: otlp_grpc.0,
            otlp_http: otlp_http.0,
            statsd: statsd.map(|(sockets, _)| sockets).unwrap_or_default(),
            exposition: exposition.0,
            tls: None,
            terms: Terms::default(),
        };
        Some((sockets, addresses))
    }

    /// How a listener speaks TLS; `None` where a problem was noted.
    pub(super) fn tls(&mut self, files: &TlsFiles) -> Option<Tls> {
        Tls::read(&files.cert, &files.key, files.client_ca.as_deref())
            .map_err(|errors| {
                self.problems.extend(errors.iter().map(|error| {
                    let (flag, remedy) = match error.file {
                        File::Certificate => ("--tls-cert", "the certificate and its chain"),
                        File::Key => ("--tls-key", "the certificate's private key"),
                        File::ClientAuthorities => ("--tls-client-ca", "the clients' authorities"),
                    };
                    format!("{flag} {error}; name a PEM file with {remedy}")
                }));
            })
            .ok()
    }

    /// Notes a problem with settings that only fail together with what is bound.
    pub(super) fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Lines about defaults that made way.
    ///
    /// # Errors
    /// Every problem, in one message.
    pub(super) fn finish(self) -> Result<Vec<String>, Failure> {
        match self.problems.as_slice() {
            [] => Ok(self.replaced),
            problems => Err(Failure::settings(problems.join("\n"))),
        }
    }

    fn bind<S>(
        &mut self,
        listen: &Listen,
        taken: Taken,
        bind: impl Fn(SocketAddr) -> io::Result<(S, SocketAddr)>,
    ) -> Option<(S, SocketAddr)> {
        let (address, flag) = (listen.address, listen.flag);
        match bind(address) {
            Ok(bound) => Some(bound),
            Err(error)
                if error.kind() == ErrorKind::AddrInUse && taken == Taken::Replace && !listen.given =>
            {
                let bound = bind(SocketAddr::new(address.ip(), 0));
                bound
                    .inspect(|(_, free)| {
                        self.replaced.push(format!("{address} is taken: {flag} is {free} this time"));
                    })
                    .map_err(|error| {
                        self.problems.push(format!("failed to listen on a free port for {flag}: {error}"))
                    })
                    .ok()
            }
            Err(error) => {
                let remedy = match error.kind() {
                    ErrorKind::AddrInUse => in_use(address, flag, cfg!(target_os = "macos")),
                    ErrorKind::PermissionDenied => {
                        format!("not permitted: give a port above 1023 with {flag}")
                    }
                    ErrorKind::AddrNotAvailable => {
                        format!("no address of this machine: give one that is with {flag}")
                    }
                    _ => format!("{error}: give another address with {flag}"),
                };
                self.problems.push(format!("cannot listen on {address} ({flag}): {remedy}"));
                None
            }
        }
    }
}

/// What to do where a port is taken.
fn in_use(address: SocketAddr, flag: &str, on_macos: bool) -> String {
    let port = address.port();
    let other = if port == AIRPLAY { 5050 } else { port.checked_add(10_000).unwrap_or(0) };
    let other = match flag.starts_with("--") {
        true => format!("give another, such as {flag} {}", SocketAddr::new(address.ip(), other)),
        false => format!("give another with {flag}, such as {other}"),
    };
    let holder = match on_macos && port == AIRPLAY {
        true => "stop what listens there: on macOS that is the AirPlay Receiver, unless it is switched off in the \
                 system's settings"
            .to_owned(),
        false => "stop what listens there".to_owned(),
    };
    format!("port {port} is taken: {other}, or {holder}")
}

/// The service's default port, on which macOS's `AirPlay` Receiver listens too.
const AIRPLAY: u16 = 5000;

/// Whether a forwarding target is one of the collector's own receivers.
fn leads_back(
    target: &ForwardTarget,
    settings: &CollectorSettings,
    addresses: &Addresses,
    names: &Names,
) -> bool {
    let ips = match target.url.host() {
        Some(Host::Ipv4(ip)) => vec![ip.into()],
        Some(Host::Ipv6(ip)) => vec![ip.into()],
        Some(Host::Domain(name)) => names.addresses(name).to_vec(),
        None => Vec::new(),
    };
    let own = [(&settings.otlp_grpc, addresses.otlp_grpc), (&settings.otlp_http, addresses.otlp_http)];
    let own = own.into_iter().flat_map(|(listen, bound)| {
        let second = listen.second.map(|second| SocketAddr::new(second.ip(), bound.port()));
        [Some(bound), second].into_iter().flatten()
    });
    own.into_iter().any(|own| {
        let same = |ip: IpAddr| own.ip() == ip || own.ip().is_unspecified() && ip.is_loopback();
        target.url.port_or_known_default() == Some(own.port()) && ips.iter().copied().any(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_one_that_can_be_typed() {
        let message = |address: &str, flag, on_macos| in_use(address.parse().unwrap(), flag, on_macos);
        assert_eq!(
            message("127.0.0.1:5000", "--listen", false),
            "port 5000 is taken: give another, such as --listen 127.0.0.1:5050, or stop what listens there"
        );
        let on_macos = message("127.0.0.1:5000", "--listen", true);
        assert!(on_macos.contains("--listen 127.0.0.1:5050") && on_macos.contains("AirPlay"), "{on_macos}");
        assert!(!message("127.0.0.1:4317", "--otlp-grpc", true).contains("AirPlay"));
        assert!(message("[::1]:4317", "--otlp-grpc", false).contains("such as --otlp-grpc [::1]:14317,"));
        assert!(message("127.0.0.1:60000", "--listen", false).contains("--listen 127.0.0.1:0,"));
        let variable = message("127.0.0.1:9464", "OTEL_EXPORTER_PROMETHEUS_PORT", false);
        assert!(
            variable.contains("another with OTEL_EXPORTER_PROMETHEUS_PORT, such as 19464,"),
            "{variable}"
        );
    }
}
