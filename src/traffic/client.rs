//! One request over real HTTP to the service's own listener, and what became of it.
//!
//! It must not retry what was answered, nor know why it asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client as Connections, connect::HttpConnector},
    rt::TokioExecutor,
};

/// How large an answer may be, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// Asks one service; clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    connections: Connections<HttpConnector, Empty<Bytes>>,
    service: SocketAddr,
    agent: &'static str,
}

/// The whole of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection.
    Unreachable,
    /// The connection ended before the answer did, or the answer is none of HTTP's, or it is too large.
    Broken,
}

impl Client {
    /// Asks the service that listens there, under a name of its own, with up to so many idle connections kept.
    pub(super) fn new(service: SocketAddr, agent: &'static str, idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let connections =
            Connections::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build(connector);
        Self { connections, service: reachable(service), agent }
    }

    /// Asks for a page and reads it to its end.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let request = Request::get(format!("http://{}{path}", self.service))
            .header(header::USER_AGENT, self.agent)
            .body(Empty::new())
            .map_err(|_| Failure::Broken)?;
        let answer = self
            .connections
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { Failure::Unreachable } else { Failure::Broken })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        Ok(Answer { status, body: body.map_err(|_| Failure::Broken)?.to_bytes() })
    }
}

/// Where to connect to what listens there: on all addresses means on the loopback one too.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}
