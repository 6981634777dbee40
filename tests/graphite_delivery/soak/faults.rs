//! What is done to the program and its carbons, and when.

use std::{fmt, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Kill,
    Stop,
    NewSeries,
    Close,
    Reset,
    Stall,
    Gone,
    FailOver,
    Garbage,
    FullDisk,
}

impl Fault {
    /// In turn. Those that begin with another process come first, and in the first half of the time only: what is
    /// left is to tell of its memory.
    pub(super) const ALL: [Self; 10] = [
        Self::Kill,
        Self::Stop,
        Self::NewSeries,
        Self::Close,
        Self::Reset,
        Self::Stall,
        Self::Gone,
        Self::FailOver,
        Self::Garbage,
        Self::FullDisk,
    ];

    pub(super) const fn ends_the_process(self) -> bool {
        matches!(self, Self::Kill | Self::Stop)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Kill => "SIGKILL, with carbon away",
            Self::Stop => "SIGTERM",
            Self::NewSeries => "a burst of new series",
            Self::Close => "carbon closes the connection",
            Self::Reset => "carbon resets it within a line",
            Self::Stall => "carbon stops reading",
            Self::Gone => "both carbons are away",
            Self::FailOver => "the carbon in use is away",
            Self::Garbage => "garbage to every receiver",
            Self::FullDisk => "a disk without room",
        })
    }
}

/// The times of a soak, all from its length.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) length: Duration,
    /// From fault to fault.
    pub(super) every: Duration,
    /// How long what lasts lasts.
    pub(super) lasting: Duration,
    /// `--graphite-replay`: longer than the two times that a point may be in nothing but the buffers of the system
    /// and carbon's cache.
    pub(super) replay: Duration,
    /// How long carbon has what it took in its cache only.
    pub(super) cached: Duration,
}

impl Times {
    pub(super) fn of(length: Duration) -> Self {
        let every = (length / 10).clamp(Duration::from_secs(1), Duration::from_secs(60));
        let replay = (every / 2).max(Duration::from_secs(4));
        Self { length, every, lasting: every / 4, replay, cached: every / 12 }
    }

    /// How long all that was acknowledged may take to arrive once nothing is in its way: the connection pauses for
    /// up to 10 s, and the window comes first.
    pub(super) fn patience(&self) -> Duration {
        2 * self.every + Duration::from_secs(60)
    }
}
