//! Writes queued lines to carbon over TCP, or to standard output.
//!
//! It must not drop: a batch that may not have arrived whole is written again on the next connection, from
//! its first line (writing again is harmless: the last value for a second wins).

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

use super::Lines;
use crate::collector::{
    batch::Signal,
    export::State,
    queue::Queue,
    stats::{Event, Stats},
};

/// The sink's name in counts.
pub const PLACE: &str = "graphite";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long carbon may take nothing before the connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Writes to the first of `addresses` that takes a connection, and to the next when it goes; never returns.
pub async fn run(addresses: Vec<String>, queue: Arc<Queue<Lines>>, stats: Arc<Stats>, state: State) {
    let mut pause = FIRST_PAUSE;
    let mut unsent = None;
    for address in addresses.iter().cycle() {
        let (error, connected) = match connect(address).await {
            Ok(mut stream) => {
                state.up(address);
                let since = Instant::now();
                let error = write(&mut stream, &queue, &mut unsent, &stats).await;
                (error, since.elapsed())
            }
            Err(error) => (error, Duration::ZERO),
        };
        state.down(address, &error);
        // A connection that lasted ends the series of failures.
        pause = if connected > LONGEST_PAUSE { FIRST_PAUSE } else { pause };
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Writes until the connection fails. Carbon never answers: anything to read is the end.
async fn write(
    stream: &mut TcpStream,
    queue: &Arc<Queue<Lines>>,
    unsent: &mut Option<crate::collector::queue::Lease<Lines>>,
    stats: &Stats,
) -> std::io::Error {
    loop {
        let lines = match unsent.take() {
            Some(lines) => lines,
            None => tokio::select! {
                biased;
                error = closed(stream) => return error,
                lines = queue.next() => lines,
            },
        };
        if let Err(error) = write_all(stream, &lines.text).await {
            *unsent = Some(lines);
            return error;
        }
        stats.add(Event::Sent, PLACE, Signal::Metrics, "", lines.points);
    }
}

async fn write_all(stream: &mut TcpStream, mut text: &[u8]) -> std::io::Result<()> {
    while !text.is_empty() {
        match timeout(WRITE_TIMEOUT, stream.write(text)).await?? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            written => text = &text[written..],
        }
    }
    Ok(())
}

async fn closed(stream: &TcpStream) -> std::io::Error {
    let mut ignored = [0; 512];
    loop {
        if let Err(error) = stream.readable().await {
            return error;
        }
        match stream.try_read(&mut ignored) {
            Ok(0) => {
                return std::io::Error::new(
                    std::io::ErrorKind::ConnectionReset,
                    "carbon closed the connection",
                );
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
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
            Ok(()) => stats.add(Event::Sent, PLACE, Signal::Metrics, "", lines.points),
            Err(error) => {
                // Whoever read the lines has gone: nobody is left to keep them for.
                tracing::warn!(%error, "standard output cannot be written to; its carbon lines are dropped");
                stats.add(Event::Dropped, PLACE, Signal::Metrics, "output_closed", lines.points);
                drain(&queue, &stats).await;
            }
        }
    }
}

async fn drain(queue: &Arc<Queue<Lines>>, stats: &Stats) {
    loop {
        let lines = queue.next().await;
        stats.add(Event::Dropped, PLACE, Signal::Metrics, "output_closed", lines.points);
    }
}
