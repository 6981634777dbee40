//! The `StatsD` receiver: datagrams over UDP, added up, and handed to the pipeline at each flush as one batch
//! of cumulative series.
//!
//! It must not lose a good line for a bad one in the same datagram, and must not grow with what a sender invents. A
//! sender of datagrams gets no answer, so whatever is refused is counted by its reason.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prost::Message as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time::MissedTickBehavior};

use super::super::{
    batch::{Accepted, Batch, Refused, Request, Signal},
    export::graphite::{
        self, Lines,
        spool::{Entries, Values},
    },
    pipeline::Pipeline,
    stats::{Event, Stats},
    wire::{self, Metrics},
};
use crate::{
    config::{StatsdExpiry, StatsdNames, StatsdTags},
    net::Stop,
};

mod aggregate;
mod daemon;
mod encode;
mod family;
mod line;
mod number;
mod remembered;
mod rows;
mod tags;
mod tally;
mod total;

use aggregate::{Aggregate, Notices};
use daemon::{Daemon, Refusal};
use remembered::Remembered;
pub use remembered::split as split_kept;
use tally::{PLACE, Tally};

const NANOSECONDS_IN_SECOND: u64 = 1_000_000_000;
const NANOSECONDS_IN_MILLISECOND: u64 = 1_000_000;
/// The longest payload that a UDP datagram can have, and one byte to spare.
const MAX_DATAGRAM: usize = 65_536;
/// The receive buffer that is asked for: what arrives while a flush is under way waits in it. The system
/// may grant less (`net.core.rmem_max` on Linux).
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams read before the stop signal and the flush are looked at again.
const READ_AT_ONCE: usize = 64;
/// Datagrams read at the end: more than the receive buffer can hold, so that only a sender which goes on
/// sending is cut off.
const READ_AT_STOP: usize = 65_536;
/// How long to wait after a failed read before the next one.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of the daemon's lines that wait where Graphite's queue has no room.
const MAX_UNSENT: usize = 16 * 1024 * 1024;
/// The shortest interval between flushes.
const MIN_FLUSH: Duration = Duration::from_millis(1);

/// What the receiver is set to, apart from its address.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The interval at which the series are handed to the pipeline; at least a millisecond.
    pub flush: Duration,
    /// The upper bounds of the buckets of timers (in seconds), histograms and distributions (as sent):
    /// finite and strictly increasing.
    pub histogram_bounds: Vec<f64>,
    /// How many series there may be, those of OTLP included, which have a share of them.
    pub max_series: usize,
    /// How long a series stays that nobody sends.
    pub expiry: StatsdExpiry,
    /// Which tags in names are read.
    pub tags: StatsdTags,
    /// The age from which on Graphite gets no points, if there is one.
    pub max_age: Option<Duration>,
    /// Whether Graphite has the sum of a histogram under its bare name.
    pub bare_sums: bool,
    /// Whether Graphite gets the lines of statsd's own daemon too, and under which names.
    pub names: Option<StatsdNames>,
    /// What an earlier process left in the spool; `None` where there is no spool, so that nothing is written to it.
    pub kept: Option<Values>,
}

/// A non-blocking UDP socket on `address`, with a receive buffer as large as the system grants.
///
/// # Errors
/// Those of the system, such as [`ErrorKind::AddrInUse`].
pub fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // A small buffer is no reason to go without the receiver: it only drops more under a burst.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What datagrams come from: a socket, or one for each family of addresses.
#[derive(Debug)]
pub struct Sources(Vec<UdpSocket>);

impl From<UdpSocket> for Sources {
    fn from(socket: UdpSocket) -> Self {
        Self(vec![socket])
    }
}

impl From<Vec<UdpSocket>> for Sources {
    fn from(sockets: Vec<UdpSocket>) -> Self {
        Self(sockets)
    }
}

impl Sources {
    /// Waits until something has come on one of them.
    async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let ready = self.0.iter().map(|socket| socket.poll_recv_ready(cx));
            ready.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

/// Receives on `sources` until `stop` drains it; then reads what the system still holds, flushes once more
/// and returns.
///
/// Where the pipeline has no room for a batch, nothing is lost: totals are cumulative, sets go on with the
/// same interval, and the next flush brings both. Only the last flush has no next one; if that is refused,
/// its points are counted as dropped.
pub async fn serve(sources: impl Into<Sources>, pipeline: Pipeline, settings: Settings, stop: Stop) {
    let accept = |batch: Batch<'_>, state: &Entries| pipeline.accept_with(batch, state);
    let write = |lines: &Lines| pipeline.accept_lines(lines);
    let room = || pipeline.max_statsd_series();
    receive(sources, accept, write, room, pipeline.stats(), settings, stop).await;
}

/// [`serve`] with whatever takes the batches, and the daemon's lines, and knows how many series there may be.
async fn receive<F, W>(
    sources: impl Into<Sources>,
    accept: F,
    write: W,
    max_series: impl Fn() -> usize,
    stats: &Stats,
    mut settings: Settings,
    stop: Stop,
) where
    F: Fn(Batch<'_>, &Entries) -> Result<Accepted, Refused>,
    W: Fn(&Lines) -> Result<(), Refused>,
{
    let sources = sources.into();
    let period = settings.flush.max(MIN_FLUSH);
    let daemon = settings.names.map(|names| {
        let now = unix_nanoseconds() / NANOSECONDS_IN_SECOND;
        Daemon::new(names, settings.tags, period, settings.max_series, now)
    });
    let remembered = Remembered::new(settings.max_series);
    let remembered = match settings.kept.take() {
        Some(values) => remembered.spooled(values, settings.expiry.series, unix_nanoseconds()),
        None => remembered,
    };
    let mut receiver = Receiver {
        accept,
        write,
        stats,
        daemon,
        unsent: VecDeque::new(),
        logged: [false; Refusal::ALL.len()],
        aggregate: Aggregate::new(&settings, max_series(), remembered),
        tally: Tally::default(),
        datagram: vec![0; MAX_DATAGRAM],
    };
    let mut flush = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        // In this order a flood of datagrams delays neither the stop nor the flush.
        let read = tokio::select! {
            biased;
            () = stop.draining() => break,
            _ = flush.tick() => {
                receiver.flush(Flush::Periodic);
                receiver.aggregate.set_max_series(max_series());
                continue;
            }
            ready = sources.readable() => ready.and_then(|()| {
                // Of each, so that a flood on one keeps nothing from being read on the other.
                let mut sockets = sources.0.iter();
                sockets.try_for_each(|socket| receiver.read(READ_AT_ONCE, |datagram| socket.try_recv(datagram)))
            }),
        };
        if let Err(error) = read {
            tracing::debug!(%error, "failed to read a StatsD datagram");
            tokio::time::sleep(READ_PAUSE).await;
        }
    }

    // The runtime's socket reads only after the system reported it readable; the system's own socket also has
    // what arrived a moment ago.
    for socket in sources.0 {
        let last = socket
            .into_std()
            .and_then(|socket| receiver.read(READ_AT_STOP, |datagram| socket.recv(datagram)));
        if let Err(error) = last {
            tracing::debug!(%error, "failed to read the last StatsD datagrams");
        }
    }
    receiver.flush(Flush::Last);
}

/// Whether another flush follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Periodic,
    Last,
}

struct Receiver<'a, F, W> {
    accept: F,
    write: W,
    stats: &'a Stats,
    daemon: Option<Daemon>,
    /// The daemon's flushes for which there was no room yet, oldest first.
    unsent: VecDeque<Lines>,
    /// Refusals of the daemon that were logged.
    logged: [bool; Refusal::ALL.len()],
    aggregate: Aggregate,
    tally: Tally,
    datagram: Vec<u8>,
}

impl<F, W> Receiver<'_, F, W>
where
    F: Fn(Batch<'_>, &Entries) -> Result<Accepted, Refused>,
    W: Fn(&Lines) -> Result<(), Refused>,
{
    /// Takes up to `limit` datagrams that are already here, and counts them.
    fn read(
        &mut self,
        limit: usize,
        mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let now = unix_nanoseconds();
        let mut outcome = Ok(());
        for _ in 0..limit {
            match receive(&mut self.datagram) {
                Ok(length) => {
                    let datagram = &self.datagram[..length];
                    self.aggregate.add(datagram, now, &mut self.tally);
                    self.daemon.iter_mut().for_each(|daemon| daemon.add(datagram));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.tally.publish(self.stats);
        outcome
    }

    fn flush(&mut self, flush: Flush) {
        self.flush_daemon(flush);
        self.log_notices();
        let now = unix_nanoseconds();
        self.aggregate.expire(now);
        let Some(request) = self.aggregate.request(now) else { return };
        let state = self.aggregate.state(now);
        let wire = Bytes::from(request.encode_to_vec());
        // What prost writes is read.
        let Ok(mut metrics) = Metrics::read(&wire, &mut |_| true) else { return };
        metrics.receiver = wire::Receiver::Statsd;
        let points = (metrics.len() - self.aggregate.ended.len()) as u64;
        let batch = Batch { request: Request::Metrics(metrics), wire: wire.clone() };
        match (self.accept)(batch, &state) {
            Ok(accepted) => {
                self.aggregate.end_interval(now);
                if accepted.rejected > 0 {
                    let Accepted { rejected, message } = accepted;
                    self.stats.add(Event::Refused, PLACE, Signal::Metrics, "rejected", rejected);
                    tracing::debug!(rejected, message, "the pipeline refused points of StatsD");
                }
            }
            Err(refused) if flush == Flush::Last && points > 0 => {
                self.stats.add(Event::Dropped, PLACE, Signal::Metrics, "stopped", points);
                tracing::debug!(%refused, points, "dropped the last totals of StatsD");
            }
            Err(refused) => tracing::debug!(%refused, "the totals of StatsD wait for the next flush"),
        }
    }

    /// Logs which names are sent as two types, or lost their sum; of many, only some.
    fn log_notices(&mut self) {
        let Notices { some, more } = self.aggregate.notices();
        some.iter().for_each(|notice| tracing::warn!("{notice}"));
        if more > 0 {
            tracing::warn!(more, "further names of StatsD are sent as two types, or with values below zero");
        }
    }

    /// Writes the daemon's lines of this interval, behind those of earlier ones that there was no room for: unlike
    /// totals, the next interval's do not bring them back.
    fn flush_daemon(&mut self, flush: Flush) {
        let Some(daemon) = &mut self.daemon else { return };
        let now = unix_nanoseconds() / NANOSECONDS_IN_MILLISECOND;
        self.unsent.push_back(daemon.flush(now));
        while self.unsent.front().is_some_and(|lines| (self.write)(lines).is_ok()) {
            self.unsent.pop_front();
        }
        daemon.handed_over(now, self.unsent.is_empty());
        for (refusal, values) in daemon.refusals() {
            self.stats.add(Event::Refused, PLACE, Signal::Metrics, refusal.as_str(), values);
            if !std::mem::replace(&mut self.logged[refusal as usize], true) {
                tracing::warn!(
                    reason = refusal.as_str(),
                    values,
                    "values of StatsD are in no line of --statsd-names: {}; further ones are counted only",
                    refusal.remedy()
                );
            }
        }
        let most = if flush == Flush::Last { 0 } else { MAX_UNSENT };
        while self.unsent.iter().map(|lines| lines.text.len()).sum::<usize>() > most {
            let dropped = self.unsent.pop_front().map_or(0, |lines| lines.points);
            self.stats.add(Event::Dropped, graphite::PLACE, Signal::Metrics, "no_room", dropped);
        }
    }
}

/// The time on the system's clock, as OTLP has it.
fn unix_nanoseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
