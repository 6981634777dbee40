//! Writes lines to carbon over TCP, or to standard output.
//!
//! It must not drop: what may not have arrived is written again on the next connection, in its order up to the
//! newest and from the first line of a batch (writing again is harmless: the last value for a second wins).

use std::{io, sync::Arc, time::Duration};

use socket2::TcpKeepalive;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    time::{Instant, timeout},
};

use super::{Lines, Outgoing, PLACE};
use crate::collector::{
    batch::Signal,
    export::State,
    queue::Queue,
    stats::{Event, Stats},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long carbon may take nothing before the connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection must last to count as one.
const SETTLED: Duration = Duration::from_secs(1);
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
/// By how many times a connection must outlast the pause before it to have lasted.
const LASTED: u32 = 30;
/// When a connection is certain to have lasted.
const CERTAIN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Writes to the first of `addresses` that takes a connection, and to the next when it goes; never returns.
pub async fn run(addresses: Vec<String>, outgoing: Outgoing, stats: Arc<Stats>, state: State) {
    let mut pause = FIRST_PAUSE;
    let mut writer = Writer { outgoing, stats, state, connections: 0 };
    for address in addresses.iter().cycle() {
        let (error, connected) = match connect(address).await {
            Ok(stream) => {
                let since = Instant::now();
                (writer.write(stream, address).await, since.elapsed())
            }
            Err(error) => (error, Duration::ZERO),
        };
        writer.outgoing.end();
        writer.state.down(address, &error);
        // A connection that lasted ends the series of failures. Each one begins with the whole window, so a carbon that
        // ends them soon is asked ever more seldom.
        pause = if connected > pause * LASTED { FIRST_PAUSE } else { pause };
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        writer.outgoing.expire().await;
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    // A machine that has gone without a word is noticed also while there is nothing to write.
    socket2::SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    Ok(stream)
}

struct Writer {
    outgoing: Outgoing,
    stats: Arc<Stats>,
    state: State,
    connections: u64,
}

impl Writer {
    /// Writes until the connection fails. Carbon never answers: an end of what can be read is the end.
    async fn write(&mut self, mut stream: TcpStream, address: &str) -> io::Error {
        self.state.connected();
        if self.connections > 0 {
            self.stats.add(Event::Reconnected, PLACE, Signal::Metrics, "", 1);
        }
        self.connections += 1;
        // From the first line of a batch, so that no half line stands at the front of a connection.
        self.outgoing.begin();
        let (reading, mut writing) = stream.split();
        // A peer that takes a connection only to end it is not back yet.
        let settled = tokio::time::sleep(SETTLED);
        tokio::pin!(settled);
        // It is said again then, where the log had too much of it before.
        let mut further = Some(CERTAIN);
        let mut lasted = false;
        loop {
            let piece = tokio::select! {
                biased;
                error = closed(&reading) => return error,
                () = &mut settled, if !lasted => {
                    self.state.up(address);
                    match further.take() {
                        Some(further) => settled.as_mut().reset(Instant::now() + further),
                        None => lasted = true,
                    }
                    continue;
                }
                piece = self.outgoing.next() => piece,
            };
            tokio::select! {
                biased;
                error = closed(&reading) => return error,
                written = write_all(&mut writing, &piece.text) => if let Err(error) = written {
                    return error;
                },
            }
            for (event, points) in [(Event::Sent, piece.points), (Event::Replayed, piece.again)] {
                if points > 0 {
                    self.stats.add(event, PLACE, Signal::Metrics, "", points);
                }
            }
            self.outgoing.written(&piece);
        }
    }
}

async fn write_all(stream: &mut WriteHalf<'_>, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match timeout(WRITE_TIMEOUT, stream.write(text)).await?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => text = &text[written..],
        }
    }
    Ok(())
}

async fn closed(stream: &ReadHalf<'_>) -> io::Error {
    let mut ignored = [0; 512];
    loop {
        if let Err(error) = stream.readable().await {
            return error;
        }
        match stream.try_read(&mut ignored) {
            Ok(0) => {
                return io::Error::new(io::ErrorKind::ConnectionReset, "carbon closed the connection");
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error,
        }
    }
}

/// Prints the lines instead; never returns while standard output can be written to.
pub async fn print(queue: Arc<Queue<Lines>>, stats: Arc<Stats>) {
    let mut output = tokio::io::stdout();
    loop {
        let lines = queue.next().await;
        let printed = async {
            output.write_all(&lines.text).await?;
            output.flush().await
        };
        match printed.await {
            Ok(()) => {
                stats.add(Event::Sent, PLACE, Signal::Metrics, "", lines.points);
                lines.done();
            }
            Err(error) => {
                // Whoever read the lines has gone: nobody is left to keep them for.
                tracing::warn!(%error, "standard output cannot be written to; its carbon lines are dropped");
                stats.add(Event::Dropped, PLACE, Signal::Metrics, "output_closed", lines.points);
                lines.done();
                drain(&queue, &stats).await;
            }
        }
    }
}

async fn drain(queue: &Arc<Queue<Lines>>, stats: &Stats) {
    loop {
        let lines = queue.next().await;
        stats.add(Event::Dropped, PLACE, Signal::Metrics, "output_closed", lines.points);
        lines.done();
    }
}
