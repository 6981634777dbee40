//! Serving HTTP/1 and HTTP/2 on one listener: bounded in connections and in the time a client may take
//! for its headers, drained on request, cut at the deadline.
//!
//! It must not know what it serves: service, collector and console all come through here.

mod tls;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::{either::Either, sync::CancellationToken};
use tower_service::Service;

pub use self::tls::{File, FileError, Tls};

/// Connections open at once on one listener; a further one waits in the kernel's backlog.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take for its handshake and for the headers of a request, and how long a connection may idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait after a failed accept (usually: no file descriptor left) before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The two steps of a stop: first no new work, then no work at all.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Stop {
    /// Asks for the first step: accept nothing new, finish what is in flight.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks for the second step: drop what still runs.
    pub fn cut(&self) {
        self.drain.cancel();
        self.cut.cancel();
    }

    /// Resolves once the first step was asked for.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether the first step was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves once the second step was asked for.
    pub async fn cutting(&self) {
        self.cut.cancelled().await;
    }
}

/// Where this machine reaches what listens there: what listens on all addresses listens on the loopback one too.
#[must_use]
pub fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listening.port())
}

/// Serves `router` on `listener` until `stop` drains it; returns when the last connection has ended, or
/// when the rest was cut.
pub async fn serve(listener: TcpListener, router: Router, stop: Stop) {
    serve_over(None, listener, router, stop).await;
}

/// The same as [`serve`], with TLS around each connection where there is some.
pub async fn serve_over(tls: Option<Tls>, listener: TcpListener, router: Router, stop: Stop) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    // Given its state here, the router makes its services ready once and not for each request.
    let router = router.with_state(());

    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.draining() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, permit)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = Connection {
            stream,
            tls: tls.clone(),
            router: router.clone(),
            watcher: graceful.watcher(),
            stop: stop.clone(),
        };
        let builder = Arc::clone(&builder);
        connections.spawn(async move {
            connection.serve(&builder).await;
            drop(permit);
        });
    }

    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = stop.cutting() => {}
    }
    connections.shutdown().await;
}

/// The next connection with its place among the bounded ones; `None` if accepting failed.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, permit))
}

struct Connection {
    stream: TcpStream,
    tls: Option<Tls>,
    router: Router,
    watcher: Watcher,
    stop: Stop,
}

impl Connection {
    async fn serve(self, builder: &auto::Builder<TokioExecutor>) {
        let Self { stream, tls, router, watcher, stop } = self;
        // The builder's own time-out begins with the first byte; a silent client is ended here.
        let spoke = tokio::select! {
            spoke = tokio::time::timeout(HEADER_READ_TIMEOUT, stream.readable()) => matches!(spoke, Ok(Ok(()))),
            () = stop.draining() => false,
        };
        let (true, Ok(peer)) = (spoke, stream.peer_addr()) else { return };
        // Small answers must not wait for the peer's delayed acknowledgement; a failure costs only time.
        let _ = stream.set_nodelay(true);
        let stream = match tls {
            None => Either::Left(stream),
            Some(tls) => {
                match tokio::time::timeout(HEADER_READ_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Either::Right(stream),
                    // The client's, too; its log may not say what the reason was.
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS connection"),
                    Err(_) => return,
                }
            }
        };
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().call(request)
        });
        // An error here is the client's: it went away, or it did not speak HTTP.
        let _ = watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await;
    }
}
