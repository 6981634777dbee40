//! What a connection writes: first, again, what was written lately, then what waits.
//!
//! Carbon acknowledges nothing: what a write left in the buffers of the system, of the network or of carbon
//! itself is lost with it, and nobody can tell how much that is. In memory at most [`WINDOW`] is kept for that.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{Lines, Piece, spool::Reader};
use crate::collector::queue::{Lease, Queue};

/// More than the buffers of both systems hold (on Linux up to 4 MiB to send and 6 MiB to receive).
const WINDOW: usize = 32 * 1024 * 1024;

/// What is written next, on one connection after another.
#[derive(Debug)]
pub struct Outgoing(From);

#[derive(Debug)]
enum From {
    Memory(Box<Memory>),
    Spool(Reader),
}

#[derive(Debug)]
struct Memory {
    queue: Arc<Queue<Lines>>,
    replay: Replay,
    /// How many batches of the window this connection has.
    replayed: usize,
    /// What is being written; it goes back to the front of the queue where that fails.
    lease: Option<Lease<Lines>>,
}

impl Outgoing {
    /// From a queue in memory.
    #[must_use]
    pub fn of_queue(queue: Arc<Queue<Lines>>) -> Self {
        let memory = Memory { queue, replay: Replay::default(), replayed: 0, lease: None };
        Self(From::Memory(Box::new(memory)))
    }

    /// From a spool.
    #[must_use]
    pub const fn of_spool(reader: Reader) -> Self {
        Self(From::Spool(reader))
    }

    /// A new connection begins: with the window.
    pub fn begin(&mut self) {
        match &mut self.0 {
            From::Memory(memory) => {
                memory.replayed = 0;
                memory.lease = None;
            }
            From::Spool(reader) => reader.begin(),
        }
    }

    /// The connection has ended.
    pub fn end(&mut self) {
        if let From::Spool(reader) = &self.0 {
            reader.end();
        }
    }

    /// What is to be written next, once there is something; the same again until it is
    /// [written](Self::written).
    pub async fn next(&mut self) -> Piece {
        match &mut self.0 {
            From::Memory(memory) => memory.next().await,
            From::Spool(reader) => reader.next().await,
        }
    }

    /// The piece that was next has been written.
    pub fn written(&mut self, piece: &Piece) {
        match &mut self.0 {
            From::Memory(memory) => memory.written(),
            From::Spool(reader) => reader.written(piece),
        }
    }

    /// Drops what became too old while there is no connection.
    pub async fn expire(&self) {
        if let From::Spool(reader) = &self.0 {
            reader.expire().await;
        }
    }
}

impl Memory {
    async fn next(&mut self) -> Piece {
        if let Some((text, again)) = self.replay.batches.get(self.replayed) {
            return Piece { text: text.clone(), again: *again, ..Piece::default() };
        }
        let lease = match self.lease.take() {
            Some(lease) => lease,
            None => self.queue.next().await,
        };
        let piece = Piece { text: lease.text.clone(), points: lease.points, ..Piece::default() };
        self.lease = Some(lease);
        piece
    }

    fn written(&mut self) {
        match self.lease.take() {
            Some(lease) => {
                self.replay.push(lease.text.clone(), lease.points);
                self.replayed = self.replay.batches.len();
                lease.done();
            }
            None => self.replayed += 1,
        }
    }
}

/// The batches that were written last, with their points, oldest first.
#[derive(Debug, Default)]
struct Replay {
    batches: VecDeque<(Bytes, u64)>,
    bytes: usize,
}

impl Replay {
    /// Remembers a batch that was written. The newest is kept whatever its size.
    fn push(&mut self, text: Bytes, points: u64) {
        self.bytes += text.len();
        self.batches.push_back((text, points));
        while self.batches.len() > 1 && self.bytes > WINDOW {
            if let Some((text, _)) = self.batches.pop_front() {
                self.bytes -= text.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_batches_are_kept_within_the_window() {
        let mut replay = Replay::default();
        for batch in 0..5_u8 {
            replay.push(vec![batch; WINDOW / 4].into(), 1);
        }
        let kept: Vec<u8> = replay.batches.iter().map(|(text, _)| text[0]).collect();
        assert_eq!(kept, [1, 2, 3, 4]);

        replay.push(vec![9; WINDOW + 1].into(), 1);
        assert_eq!(replay.batches.len(), 1, "a batch larger than the window is kept alone");
        assert_eq!(replay.bytes, WINDOW + 1);
    }

    #[tokio::test]
    async fn each_connection_begins_with_what_the_one_before_it_had() {
        let queue = Queue::new(1000);
        let mut outgoing = Outgoing::of_queue(Arc::clone(&queue));
        let put = |text: &'static str| {
            let room = queue.reserve(text.len()).unwrap();
            room.commit(Lines { text: text.into(), points: 1 }, text.len());
        };
        put("one");
        put("two");
        outgoing.begin();
        let first = outgoing.next().await;
        assert_eq!((&first.text[..], first.points, first.again), (&b"one"[..], 1, 0));
        outgoing.written(&first);
        assert_eq!(outgoing.next().await.text, "two");
        // That connection ended before it had the second.
        outgoing.begin();
        put("three");
        for (text, points, again) in [("one", 0, 1), ("two", 1, 0), ("three", 1, 0)] {
            let piece = outgoing.next().await;
            assert_eq!((&piece.text[..], piece.points, piece.again), (text.as_bytes(), points, again));
            outgoing.written(&piece);
        }
        assert_eq!(queue.bytes(), 0);
    }
}
