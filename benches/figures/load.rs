//! Requests over connections that are kept, each with one request at a time, from one thread.
//!
//! It must cost as little as it can, since it shares the machine with what it measures: it looks at the first
//! answer of a connection and from then on only counts bytes. And it never sleeps, since whoever wakes a thread on
//! another core pays for that: here the server, with more than a microsecond of each request.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    task::{self, JoinSet},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// How many connections ask, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
}

impl Load {
    /// Requests that `server` answered.
    pub(crate) fn run(&self, server: SocketAddr) -> f64 {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        let answered = runtime.block_on(async {
            let until = Instant::now() + self.duration;
            let awake = task::spawn(async {
                loop {
                    task::yield_now().await;
                }
            });
            let mut connections = JoinSet::new();
            for _ in 0..self.connections {
                connections.spawn(ask(server, until));
            }
            let answered = connections.join_all().await.into_iter().sum::<u32>();
            awake.abort();
            answered
        });
        f64::from(answered)
    }
}

async fn ask(server: SocketAddr, until: Instant) -> u32 {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = vec![0; 4_096];
    let length = first(&mut stream, &mut answer).await;
    let mut answered = 0;
    while Instant::now() < until {
        stream.write_all(REQUEST).await.unwrap();
        stream.read_exact(&mut answer[..length]).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..length]));
        answered += 1;
    }
    answered
}

/// The length of an answer; all answers to the same request have the same.
async fn first(stream: &mut TcpStream, answer: &mut [u8]) -> usize {
    stream.write_all(REQUEST).await.unwrap();
    let mut read = 0;
    loop {
        read += stream.read(&mut answer[read..]).await.unwrap();
        let text = std::str::from_utf8(&answer[..read]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == announced.parse::<usize>().unwrap() {
                return read;
            }
        }
    }
}
