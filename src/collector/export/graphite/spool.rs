//! The spool: what was acknowledged and carbon may still need, in a folder, so that no end of this process loses
//! it.
//!
//! An append-only log in segments, one record for each batch that was acknowledged. Room is reserved on the disk
//! before a batch is admitted, so that a full disk refuses it while its sender still has it; a record is written
//! before the batch is acknowledged (a kill loses nothing), and brought to the disk every second (a power cut
//! loses at most that). A segment goes when the replay window has left it; while others are begun, its file becomes
//! one of them.
//!
//! It must not drop what was acknowledged, except for what is older than `--spool-age`, and what the disk
//! does not give back; both are counted.

mod clock;
mod folder;
mod fresh;
mod keeper;
mod log;
mod presence;
mod reader;
mod record;
mod segment;
mod sizes;
mod state;
mod totals;
mod window;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    clock::{Clock, Note},
    folder::{Folder, Position, segment_name},
    log::Log,
    record::Head,
    segment::Segment,
    totals::Totals,
    window::Window,
};
pub use self::{
    log::OPEN_FILES,
    reader::Reader,
    sizes::GROWTH,
    state::{Entries, Identity, Values, identity},
};
use super::{Lines, PLACE};
use crate::{
    collector::{
        batch::Signal,
        stats::{Event, Stats},
    },
    config::SpoolSettings,
};

/// How long what was written may be only in the system's memory.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Segments are this large, or a sixteenth of the spool where that is less.
const LARGEST_SEGMENT: u64 = 8 * 1024 * 1024;
const SMALLEST_SEGMENT: u64 = 64 * 1024;
const SEGMENTS: u64 = 16;
/// What is kept of series may take this share of the spool, or of its volume where that is smaller; it is on the disk
/// twice while it is written anew, and the lines need room beside it.
const SHARE_OF_TOTALS: u64 = 4;

/// A spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the folder.
    #[error(
        "the folder of --spool, {}, is in use by process {process}: stop that one, or give another folder",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process's id, as it noted it.
        process: String,
    },
    /// The folder, or a file in it, cannot be used.
    #[error(
        "cannot use {} for --spool: {source}; {}",
        folder.display(),
        folder::remedy(folder, source)
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// What is in a folder, shared by the pipeline that appends and the connection that reads.
#[derive(Debug)]
pub struct Spool {
    /// Gone once the spool is closed; locked while it is brought to the disk, and while its state is read.
    folder: Mutex<Option<Folder>>,
    limit: u64,
    log: Mutex<Log>,
    stats: Arc<Stats>,
    clock: Clock,
    arrived: Notify,
    released: Notify,
    /// Up to where damage and loss were counted.
    told: Mutex<u64>,
    /// Another process has the folder.
    lost: CancellationToken,
}

/// What a spool holds now, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Not yet written to carbon.
    pub waiting: u64,
    /// How long the oldest of it has been waiting.
    pub waiting_for: Duration,
    /// On the disk: what waits, what may be written again, and room that is reserved.
    pub on_disk: u64,
    /// The most on the disk.
    pub limit: u64,
}

impl Spool {
    /// Takes the folder of `settings`, with what an earlier process left there, and keeps what was written to
    /// carbon for `replay`.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(
        settings: &SpoolSettings,
        replay: Duration,
        stats: Arc<Stats>,
    ) -> Result<(Arc<Self>, Reader), OpenError> {
        let failed = |source| OpenError::Folder { folder: settings.folder.clone(), source };
        let folder = Folder::open(&settings.folder)?;
        let (segments, torn) = left(&folder).map_err(failed)?;
        if let Some(bytes) = torn {
            stats.add(Event::Damaged, PLACE, Signal::Metrics, "torn", 1);
            tracing::warn!(
                bytes,
                "the spool ended in a part of a record that was never acknowledged; it is cut off"
            );
        }
        let first = segments.first().map_or(0, |segment| segment.base);
        let last = segments.last().map_or(0, Segment::end);
        // Without a position nobody knows what carbon has: all of it is sent.
        let noted = folder.position().unwrap_or(Position { start: first, written: first });
        // After a power cut, carbon may have more than the disk.
        let end = last.max(noted.written);
        let window = Window::new(replay, noted.start.clamp(first, end), noted.written.clamp(first, end));
        let limit = settings.limit as u64;
        let room = folder.volume().map_or(limit, |volume| volume.min(limit));
        let segment = (room / SEGMENTS).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
        let totals = Totals::open(&settings.folder, room / SHARE_OF_TOTALS).map_err(failed)?;
        let mut log = Log::new(settings.folder.clone(), segments, end, segment, limit, window, totals);
        log.find_oldest();
        log.covered = match state::covered(&settings.folder) {
            // Counted when it is loaded; a new one begins with what the segments hold.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => 0,
            covered => covered.map_err(failed)?,
        };
        let (clock, jump) = Clock::resume(folder.clocks(), Note::of_system(), Instant::now());
        if let Some(seconds) = jump {
            tracing::warn!(
                seconds,
                "the system's clock is off by more than a minute from the time that passed since the spool was used last: \
                 it was set, or the system was off; nothing counts as older for it"
            );
        }
        let waiting = log.waiting();
        if waiting > 0 {
            tracing::info!(
                bytes = waiting,
                "the spool holds what an earlier process could not write to carbon"
            );
        }
        let spool = Arc::new(Self {
            folder: Mutex::new(Some(folder)),
            limit: settings.limit as u64,
            log: Mutex::new(log),
            stats,
            clock,
            arrived: Notify::new(),
            released: Notify::new(),
            told: Mutex::new(0),
            lost: CancellationToken::new(),
        });
        let kept = Arc::downgrade(&spool);
        let keep = move || {
            while let Some(spool) = kept.upgrade() {
                let open = spool.keep();
                drop(spool);
                if !open {
                    return;
                }
                thread::sleep(SYNC_EVERY);
            }
        };
        thread::Builder::new().name("spool".to_owned()).spawn(keep).map_err(failed)?;
        let reader = Reader::new(Arc::clone(&spool), settings.age);
        Ok((spool, reader))
    }

    /// Every value that was put beside lines, by an earlier process too; to be asked before the first batch.
    ///
    /// # Errors
    /// [`OpenError`] where a file cannot be read.
    pub fn load_state(&self) -> Result<Values, OpenError> {
        // The keeper would take over, and remove, what is being read.
        let _kept = self.folder.lock();
        let (folder, segments) = self.log.lock().places();
        let loaded = state::load(&folder, &segments);
        let (values, damaged) = loaded.map_err(|source| OpenError::Folder { folder, source })?;
        let mut log = self.log.lock();
        log.totals.load(&values);
        if let Err(error) = log.make_totals_room(0, Instant::now()) {
            tracing::warn!(%error, "the disk has no room to write the totals in the spool anew");
        }
        drop(log);
        if damaged > 0 {
            self.stats.add(Event::Damaged, PLACE, Signal::Metrics, "state", damaged);
            tracing::warn!(parts = damaged, "parts of the state in the spool cannot be read, and are lost");
        }
        Ok(values)
    }

    /// Room for one batch, or `None` where there is none: the spool or the disk is full. There is one reservation at
    /// a time.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, need: Need) -> Option<Room> {
        let Need { lines, state, new_state } = need;
        let reserved = self.log.lock().reserve((lines + state) as u64, new_state as u64, Instant::now());
        reserved.then(|| Room { spool: Arc::clone(self) })
    }

    /// How many bytes of state of further series may be kept.
    #[must_use]
    pub fn state_room(&self) -> usize {
        usize::try_from(self.log.lock().totals.room()).unwrap_or(usize::MAX)
    }

    /// How many bytes of these entries are of series that nothing is kept of yet.
    #[must_use]
    pub fn new_state(&self, entries: &Entries) -> usize {
        if entries.is_empty() { 0 } else { self.log.lock().totals.added(entries) }
    }

    /// The entries whose series the spool has already, and as many others as `room` bytes have room for; the bytes of the
    /// latter, and how many are left out.
    #[must_use]
    pub fn fitting_state(&self, entries: &Entries, room: usize) -> (Entries, usize, u64) {
        self.log.lock().totals.fitting(entries, room)
    }

    /// What it holds.
    #[must_use]
    pub fn held(&self) -> Held {
        let log = self.log.lock();
        let since = log.oldest.filter(|_| log.waiting() > 0);
        let waiting_for = since.map_or(0, |since| self.clock.now().saturating_sub(since));
        Held {
            waiting: log.waiting(),
            waiting_for: Duration::from_millis(waiting_for),
            on_disk: log.on_disk(),
            limit: self.limit,
        }
    }

    /// Whether what came last was refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.log.lock().why_refused().is_some()
    }

    /// Why nothing is acknowledged, where that is so.
    #[must_use]
    pub fn why_refused(&self) -> Option<String> {
        self.log.lock().why_refused().map(str::to_owned)
    }

    /// Resolves when another process has taken the folder: nothing can be acknowledged any more.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Resolves when everything in it was written to carbon, or there is no connection to write it to: then it is
    /// as well kept for the next start.
    pub async fn emptied(&self) {
        loop {
            let released = self.released.notified();
            if self.log.lock().has_nothing_to_write() {
                return;
            }
            released.await;
        }
    }

    /// Brings everything to the disk and gives the folder up; nothing is taken after that.
    pub fn close(&self) {
        let mut folder = self.folder.lock();
        self.log.lock().close();
        folder.take().iter().for_each(|folder| self.sync(folder));
    }
}

/// The segments in a folder, and how many bytes of the last one were cut off, if any.
fn left(folder: &Folder) -> io::Result<(Vec<Segment>, Option<u64>)> {
    let bases = folder.segments()?;
    let mut segments = Vec::new();
    let mut torn = None;
    for (at, &base) in bases.iter().enumerate() {
        let path = folder.path().join(segment_name(base));
        let length = std::fs::metadata(&path)?.len();
        let (data, allocated) = match bases.get(at + 1) {
            // What is missing of it is found, and counted, where it is read.
            Some(next) => (next - base, length),
            None => {
                let recovered = segment::recover(&path, base)?;
                torn = recovered.torn.then(|| length - recovered.data);
                (recovered.data, recovered.data)
            }
        };
        if data == 0 {
            std::fs::remove_file(path)?;
        } else {
            let open = bases.len() - at <= log::OPEN_FILES;
            let mut segment = Segment::left(path, base, data, allocated, open)?;
            if segment.named().is_some_and(|named| named.wrong().is_some()) {
                // What was damaged before is found, and counted, where it is read.
                segment.close();
            }
            segments.push(segment);
        }
    }
    Ok((segments, torn))
}

/// The most bytes that a batch needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Of its lines.
    pub lines: usize,
    /// Of the state with them.
    pub state: usize,
    /// Of that, what is of series that nothing is kept of yet.
    pub new_state: usize,
}

/// Room in a spool for one batch; given back when dropped.
#[derive(Debug)]
pub struct Room {
    spool: Arc<Spool>,
}

impl Room {
    /// Writes the lines of a batch, and the values that it changed, into the reserved room. When this returns, a
    /// kill does not lose them.
    pub fn commit(self, lines: Lines, state: &Entries) {
        let points = u32::try_from(lines.points).unwrap_or(u32::MAX);
        let mut log = self.spool.log.lock();
        let position = log.end();
        let received_unix_milli = self.spool.clock.now();
        log.append(Head { position, received_unix_milli, points }, state.bytes(), lines.text);
        drop(log);
        self.spool.arrived.notify_one();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.log.lock().release();
    }
}
