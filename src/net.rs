//! Serving HTTP/1 and HTTP/2: bounded in connections and in the time that a client may take for each step, drained on
//! request, cut at the deadline.
//!
//! Each connection has a task that ends it where one of its steps takes too long ([`Bounds`]), where it is evicted to make
//! room for another ([`Places`]), and where the server stops. It must not know what it serves: service, collector and console all come through here.

mod activity;
mod bounds;
mod framing;
mod listener;
mod open_files;
mod places;
mod tls;
mod unlogged;
mod watched;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
};
use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::{either::Either, sync::CancellationToken};
use tower_service::Service;

pub(crate) use self::unlogged::Unlogged;
use self::{
    activity::{Activity, Exchange, Overdue},
    places::Place,
    watched::{Answer, Received, Socket},
};
pub use self::{
    bounds::Bounds,
    listener::{Listener, on_both},
    open_files::OpenFiles,
    places::Places,
    tls::{File, FileError, Tls},
};

/// How long to wait after a failed accept before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The same where no file descriptor was left: by then the connection that was evicted has given its own back.
const EVICTION_TIME: Duration = Duration::from_millis(2);
/// When to look again at a connection for whose step there is no bound.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

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

/// What the connections of a listener are allowed. [`Terms::default`] has places of its own.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How long each step of a connection may take.
    pub bounds: Bounds,
    /// How many connections may be open at once.
    pub places: Places,
}

/// Serves `router` on `listener` until `stop` drains it; returns when the last connection has ended, or
/// when the rest was cut.
pub async fn serve(listener: TcpListener, router: Router, stop: Stop) {
    serve_over(None, vec![listener], router, Terms::default(), stop).await;
}

/// The same as [`serve`], on several sockets, on terms of the caller's, and with TLS around each connection where there
/// is some.
pub async fn serve_over(
    tls: Option<Tls>,
    listeners: Vec<TcpListener>,
    router: Router,
    terms: Terms,
    stop: Stop,
) {
    let server = Server { tls, builder: builder(&terms.bounds), bounds: terms.bounds, stop: stop.clone() };
    let server = Arc::new(server);
    let mut connections = JoinSet::new();
    // Given its state here, the router makes its services ready once and not for each request.
    let router = router.with_state(());

    let mut turn = 0;
    while let Some(accepted) = or_drained(&stop, accept(&listeners, &mut turn)).await {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // All files are in use, so a connection is evicted, whose file the next one gets.
                let full = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
                if full {
                    terms.places.make_room();
                }
                let pause = if full { EVICTION_TIME } else { ACCEPT_PAUSE };
                or_drained(&stop, tokio::time::sleep(pause)).await;
                continue;
            }
        };
        let activity = Activity::new();
        let Some(Some(place)) = or_drained(&stop, terms.places.take(&activity)).await else { break };
        let connection = Connection { stream, peer, router: router.clone(), activity, _place: place };
        let server = Arc::clone(&server);
        connections.spawn(async move { connection.serve(&server).await });
    }

    drop(listeners);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = stop.cutting() => connections.shutdown().await,
    }
}

/// HTTP with no more of the library's own bounds than the PINGs of HTTP/2.
fn builder(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(bounds.ping).keep_alive_timeout(bounds.pong);
    builder
}

/// The result of `wanted`; `None` where the server is drained first.
async fn or_drained<T>(stop: &Stop, wanted: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.draining() => None,
        result = wanted => Some(result),
    }
}

/// The next connection of any of the sockets, each of which is asked first by turns.
async fn accept(listeners: &[TcpListener], turn: &mut usize) -> io::Result<(TcpStream, SocketAddr)> {
    *turn = turn.wrapping_add(1);
    poll_fn(|cx| {
        for place in 0..listeners.len() {
            let listener = &listeners[turn.wrapping_add(place) % listeners.len()];
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// What all connections of a listener share.
struct Server {
    tls: Option<Tls>,
    builder: auto::Builder<TokioExecutor>,
    bounds: Bounds,
    stop: Stop,
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    activity: Arc<Activity>,
    _place: Place,
}

impl Connection {
    async fn serve(self, server: &Server) {
        let Self { stream, peer, router, activity, _place } = self;
        activity.start(server.tls.is_some());
        listener::prepare(&stream);
        let stream = match &server.tls {
            None => Either::Left(stream),
            Some(tls) => {
                let shaken = tokio::select! {
                    shaken = tokio::time::timeout(server.bounds.handshake, tls.accept(stream)) => shaken,
                    () = activity.evicted() => return,
                    () = server.stop.draining() => return,
                };
                match shaken {
                    Ok(Ok(stream)) => Either::Right(stream),
                    // Debug, since any client can cause it; the text is for the operator of a client that logs no reason.
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS connection"),
                    Err(_) => return tracing::debug!(%peer, "no TLS handshake in time"),
                }
            }
        };
        activity.shook_hands();
        let socket = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
        let service = service_fn(|request: Request<Incoming>| {
            let exchange = Exchange::begin(&activity);
            let body = server.bounds.body;
            let mut request = request.map(|inner| Body::new(Received::new(inner, body, &activity)));
            request.extensions_mut().insert(ConnectInfo(peer));
            let answered = router.clone().call(request);
            async move {
                let Ok(answer) = answered.await;
                Ok::<Response<Answer>, Infallible>(answer.map(|body| Answer::new(body, exchange)))
            }
        });
        let connection = pin!(server.builder.serve_connection(socket, service));
        watch(connection, &activity, server).await;
    }
}

/// Drives a connection to its end: its own, or where it is overdue or evicted. A server that is drained lets it finish the
/// requests that it has.
async fn watch<C: GracefulConnection>(mut connection: Pin<&mut C>, activity: &Activity, server: &Server) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    let (mut evicted, mut draining) = (pin!(activity.evicted()), pin!(server.stop.draining()));
    let (mut is_evicted, mut drained) = (false, false);
    loop {
        let overdue = tokio::select! {
            biased;
            overdue = poll_fn(|cx| step(connection.as_mut(), alarm.as_mut(), activity, &server.bounds, cx)) => overdue,
            () = &mut evicted, if !is_evicted => {
                is_evicted = true;
                connection.as_mut().graceful_shutdown();
                // It ends in the next step, so that the client learns why; where a complete request came meanwhile, after
                // its answer.
                continue;
            }
            () = &mut draining, if !drained => {
                drained = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
        };
        match overdue {
            Some(Overdue::Idle) => {
                connection.as_mut().graceful_shutdown();
                activity.cut_after(server.bounds.parting);
            }
            Some(Overdue::Stuck) | None => return,
        }
    }
}

/// Polls a connection, and sets the alarm for when it is overdue; ready where it is, or where it has ended.
fn step<C: GracefulConnection>(
    connection: Pin<&mut C>,
    mut alarm: Pin<&mut Sleep>,
    activity: &Activity,
    bounds: &Bounds,
    cx: &mut Context<'_>,
) -> Poll<Option<Overdue>> {
    if connection.poll(cx).is_ready() {
        return Poll::Ready(None);
    }
    if let Some(due) = activity.due(bounds).filter(|due| *due < alarm.deadline().into_std()) {
        alarm.as_mut().reset(due.into());
    }
    loop {
        ready!(alarm.as_mut().poll(cx));
        if let Some(overdue) = activity.overdue(bounds) {
            return Poll::Ready(Some(overdue));
        }
        let due = activity.due(bounds).map_or_else(|| Instant::now() + LOOK_AGAIN, Instant::from_std);
        alarm.as_mut().reset(due);
    }
}
