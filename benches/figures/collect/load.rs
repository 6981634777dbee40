//! Bodies over some connections, each answered before the next; and what they cost the collector.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{bodies::Body, carbon::Carbon, collectors::Collector, peer::Otlp};

/// How long a sender waits that was told to come again.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where what is sent is waited for.
#[derive(Clone, Copy)]
pub(crate) enum Peer<'p> {
    None,
    Carbon(&'p Carbon),
    Otlp(&'p Otlp),
}

/// What was taken in a round, and what it took.
pub(crate) struct Sent {
    items: u64,
    wall: Duration,
    processor_seconds: f64,
}

impl Sent {
    pub(crate) fn items_per_second(&self) -> f64 {
        self.items as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn microseconds_per_item(&self) -> f64 {
        self.processor_seconds * 1e6 / self.items as f64
    }
}

/// Sends each connection's bodies one after another for `time`, and waits until the peer has the last of them.
pub(crate) fn run(collector: &Collector, bodies: Vec<Vec<Body>>, time: Duration, peer: Peer<'_>) -> Sent {
    let kind = bodies[0][0].kind;
    let (start, before) = (Instant::now(), collector.process().processor_seconds());
    let senders: Vec<_> = bodies
        .into_iter()
        .filter(|bodies| !bodies.is_empty())
        .map(|bodies| {
            let address = collector.address();
            thread::spawn(move || send(address, bodies, |_| start.elapsed() < time))
        })
        .collect();
    let taken: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    let items = taken * kind.items() as u64;
    match peer {
        Peer::None => {}
        Peer::Carbon(carbon) => wait_for(items * kind.lines(), || carbon.lines()),
        Peer::Otlp(peer) => wait_for(taken, || peer.requests()),
    }
    Sent { items, wall: start.elapsed(), processor_seconds: collector.process().processor_seconds() - before }
}

/// Sends every body once, so that every series is known.
pub(crate) fn each_once(collector: &Collector, bodies: Vec<Vec<Body>>) {
    for bodies in bodies.into_iter().filter(|bodies| !bodies.is_empty()) {
        let count = bodies.len() as u64;
        assert_eq!(send(collector.address(), bodies, |sent| sent < count), count);
    }
}

/// Waits until as much is with the peer; it may be more, as a point may have a second line, at its start.
fn wait_for(wanted: u64, there: impl Fn() -> u64) {
    let start = Instant::now();
    while there() < wanted {
        assert!(start.elapsed() < PATIENCE, "{} of {wanted} came", there());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns how many bodies were taken.
fn send(address: SocketAddr, mut bodies: Vec<Body>, goes_on: impl Fn(u64) -> bool) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut answer, mut taken, mut turn) = (vec![0; 8_192], 0, 0);
    let path = bodies[0].kind.path();
    while goes_on(taken) {
        let index = turn % bodies.len();
        let body = bodies[index].next();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
             content-length: {}\r\n\r\n",
            path,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let read = stream.read(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase();
        if text.starts_with("http/1.1 503 ") {
            thread::sleep(PAUSE);
            continue;
        }
        assert!(text.starts_with("http/1.1 200 ") && !text.contains("rejected"), "{text}");
        taken += 1;
        turn += 1;
    }
    taken
}
