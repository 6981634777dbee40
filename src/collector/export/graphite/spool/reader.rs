//! Reads the log for the connection: whole records, in order, from the start of the replay window on.
//!
//! It must not let damage stop it: what cannot be read is skipped, counted, and said once.

use std::{
    fs::File,
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Spool,
    record::{self, Found},
};
use crate::collector::{
    batch::Signal,
    export::graphite::{PLACE, Piece},
    stats::Event,
};

/// How much is read at once, unless one record is larger.
const READ: u64 = 1024 * 1024;
/// Before a segment is tried again that could not be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// The one reader of a spool.
#[derive(Debug)]
pub struct Reader {
    spool: Arc<Spool>,
    /// How old a record may be that was never written.
    age: Option<Duration>,
}

/// A stretch of a segment that has not been read.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// Where it is open.
    pub(super) file: Option<Arc<File>>,
    pub(super) base: u64,
    pub(super) from: u64,
    /// The end of the segment's records.
    pub(super) end: u64,
    /// How far the log was ever written to carbon.
    pub(super) written: u64,
}

impl Reader {
    pub(super) const fn new(spool: Arc<Spool>, age: Option<Duration>) -> Self {
        Self { spool, age }
    }

    /// A new connection begins: the window is read again.
    pub fn begin(&self) {
        self.spool.log.lock().window.rewind(Instant::now());
    }

    /// The connection has ended.
    pub fn end(&self) {
        self.spool.log.lock().window.end(Instant::now());
        self.spool.released.notify_one();
    }

    /// What is to be written next, once there is something; the same again until it is
    /// [written](Self::written).
    pub async fn next(&self) -> Piece {
        loop {
            let arrived = self.spool.arrived.notified();
            let part = {
                let mut log = self.spool.log.lock();
                if let Some(piece) = log.fresh(self.oldest_taken()) {
                    return piece;
                }
                log.unread()
            };
            match part {
                Some(part) => {
                    if let Some(piece) = self.read(part).await {
                        return piece;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                None => arrived.await,
            }
        }
    }

    /// Carbon has taken a piece.
    pub fn written(&self, piece: &Piece) {
        self.spool.log.lock().advance(piece.end);
        self.spool.released.notify_one();
        // What was skipped is counted once, not again with each replay.
        let mut told = self.spool.told.lock();
        if piece.end <= *told {
            return;
        }
        *told = piece.end;
        let stats = &self.spool.stats;
        if let Some(damage) = &piece.damage {
            stats.add(Event::Damaged, PLACE, Signal::Metrics, "damaged", 1);
            tracing::warn!(damage, "a part of the spool cannot be read, and is skipped");
        }
        if piece.expired > 0 {
            stats.add(Event::Dropped, PLACE, Signal::Metrics, "spool_age", piece.expired);
        }
    }

    /// Drops what is too old to be written, while no connection asks for it.
    pub async fn expire(&self) {
        if self.age.is_none() {
            return;
        }
        loop {
            let part = self.spool.log.lock().unread();
            let Some(part) = part else { return };
            match self.read(part).await {
                Some(piece) if piece.text.is_empty() => self.written(&piece),
                _ => return,
            }
        }
    }

    /// When the oldest record was acknowledged that is not too old, in milliseconds of the spool's clock.
    fn oldest_taken(&self) -> u64 {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.age.map_or(0, |age| self.spool.clock.now().saturating_sub(millis(age)))
    }

    async fn read(&self, part: Part) -> Option<Piece> {
        let oldest_taken = self.oldest_taken();
        let path = part.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&part, oldest_taken)).await;
        match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok((piece, oldest)) => {
                if oldest.is_some() {
                    self.spool.log.lock().oldest = oldest;
                }
                Some(piece)
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a segment of the spool cannot be opened, and is tried again");
                None
            }
        }
    }
}

/// Reads whole records of a part, and when the first of them was acknowledged that was never written. Damage, and
/// what is too old, make a piece of their own without text.
///
/// # Errors
/// Where the file cannot be opened now, but perhaps later.
fn read(part: &Part, oldest_taken: u64) -> io::Result<(Piece, Option<u64>)> {
    let opened = part.file.clone().map_or_else(|| File::open(&part.path).map(Arc::new), Ok);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok((skipped(part, part.end, &error), None));
        }
        Err(error) => return Err(error),
    };
    let mut length = (part.end - part.from).min(READ);
    let mut bytes = Vec::new();
    loop {
        if let Err(error) = read_up_to(length, &file, part, &mut bytes) {
            return Ok((skipped(part, part.end, &error), None));
        }
        let Parsed { piece, lines, oldest, stopped_at } = parse(&bytes, part, oldest_taken);
        if piece.end > part.from {
            let text = joined(bytes, &lines);
            return Ok((Piece { text, ..piece }, oldest));
        }
        match stopped_at {
            // Only once: a file that ends early does not become longer by asking for more of it.
            Found::Longer(size) if part.from + size as u64 <= part.end && length < size as u64 => {
                length = size as u64;
            }
            _ => return Ok((behind_damage(&file, part, bytes), None)),
        }
    }
}

/// Adds what `bytes` lack of the part's first `length` bytes, as far as the file has them: where segments are missing, the
/// part is as long as what they held, and that may be more than there is memory.
fn read_up_to(length: u64, file: &File, part: &Part, bytes: &mut Vec<u8>) -> io::Result<()> {
    let there = file.metadata()?.len().saturating_sub(part.from - part.base);
    let more = length.min(there).saturating_sub(bytes.len() as u64);
    bytes.try_reserve_exact(usize::try_from(more).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let (mut filled, from) = (bytes.len(), part.from - part.base);
    bytes.resize(filled + usize::try_from(more).map_err(io::Error::other)?, 0);
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(())
}

/// The lines of one record after the other, where the first of them stands.
fn joined(mut bytes: Vec<u8>, lines: &[Range<usize>]) -> Bytes {
    let Some((first, others)) = lines.split_first() else { return Bytes::new() };
    let mut end = first.end;
    for other in others {
        bytes.copy_within(other.clone(), end);
        end += other.len();
    }
    Bytes::from(bytes).slice(first.start..end)
}

/// What whole records are made into.
struct Parsed<'a> {
    /// Without its text.
    piece: Piece,
    /// Where its lines stand.
    lines: Vec<Range<usize>>,
    /// When the first of them was acknowledged that was never written.
    oldest: Option<u64>,
    stopped_at: Found<'a>,
}

/// The whole records at the front of `bytes`, which stand where the part begins.
fn parse<'a>(bytes: &'a [u8], part: &Part, oldest_taken: u64) -> Parsed<'a> {
    let mut piece = Piece { end: part.from, ..Piece::default() };
    let (mut lines, mut oldest, mut at) = (Vec::new(), None, 0);
    let stopped_at = loop {
        let record = match record::read(&bytes[at..], piece.end) {
            Found::Record(record) => record,
            stopped => break stopped,
        };
        let again = record.head.position < part.written;
        let expired = record.head.received_unix_milli < oldest_taken;
        // One piece is either all to be written or all too old.
        if piece.end > part.from && expired != lines.is_empty() {
            break Found::Nothing;
        }
        let points = u64::from(record.head.points);
        match (expired, again) {
            (true, false) => piece.expired += points,
            (true, true) => {}
            (false, false) => piece.points += points,
            (false, true) => piece.again += points,
        }
        at += record.size;
        if !expired {
            lines.push(at - record.lines.len()..at);
        }
        if !again && oldest.is_none() {
            oldest = Some(record.head.received_unix_milli);
        }
        piece.end += record.size as u64;
    };
    Parsed { piece, lines, oldest, stopped_at }
}

/// Where the part begins with damage: skips to the next whole record, or to the end of the segment.
fn behind_damage(file: &File, part: &Part, mut rest: Vec<u8>) -> Piece {
    if let Err(error) = read_up_to(part.end - part.from, file, part, &mut rest) {
        return skipped(part, part.end, &error);
    }
    match record::next_after_damage(&rest, part.from) {
        Some(further) => skipped(part, part.from + further as u64, &"its checksum does not fit"),
        // Room that was reserved and never written to, in a segment that a power cut left unsealed.
        None if !rest.is_empty() && rest.iter().all(|byte| *byte == 0) => {
            Piece { end: part.end, ..Piece::default() }
        }
        None => skipped(part, part.end, &"its checksum does not fit"),
    }
}

fn skipped(part: &Part, to: u64, why: &dyn std::fmt::Display) -> Piece {
    let damage =
        format!("{} bytes at {} of {}: {why}", to - part.from, part.from - part.base, part.path.display());
    Piece { end: to, damage: Some(damage), ..Piece::default() }
}
