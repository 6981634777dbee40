//! Graphite: carbon lines, what waits for carbon in memory or on disk, and the connection that writes it.

mod buffers;
pub mod connection;
pub mod lines;
mod replay;
pub mod spool;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::buffers::Buffers;
pub use self::replay::Outgoing;
use self::spool::{Entries, Held, Need, Spool};
use crate::{
    collector::queue::{Queue, Reservation},
    config::{GraphiteLines, GraphiteNames},
    naming::graphite::{Names, Style},
};

/// The sink's name in counts.
pub const PLACE: &str = "graphite";

/// The names that the settings ask for.
#[must_use]
pub fn names(settings: &GraphiteLines) -> Names {
    let style = match settings.names {
        GraphiteNames::Tagged => Style::Tagged,
        GraphiteNames::Dotted => Style::Dotted,
        GraphiteNames::CarbonExporter => Style::CarbonExporter,
    };
    Names::new(style, &settings.prefix)
}

/// Lines that were acknowledged together.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Whole lines, each with its newline.
    pub text: Bytes,
    /// The data points in them.
    pub points: u64,
}

/// Lines that are written together.
#[derive(Debug, Default)]
pub struct Piece {
    /// Whole lines; none where there is nothing to write, only to go on behind it.
    text: Bytes,
    /// The data points in them that were never written.
    points: u64,
    /// The data points in them that were written before, on another connection.
    again: u64,
    /// Data points that are left out, since they became too old.
    expired: u64,
    /// What could not be read of the spool.
    damage: Option<String>,
    /// Where the spool goes on behind it.
    end: u64,
}

/// What waits for carbon: in memory, or on disk with `--spool`.
#[derive(Clone, Debug)]
pub enum Backlog {
    /// In memory: an end of the process loses it.
    Memory(Arc<Queue<Lines>>),
    /// On disk.
    Spool(Arc<Spool>),
}

/// Room in a backlog for the lines of one batch.
#[derive(Debug)]
pub enum Room {
    /// In memory.
    Memory(Reservation<Lines>),
    /// On disk.
    Spool(spool::Room),
}

impl Backlog {
    /// Room for that, or `None` where there is none.
    #[must_use]
    pub fn reserve(&self, need: Need) -> Option<Room> {
        match self {
            Self::Memory(queue) => queue.reserve(need.lines + need.state).map(Room::Memory),
            Self::Spool(spool) => spool.reserve(need).map(Room::Spool),
        }
    }

    /// How many bytes may be kept of further series beyond this process; without a spool nothing is.
    #[must_use]
    pub fn state_room(&self) -> usize {
        match self {
            Self::Memory(_) => usize::MAX,
            Self::Spool(spool) => spool.state_room(),
        }
    }

    /// How many bytes of these entries are of series that nothing is kept of yet.
    #[must_use]
    pub fn new_state(&self, entries: &Entries) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Spool(spool) => spool.new_state(entries),
        }
    }

    /// As [`Spool::fitting_state`]; without a spool, all of them.
    #[must_use]
    pub fn fitting_state(&self, entries: &Entries, room: usize) -> (Entries, usize, u64) {
        match self {
            Self::Memory(_) => (entries.clone(), 0, 0),
            Self::Spool(spool) => spool.fitting_state(entries, room),
        }
    }

    /// The bytes that wait for carbon.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Memory(queue) => queue.bytes(),
            Self::Spool(spool) => usize::try_from(spool.held().waiting).unwrap_or(usize::MAX),
        }
    }

    /// The most bytes that it holds.
    #[must_use]
    pub fn limit(&self) -> usize {
        match self {
            Self::Memory(queue) => queue.limit(),
            Self::Spool(spool) => usize::try_from(spool.held().limit).unwrap_or(usize::MAX),
        }
    }

    /// Whether what comes now would be refused, as far as it can be known.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Memory(queue) => queue.is_full(),
            Self::Spool(spool) => spool.is_full(),
        }
    }

    /// Why what comes now would be refused, where a spool says so.
    #[must_use]
    pub fn why_refused(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Spool(spool) => spool.why_refused(),
        }
    }

    /// Resolves when another process has the folder of the spool; never without one.
    pub async fn lost(&self) {
        match self {
            Self::Memory(_) => std::future::pending().await,
            Self::Spool(spool) => spool.lost().await,
        }
    }

    /// What is held on disk; `None` without a spool.
    #[must_use]
    pub fn spooled(&self) -> Option<Held> {
        match self {
            Self::Memory(_) => None,
            Self::Spool(spool) => Some(spool.held()),
        }
    }

    /// Resolves when nothing waits any more, or what waits is kept as well as it can be.
    pub async fn emptied(&self) {
        match self {
            Self::Memory(queue) => queue.emptied().await,
            Self::Spool(spool) => spool.emptied().await,
        }
    }

    /// Nothing is taken or written any more. Gives the data points that are lost with it, and for how long what is
    /// kept for the next start has been waiting.
    #[must_use]
    pub fn close(&self) -> (u64, Option<Duration>) {
        match self {
            Self::Memory(queue) => (queue.take_all().iter().map(|lines| lines.points).sum(), None),
            Self::Spool(spool) => {
                spool.close();
                let held = spool.held();
                (0, (held.waiting > 0).then_some(held.waiting_for))
            }
        }
    }
}

impl Room {
    /// Keeps the lines of a batch, and on disk `state` with them: they may be acknowledged when this returns.
    pub fn commit(self, lines: Lines, state: &Entries) {
        match self {
            Self::Memory(room) => {
                let bytes = lines.text.len();
                room.commit(lines, bytes);
            }
            Self::Spool(room) => room.commit(lines, state),
        }
    }
}
