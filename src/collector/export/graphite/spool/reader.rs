//! Reads the log for the connection: whole records, in order, from the start of the replay window on.
//!
//! It must not let damage stop it: what cannot be read is skipped, counted, and said once.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Spool,
    record::{self, Found},
    unix_millis,
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
            let part = self.spool.log.lock().unread();
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

    async fn read(&self, part: Part) -> Option<Piece> {
        let age = self.age;
        let path = part.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&part, age)).await;
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
fn read(part: &Part, age: Option<Duration>) -> io::Result<(Piece, Option<u64>)> {
    let file = match File::open(&part.path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok((skipped(part, part.end, &error), None));
        }
        Err(error) => return Err(error),
    };
    let mut length = (part.end - part.from).min(READ);
    loop {
        let bytes = match bytes_of(&file, part, length) {
            Ok(bytes) => bytes,
            Err(error) => return Ok((skipped(part, part.end, &error), None)),
        };
        let (piece, oldest, stopped) = parse(&bytes, part, age);
        if piece.end > part.from {
            return Ok((piece, oldest));
        }
        match stopped {
            // Only once: a file that ends early does not become longer by asking for more of it.
            Found::Longer(size) if part.from + size as u64 <= part.end && length < size as u64 => {
                length = size as u64;
            }
            _ => return Ok((behind_damage(&file, part), None)),
        }
    }
}

fn bytes_of(file: &File, part: &Part, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], part.from - part.base + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The whole records at the front of `bytes`, and what stopped it.
fn parse<'a>(bytes: &'a [u8], part: &Part, age: Option<Duration>) -> (Piece, Option<u64>, Found<'a>) {
    let oldest_taken = age.map_or(0, |age| unix_millis().saturating_sub(millis(age)));
    let mut piece = Piece { end: part.from, ..Piece::default() };
    let mut oldest = None;
    let mut text = Vec::new();
    let mut rest = bytes;
    let stopped = loop {
        let record = match record::read(rest, piece.end) {
            Found::Record(record) => record,
            stopped => break stopped,
        };
        let again = record.head.position < part.written;
        let expired = record.head.received_unix_milli < oldest_taken;
        // One piece is either all to be written or all too old.
        if piece.end > part.from && expired != text.is_empty() {
            break Found::Nothing;
        }
        let points = u64::from(record.head.points);
        match (expired, again) {
            (true, false) => piece.expired += points,
            (true, true) => {}
            (false, false) => piece.points += points,
            (false, true) => piece.again += points,
        }
        if !expired {
            text.extend_from_slice(record.lines);
        }
        if !again && oldest.is_none() {
            oldest = Some(record.head.received_unix_milli);
        }
        piece.end += record.size as u64;
        rest = &rest[record.size..];
    };
    piece.text = text.into();
    (piece, oldest, stopped)
}

/// Where the part begins with damage: skips to the next whole record, or to the end of the segment.
fn behind_damage(file: &File, part: &Part) -> Piece {
    let rest = match bytes_of(file, part, part.end - part.from) {
        Ok(rest) => rest,
        Err(error) => return skipped(part, part.end, &error),
    };
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
