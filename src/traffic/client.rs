//! One request over real HTTP to a service, and what became of it.
//!
//! It must not retry what was answered, nor know why it asks.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
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
    authority: Arc<str>,
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
    /// Asks the service at `HOST:PORT`, under a name of its own, with up to so many idle connections kept. A host name is
    /// resolved for each new connection, so that a service may come back at another address.
    pub(super) fn new(authority: &str, agent: &'static str, idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let connections =
            Connections::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build(connector);
        Self { connections, authority: authority.into(), agent }
    }

    /// Asks for a page and reads it to its end.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let answer = self.ask(path).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        Ok(Answer { status, body: body.map_err(|_| Failure::Broken)?.to_bytes() })
    }

    /// Asks for a page and reads it to its end, but holds no more of it than what arrives at once.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) async fn status(&self, path: &str) -> Result<StatusCode, Failure> {
        let answer = self.ask(path).await?;
        let status = answer.status();
        let mut body = Limited::new(answer.into_body(), MAX_BYTES);
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| Failure::Broken)?;
        }
        Ok(status)
    }

    async fn ask(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let request = Request::get(format!("http://{}{path}", self.authority))
            .header(header::USER_AGENT, self.agent)
            .body(Empty::new())
            .map_err(|_| Failure::Broken)?;
        let answer = self.connections.request(request).await;
        answer.map_err(|error| if error.is_connect() { Failure::Unreachable } else { Failure::Broken })
    }
}
