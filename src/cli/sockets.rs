//! Binds every listener before any of them answers, and says of each that cannot be bound which flag to use.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, UdpSocket},
};

use super::Failure;
use crate::{
    collector::{Sockets, receive::statsd},
    config::{CollectorSettings, ForwardTarget, Listen, TlsFiles},
    net::{File, Tls},
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
    pub(super) fn tcp(&mut self, listen: &Listen, taken: Taken) -> Option<(TcpListener, SocketAddr)> {
        self.bind(listen, taken, |address| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        })
    }

    /// The listener that `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT` ask for; `None` where a problem was noted.
    pub(super) fn prometheus(&mut self, address: SocketAddr) -> Option<(TcpListener, SocketAddr)> {
        let unknown = TcpListener::bind((address.ip(), 0))
            .is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
        let flag = if unknown { "OTEL_EXPORTER_PROMETHEUS_HOST" } else { "OTEL_EXPORTER_PROMETHEUS_PORT" };
        self.tcp(&Listen { address, given: true, flag }, Taken::Fail)
    }

    fn udp(&mut self, listen: &Listen, taken: Taken) -> Option<(UdpSocket, SocketAddr)> {
        self.bind(listen, taken, |address| {
            let socket = statsd::bind(address)?;
            let bound = socket.local_addr()?;
            Ok((socket, bound))
        })
    }

    /// All sockets of a collector; `None` where a problem was noted.
    pub(super) fn collector(
        &mut self,
        settings: &CollectorSettings,
        taken: Taken,
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
        for target in settings.forward.iter().filter(|target| leads_back(target, &addresses)) {
            self.problems.push(format!(
                "--forward {} is this collector's own receiver, and would send everything in a circle: name another endpoint",
                target.url
            ));
        }
        let sockets = Sockets {
            otlp_grpc: otlp_grpc.0,
            otlp_http: otlp_http.0,
            statsd: statsd.map(|(socket, _)| socket),
            exposition: exposition.0,
            tls: None,
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
                    ErrorKind::AddrInUse => {
                        format!(
                            "port {} is taken: stop what listens there, or give another with {flag}",
                            address.port()
                        )
                    }
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

/// Whether a forwarding target is one of the collector's own receivers.
fn leads_back(target: &ForwardTarget, addresses: &Addresses) -> bool {
    let Ok(resolved) = target.url.socket_addrs(|| None) else { return false };
    let own = [addresses.otlp_grpc, addresses.otlp_http];
    resolved.iter().any(|to| {
        own.iter().any(|own| {
            own.port() == to.port()
                && (own.ip() == to.ip() || own.ip().is_unspecified() && to.ip().is_loopback())
        })
    })
}
