//! Peers that stand in for carbon: one that reads what comes, and connections that a test reads itself.

use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::points::{PATIENCE, eventually};

/// Whether the collector says this of itself, which it does every ten seconds.
fn is_its_own(line: &str) -> bool {
    line.contains("pushpull.collector.")
}

/// Reads every connection to its end, and keeps its whole lines, but for the collector's own.
pub(crate) struct Carbon {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    /// In their order.
    connections: Vec<Vec<String>>,
    seen: HashSet<String>,
}

impl Carbon {
    pub(crate) fn listen() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Taken::default()));
        let shared = Arc::clone(&taken);
        // They end with the process of the tests.
        thread::spawn(move || {
            for (place, stream) in listener.incoming().enumerate() {
                shared.lock().unwrap().connections.push(Vec::new());
                let (shared, stream) = (Arc::clone(&shared), stream.unwrap());
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    while stream.read_line(&mut line).is_ok_and(|length| length > 0) && line.ends_with('\n') {
                        line.pop();
                        if is_its_own(&line) {
                            line.clear();
                            continue;
                        }
                        let mut taken = shared.lock().unwrap();
                        taken.seen.insert(line.clone());
                        taken.connections[place].push(std::mem::take(&mut line));
                    }
                });
            }
        });
        Self { address, taken }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole lines of each connection.
    pub(crate) fn connections(&self) -> Vec<Vec<String>> {
        self.taken.lock().unwrap().connections.clone()
    }

    /// The whole lines of each connection, which are forgotten here.
    pub(crate) fn take_connections(&self) -> Vec<Vec<String>> {
        let mut taken = self.taken.lock().unwrap();
        taken.seen.clear();
        taken.connections.iter_mut().map(std::mem::take).collect()
    }

    /// Waits until all of these lines have come.
    pub(crate) fn until(&self, wanted: &BTreeSet<String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut missing: Vec<_> = wanted.iter().collect();
        loop {
            let taken = self.taken.lock().unwrap();
            missing.retain(|line| !taken.seen.contains(*line));
            drop(taken);
            if missing.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {} lines are missing, such as {:?}",
                missing.len(),
                wanted.len(),
                &missing[..missing.len().min(3)]
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Listens, and leaves each connection to the test.
pub(crate) struct Hostile(TcpListener);

impl Hostile {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn accept(&self) -> Connection {
        let (stream, _) = eventually("a connection", || self.0.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, read: Vec::new() }
    }
}

/// A connection from the collector.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// The whole lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        whole_lines(&self.read)
    }

    /// Reads until all of these lines have come.
    pub(crate) fn until(&mut self, wanted: &BTreeSet<String>) {
        let mut part = vec![0; 64 * 1024];
        loop {
            let lines = self.lines();
            let seen: BTreeSet<&String> = lines.iter().collect();
            if wanted.iter().all(|line| seen.contains(line)) {
                return;
            }
            let length = self.stream.read(&mut part).unwrap();
            assert_ne!(length, 0, "the collector closed the connection");
            self.read.extend(&part[..length]);
        }
    }
}

/// The lines of what was read, without the collector's own, and without a half one at its end.
pub(crate) fn whole_lines(read: &[u8]) -> Vec<String> {
    let end = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = std::str::from_utf8(&read[..end]).unwrap().lines();
    lines.filter(|line| !is_its_own(line)).map(str::to_owned).collect()
}

/// Holds that these lines of one connection are whole, are among those that were sent, and that each series
/// goes forward in time but for where it is written again.
pub(crate) fn assert_in_order(lines: &[String]) {
    let mut newest = std::collections::BTreeMap::new();
    for line in lines {
        let parts: Vec<&str> = line.split(' ').collect();
        let [path, value, second] = parts[..] else { panic!("no whole line: {line:?}") };
        assert!(path.starts_with("level;k=path") && path.ends_with(";service.name=shop"), "{line:?}");
        let (value, second): (u64, u64) = (value.parse().unwrap(), second.parse().unwrap());
        assert_eq!(second % 1_700_000_000, value, "{line:?}");
        let before = newest.insert(path, second);
        assert!(before.is_none_or(|before| before < second), "{line:?} after {before:?}");
    }
}
