//! A client of HTTP/1.0 and HTTP/1.1 that writes bytes: one request after the other or all at once.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{Answer, Piece, Sent, within},
    exchange::{Exchange, FRAME, Play, Reading, Version, Way},
    trial::Trial,
};

/// Makes the exchanges of one connection, in order, until one of them ends it.
pub(crate) async fn converse(trial: &Trial, version: Version, exchanges: &[Exchange], pipelined: bool) {
    let exchanges = exchanges.iter().map(|exchange| exchange.clone().fitting(version));
    let mut connection = Connection::open(trial).await;
    if !pipelined || version == Version::Http10 {
        for exchange in exchanges {
            let (sent, bytes) = request(trial, exchange, version, false);
            connection.stream.write_all(&bytes).await.unwrap();
            if !connection.follow(trial, &sent).await {
                return;
            }
        }
        return;
    }
    let (mut all, mut batch, mut ended) = (Vec::new(), Vec::new(), false);
    for exchange in exchanges {
        let (sent, bytes) = request(trial, exchange, version, ended);
        batch.extend(bytes);
        ended |= sent.exchange.ends_connection();
        // With further requests behind it, a server does not look whether the client is still there. And what stands
        // behind a body that nobody reads would be a part of it.
        let last = match sent.exchange.play {
            Play::Held { .. } | Play::Upload { .. } => sent.exchange.ends_connection(),
            _ => false,
        };
        all.push(sent);
        if last {
            break;
        }
    }
    connection.stream.write_all(&batch).await.unwrap();
    for sent in &all {
        if !connection.follow(trial, sent).await {
            return;
        }
    }
}

/// Writes all requests at once and goes away without a look at what comes of them.
pub(crate) async fn abandon(trial: &Trial, version: Version, count: u8, way: Way) {
    let mut connection = Connection::open(trial).await;
    let mut batch = Vec::new();
    for _ in 0..count {
        let exchange = Exchange { method: "GET", play: Play::Abandoned };
        batch.extend(request(trial, exchange, version, false).1);
    }
    connection.stream.write_all(&batch).await.unwrap();
    connection.leave(way).await;
}

/// The bytes of a request, as far as they are sent before the answer is there.
fn request(trial: &Trial, exchange: Exchange, version: Version, never: bool) -> (Sent, Vec<u8>) {
    let sent = trial.expect(exchange, version, never);
    let Exchange { method, play } = &sent.exchange;
    let mut head = format!(
        "{method} {}?id={} HTTP/{}\r\nHost: test\r\n",
        sent.exchange.path(),
        sent.id,
        version.label()
    );
    if version == Version::Http10 {
        head.push_str("Connection: keep-alive\r\n");
    } else if sent.exchange.ends_connection() {
        head.push_str("Connection: close\r\n");
    }
    let Play::Upload { body, reading } = play else {
        head.push_str("\r\n");
        return (sent, head.into_bytes());
    };
    let now = if matches!(reading, Reading::First | Reading::Left(_)) { 1 } else { body.parts };
    if body.announced {
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.bytes()));
        head.push_str(&FRAME.repeat(now.into()));
    } else {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        head.push_str(&format!("{:x}\r\n{FRAME}\r\n", FRAME.len()).repeat(now.into()));
        if now == body.parts && !matches!(reading, Reading::First | Reading::Left(_)) {
            head.push_str("0\r\n\r\n");
        }
    }
    (sent, head.into_bytes())
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// This many bytes are missing.
    Length(usize),
    /// This many bytes are missing of the present chunk.
    Chunks(usize),
    UntilClosed,
}

struct Connection {
    stream: TcpStream,
    /// What was read and not yet looked at.
    buffer: Vec<u8>,
    framing: Framing,
    /// Whether the server keeps the connection behind this answer.
    kept: bool,
}

impl Connection {
    async fn open(trial: &Trial) -> Self {
        let stream = trial.connect().await;
        Self { stream, buffer: Vec::new(), framing: Framing::Length(0), kept: true }
    }

    /// Whether the connection can be used again after `sent`.
    async fn follow(&mut self, trial: &Trial, sent: &Sent) -> bool {
        sent.follow(trial, self).await;
        if let Some(way) = sent.exchange.leaves() {
            self.leave(way).await;
        }
        assert!(self.kept || sent.exchange.ends_connection() || sent.version == Version::Http10, "{sent:?}");
        self.kept && !sent.exchange.ends_connection() && !matches!(self.framing, Framing::UntilClosed)
    }

    async fn leave(&mut self, way: Way) {
        match way {
            Way::Closes => {}
            Way::Resets => self.stream.set_zero_linger().unwrap(),
            Way::LetsGo => {
                self.stream.shutdown().await.unwrap();
                // The server may have sent the rest, and ends the connection in any case.
                let _ = within("the server's end", self.stream.read_to_end(&mut self.buffer)).await;
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// What stands before the next `end`, which is taken out too.
    async fn until(&mut self, end: &str) -> io::Result<String> {
        loop {
            let found = self.buffer.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let taken: Vec<_> = self.buffer.drain(..at + end.len()).collect();
                return Ok(String::from_utf8(taken[..at].to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    /// Up to `most` bytes, at least one.
    async fn take(&mut self, most: usize) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        let taken = most.min(self.buffer.len());
        self.buffer.drain(..taken);
        Ok(taken)
    }
}

impl Answer for Connection {
    async fn status(&mut self, method: &str) -> io::Result<u16> {
        let head = self.until("\r\n\r\n").await?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        self.kept = match field("connection") {
            Some(option) => option == "keep-alive",
            None => !head.starts_with("http/1.0"),
        };
        self.framing = if method == "HEAD" || matches!(status, 204 | 304) {
            Framing::Length(0)
        } else if field("transfer-encoding") == Some("chunked") {
            Framing::Chunks(0)
        } else if let Some(length) = field("content-length") {
            Framing::Length(length.parse().unwrap())
        } else {
            Framing::UntilClosed
        };
        Ok(status)
    }

    async fn piece(&mut self) -> io::Result<Piece> {
        match self.framing {
            Framing::Length(0) => Ok(Piece::End),
            Framing::Length(left) => {
                let taken = self.take(left).await?;
                self.framing = Framing::Length(left - taken);
                Ok(Piece::Bytes(taken))
            }
            Framing::Chunks(0) => {
                let size = usize::from_str_radix(&self.until("\r\n").await?, 16).unwrap();
                if size == 0 {
                    self.until("\r\n").await?;
                    return Ok(Piece::End);
                }
                self.framing = Framing::Chunks(size);
                Ok(Piece::Bytes(0))
            }
            Framing::Chunks(left) => {
                let taken = self.take(left).await?;
                if taken == left {
                    self.until("\r\n").await?;
                }
                self.framing = Framing::Chunks(left - taken);
                Ok(Piece::Bytes(taken))
            }
            Framing::UntilClosed => match self.take(usize::MAX).await {
                Ok(taken) => Ok(Piece::Bytes(taken)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Piece::End),
                Err(error) => Err(error),
            },
        }
    }
}
