//! The lines that carbon gets, and the peers that stand in for carbon: real listeners that read as the test
//! tells them.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use opentelemetry_proto::tonic::metrics::v1::{SummaryDataPoint, summary_data_point::ValueAtQuantile};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::*;

/// Where carbon would listen.
pub(crate) struct Carbon(TcpListener);

impl Carbon {
    pub(crate) fn listen() -> Self {
        Self::on(StdListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: StdListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        Self(TcpListener::from_std(listener).unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) async fn accept(&self) -> Connection {
        let (stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("nobody connects").unwrap();
        Connection { stream, read: Vec::new() }
    }
}

/// A connection from the collector.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) read: Vec<u8>,
}

impl Connection {
    /// Reads exactly this many bytes more.
    pub(crate) async fn read(&mut self, bytes: usize) {
        let end = self.read.len() + bytes;
        while self.read.len() < end {
            self.read_some(end - self.read.len()).await;
        }
    }

    /// Reads what is there, once something is; at most that much.
    pub(crate) async fn read_some(&mut self, bytes: usize) {
        let mut part = vec![0; bytes.min(64 * 1024)];
        let length = timeout(PATIENCE, self.stream.read(&mut part)).await.expect("nothing comes").unwrap();
        assert_ne!(length, 0, "the collector closed the connection");
        self.read.extend(&part[..length]);
    }

    /// The whole lines so far, but for what the collector says of itself every ten seconds.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.whole().filter(|line| !line.contains("pushpull.collector.")).collect()
    }

    fn whole(&self) -> impl Iterator<Item = &str> {
        let end = self.read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        std::str::from_utf8(&self.read[..end]).unwrap().lines()
    }

    /// Reads until that many lines are there; no more may be there then.
    pub(crate) async fn exactly(&mut self, lines: usize) -> Vec<&str> {
        while self.lines().len() < lines {
            self.read_some(usize::MAX).await;
        }
        assert_eq!(self.lines().len(), lines, "{:?}", self.lines());
        self.lines()
    }

    /// Reads until all of these lines have come.
    pub(crate) async fn until(&mut self, wanted: &BTreeSet<String>) {
        let (mut seen, mut missing) = (0, wanted.clone());
        loop {
            let end = self.read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in std::str::from_utf8(&self.read[seen..end]).unwrap().lines() {
                missing.remove(line);
            }
            seen = end;
            if missing.is_empty() {
                return;
            }
            self.read_some(usize::MAX).await;
        }
    }

    /// Ends it so that the collector gets a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Waits for the collector to end it, and reads what is left.
    pub(crate) async fn closed(mut self) -> String {
        timeout(PATIENCE, self.stream.read_to_end(&mut self.read)).await.expect("it stays open").unwrap();
        String::from_utf8(self.read).unwrap()
    }
}

#[tokio::test]
async fn lines_are_exactly_these() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let quantiles =
        [(0.5, 0.25), (0.99, f64::NAN)].map(|(quantile, value)| ValueAtQuantile { quantile, value });
    let rpc = SummaryDataPoint {
        time_unix_nano: seconds(T + 4),
        count: 7,
        sum: 2.5,
        quantile_values: quantiles.to_vec(),
        ..SummaryDataPoint::default()
    };
    let mut slow = buckets(T + 3, &[0.005, 1.0], &[1, 2, 3], 9.25);
    slow.attributes = attributes(&[("endpoint", "/database"), ("le", "mine")]);
    collector
        .take(vec![
            counter("requests", CUMULATIVE, vec![int(&[("endpoint", "/")], T, 20)]),
            counter("jobs", DELTA, vec![int(&[], T, 2), int(&[], T + 1, 3)]),
            gauge("free space", vec![double(&[("disk", "a b")], T + 2, -0.5)]),
            histogram("slow", CUMULATIVE, vec![slow]),
            summary("rpc", vec![rpc]),
        ])
        .await;
    let mut connection = carbon.accept().await;
    let endpoint = "endpoint=/database;exported_le=mine";
    assert_eq!(
        connection.exactly(12).await,
        [
            "requests;endpoint=/;service.name=shop 20 1700000000".to_owned(),
            "jobs;service.name=shop 2 1700000000".to_owned(),
            "jobs;service.name=shop 5 1700000001".to_owned(),
            // The hash that keeps what was replaced different: the first digits of the original's SHA-256.
            "free_space_c4d1e1f7e311a0e98b4c;disk=a_b_c8687a08aa5d6ed20443;service.name=shop -0.5 1700000002"
                .to_owned(),
            format!("slow.bucket;{endpoint};le=0.005;service.name=shop 1 1700000003"),
            format!("slow.bucket;{endpoint};le=1;service.name=shop 3 1700000003"),
            format!("slow.bucket;{endpoint};le=+Inf;service.name=shop 6 1700000003"),
            format!("slow.sum;{endpoint};service.name=shop 9.25 1700000003"),
            format!("slow.count;{endpoint};service.name=shop 6 1700000003"),
            "rpc;quantile=0.5;service.name=shop 0.25 1700000004".to_owned(),
            "rpc.sum;service.name=shop 2.5 1700000004".to_owned(),
            "rpc.count;service.name=shop 7 1700000004".to_owned(),
        ]
    );
}

#[tokio::test]
async fn statsd_reaches_carbon_after_a_flush() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {} --statsd-flush 20ms", carbon.address()));
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(b"visits:2|c|#page:home\nvisits:3|c|#page:home", collector.statsd).await.unwrap();
    let mut connection = carbon.accept().await;
    // Where the first flush is in another second than the first packet, a line of zero stands before it.
    while !connection.lines().iter().any(|line| line.starts_with("visits;page=home 5 ")) {
        connection.read(1).await;
    }
}

/// What the collector counts of itself is where the rest is.
#[tokio::test]
async fn its_own_metrics_go_to_graphite_too() {
    let carbon = Carbon::listen();
    let flags = format!("--graphite {} --graphite-prefix prod", carbon.address());
    let collector = Running::start(&flags);
    collector.take(vec![gauge("fuel", vec![int(&[], T, 5)])]).await;
    let mut connection = carbon.accept().await;
    let host = std::process::Command::new("uname").arg("-n").output().unwrap().stdout;
    let sent =
        format!("sent;host={};signal=metrics;sink=graphite 1 ", String::from_utf8(host).unwrap().trim());
    for own in [&sent, "accepted;", "queue_bytes;", "series;", "series_limit;"] {
        let start = format!("prod.pushpull.collector.{own}");
        while !connection.whole().any(|line| line.starts_with(&start)) {
            connection.read_some(usize::MAX).await;
        }
    }
}
