//! A receiver of OTLP/HTTP that only counts requests.
//!
//! As [`super::carbon::Carbon`], it never sleeps while it is connected.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

pub(crate) struct Otlp {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Otlp {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, counted) = (stream.unwrap(), Arc::clone(&counted));
                thread::spawn(move || answer(stream, &counted));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, counted: &AtomicU64) {
    let mut buffer = vec![0; 256 * 1024];
    // What is there of a head, and how much of a body is still to come.
    let (mut head, mut body) = (Vec::new(), 0_usize);
    stream.set_nonblocking(true).unwrap();
    loop {
        let mut rest = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::yield_now();
                continue;
            }
            Err(_) => return,
        };
        while !rest.is_empty() {
            if body == 0 {
                head.extend_from_slice(rest);
                let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") else { break };
                let of_body = head.len() - end - 4;
                rest = &rest[rest.len() - of_body..];
                let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                body = length.parse().unwrap();
                head.clear();
            }
            let part = body.min(rest.len());
            (body, rest) = (body - part, &rest[part..]);
            if body == 0 {
                counted.fetch_add(1, Ordering::Relaxed);
                stream.write_all(ANSWER).unwrap();
            }
        }
    }
}
