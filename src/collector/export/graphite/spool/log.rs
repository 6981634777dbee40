//! The log in memory: which segments there are, what is reserved in the last one, and who is how far.
//!
//! It must not wait, and must not bring anything to the disk: that is the keeper's, once a second.

mod names;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    mem,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use super::{
    folder::{Position, segment_name},
    fresh::{self, Fresh},
    reader::Part,
    record::{self, HEADER, Head},
    segment::Segment,
    state::Place,
    totals::Totals,
    window::{LEAST, Window},
};
use crate::collector::export::graphite::Piece;

/// So many segments keep their files open, to be read when their names have gone; the process has other files too.
pub const OPEN_FILES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    closed: bool,
    /// Oldest first; the last one is appended to where `open` says so.
    segments: VecDeque<Segment>,
    open: bool,
    /// Segments that are not needed any more, oldest first, whose files are used for new ones: to remove and to
    /// allocate them costs as much as to write to them.
    spare: VecDeque<Segment>,
    /// How many segments were begun since files were given back last.
    begun: usize,
    /// Where the next record begins.
    end: u64,
    /// How large a segment becomes.
    segment: u64,
    limit: u64,
    pub(super) window: Window,
    /// Up to where the entries of state are in a file of their own.
    pub(super) covered: u64,
    pub(super) totals: Totals,
    /// When the first record was acknowledged that was never written to carbon, as far as it is known.
    pub(super) oldest: Option<u64>,
    fresh: Fresh,
    reserved: bool,
    /// A record that the disk did not take although it had room for it.
    stuck: Option<Vec<u8>>,
    refusal: Option<String>,
    /// Why nothing is taken although there may be room.
    suspended: Option<String>,
    /// Names came or went since the folder was synced.
    names_changed: bool,
}

impl Log {
    pub(super) fn new(
        folder: PathBuf,
        segments: Vec<Segment>,
        end: u64,
        segment: u64,
        limit: u64,
        window: Window,
        totals: Totals,
    ) -> Self {
        Self {
            folder,
            closed: false,
            segments: segments.into(),
            open: false,
            spare: VecDeque::new(),
            begun: 0,
            end,
            segment,
            limit,
            window,
            covered: 0,
            totals,
            oldest: None,
            fresh: Fresh::default(),
            reserved: false,
            stuck: None,
            refusal: None,
            suspended: None,
            names_changed: false,
        }
    }

    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that were never written to carbon.
    pub(super) const fn waiting(&self) -> u64 {
        self.end - self.window.written()
    }

    /// Nothing waits, or there is nothing to write it to.
    pub(super) fn has_nothing_to_write(&self) -> bool {
        self.waiting() == 0 || !self.window.is_connected()
    }

    /// Bytes on the disk.
    pub(super) fn on_disk(&self) -> u64 {
        let segments = self.segments.iter().chain(&self.spare).map(|segment| segment.allocated);
        segments.sum::<u64>() + self.totals.on_disk()
    }

    pub(super) const fn is_refusing(&self) -> bool {
        self.refusal.is_some()
    }

    /// Why nothing is taken, where nothing is.
    pub(super) fn why_refused(&self) -> Option<&str> {
        self.suspended.as_deref().or(self.refusal.as_deref())
    }

    /// Room for one record with that many bytes of lines and state, and for what `new_state` of it adds to the next
    /// snapshot, on the disk; false where there is none.
    pub(super) fn reserve(&mut self, bytes: u64, new_state: u64, now: Instant) -> bool {
        if self.reserved || self.closed || self.suspended.is_some() {
            return false;
        }
        let made = self
            .write_stuck()
            .and_then(|()| self.make_totals_room(new_state, now))
            .and_then(|()| self.make_room(bytes + HEADER as u64, now));
        match made {
            Ok(()) => {
                self.reserved = true;
                if self.refusal.take().is_some() {
                    tracing::info!("the spool has room again");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.refusal.as_ref() != Some(&error) {
                    tracing::warn!(error, "the spool has no room: senders have to try again later");
                }
                self.refusal = Some(error);
            }
        }
        self.reserved
    }

    pub(super) const fn release(&mut self) {
        self.reserved = false;
    }

    /// Room for the next snapshot of the state, once `more` bytes come to it: without it the segments whose state is
    /// not in a snapshot could never go.
    pub(super) fn make_totals_room(&mut self, more: u64, now: Instant) -> io::Result<()> {
        let wanted = match self.totals.wanted(more)? {
            Some(wanted) => wanted,
            None => return Ok(()),
        };
        let others = self.on_disk() - self.totals.reserved();
        let ample = self.totals.ample(wanted);
        if others + ample <= self.limit && self.totals.grow(ample).is_ok() {
            return Ok(());
        }
        self.make_way(now, |log| {
            let others = log.on_disk() - log.totals.reserved();
            others + wanted <= log.limit && log.totals.grow(wanted).is_ok()
        });
        let others = self.on_disk() - self.totals.reserved();
        let limit = self.limit;
        let grown = if others + wanted <= limit {
            self.totals.grow(wanted)
        } else {
            let waiting = self.waiting();
            Err(io::Error::other(format!(
                "{waiting} bytes wait for carbon, and {limit} (--spool-limit) are taken with the room that is kept for totals"
            )))
        };
        // Where nothing waits, carbon will make no room either.
        self.totals.out_of_room = (grown.is_err() && self.waiting() == 0).then_some(now);
        grown
    }

    fn make_room(&mut self, bytes: u64, now: Instant) -> io::Result<()> {
        let data = self.segments.back().filter(|_| self.open).map_or(0, |last| last.data);
        if self.open && (data == 0 || data + bytes <= self.segment) {
            let made = self.extend(bytes, now);
            if made.is_ok() || data == 0 {
                return made;
            }
        }
        // Sealed also where it cannot grow: only a sealed one can make way later.
        self.seal();
        let begun = self.begin()?;
        self.segments.push_back(begun);
        self.open = true;
        self.names_changed = true;
        self.begun += 1;
        self.extend(bytes, now)
    }

    /// A new segment, in a file that there is where there is one.
    fn begin(&mut self) -> io::Result<Segment> {
        let path = self.folder.join(segment_name(self.end));
        if let Some(spare) = self.spare.pop_front() {
            let before = spare.path.clone();
            match spare.again(path.clone(), self.end) {
                Ok(segment) => return Ok(segment),
                Err(_) => drop(std::fs::remove_file(before)),
            }
        }
        Segment::create(path, self.end)
    }

    /// Room in the last segment.
    fn extend(&mut self, bytes: u64, now: Instant) -> io::Result<()> {
        let data = self.segments.back().map_or(0, |last| last.data);
        let exact = data + bytes;
        // A whole segment at once where there is room for it; else only what is needed.
        let whole = self.segment.max(exact);
        self.grow(whole, now).or_else(|_| self.grow(exact, now))
    }

    /// Gives the last segment that many bytes on the disk.
    fn grow(&mut self, to: u64, now: Instant) -> io::Result<()> {
        let allocated = self.segments.back().map_or(0, |last| last.allocated);
        if to <= allocated {
            return Ok(());
        }
        let wanted = |log: &Self| log.on_disk() - allocated + to;
        let fits = |log: &mut Self| wanted(log) <= log.limit;
        if !fits(self) {
            self.make_way(now, fits);
        }
        // A batch that is larger than the whole spool would never fit, so it is let in where nothing waits.
        let oversized = to > self.limit && self.waiting() == 0;
        if wanted(self) > self.limit && !oversized {
            let limit = self.limit;
            return Err(io::Error::other(match self.waiting() {
                0 => format!("{limit} bytes (--spool-limit) are less than what is kept to be sent again"),
                waiting => format!("{waiting} bytes wait for carbon, and {limit} (--spool-limit) are taken"),
            }));
        }
        if self.allocate(to).is_ok() {
            return Ok(());
        }
        // The disk is full.
        self.make_way(now, |log| log.allocate(to).is_ok());
        self.allocate(to)
    }

    /// Gives the disk back what is kept beyond the replay time, and then, until it is `enough`, the room behind the
    /// records of segments that nothing is appended to.
    fn make_way(&mut self, now: Instant, mut enough: impl FnMut(&mut Self) -> bool) {
        self.window.forget(now, 0);
        self.remove();
        self.give_back(0);
        for at in 0..self.segments.len() - usize::from(self.open) {
            if self.segments[at].has_room() && enough(self) {
                return;
            }
            // Where that fails, the segment takes room that it does not need, until it goes.
            let _ = self.segments[at].cut();
        }
    }

    fn allocate(&mut self, to: u64) -> io::Result<()> {
        self.segments.back_mut().ok_or(io::ErrorKind::NotFound)?.allocate(to)
    }

    /// Appends a record to the room that is reserved.
    pub(super) fn append(&mut self, head: Head, state: &[u8], lines: Bytes) {
        // The folder may be another process's by now; who sent this gets no answer any more.
        if self.closed {
            return;
        }
        // What one request may become is far below what the length of a record can tell.
        let Ok(header) = record::header(head, state, &lines) else { return };
        if self.waiting() == 0 {
            self.oldest = Some(head.received_unix_milli);
        }
        let base = self.segments.back().map_or(0, |last| last.base);
        self.totals.note(state, base);
        let appended = match self.segments.back_mut() {
            Some(last) => last.append([&header, state, &lines]),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match appended {
            Ok(()) => {
                self.appended(!state.is_empty());
                self.fresh.push(fresh::Record { head, end: self.end, lines });
            }
            Err(error) => {
                tracing::warn!(%error, "the spool could not be written to; the batch is kept in memory until it can");
                self.stuck = Some([&header, state, &lines].concat());
            }
        }
    }

    fn appended(&mut self, has_state: bool) {
        if let Some(last) = self.segments.back_mut() {
            last.has_state |= has_state;
            self.end = last.end();
        }
    }

    /// Until a record that was already acknowledged is written, nothing else is taken.
    fn write_stuck(&mut self) -> io::Result<()> {
        let Some(record) = &self.stuck else { return Ok(()) };
        let last = self.segments.back_mut().ok_or(io::ErrorKind::NotFound)?;
        last.append([record, &[], &[]])?;
        self.stuck = None;
        // Whether it has state is not told any more.
        self.appended(true);
        Ok(())
    }

    /// Nothing more is taken.
    pub(super) fn close(&mut self) {
        if self.write_stuck().is_err() {
            tracing::warn!("stopped before the disk took the last batch: it is lost");
        }
        self.closed = true;
        self.seal();
        self.give_back(0);
        self.segments.iter_mut().for_each(|segment| drop(segment.cut()));
    }

    /// Nothing more is appended to the last segment.
    fn seal(&mut self) {
        if !mem::take(&mut self.open) {
            return;
        }
        if let Some(empty) = self.segments.pop_back_if(|last| last.data == 0) {
            let _ = std::fs::remove_file(&empty.path);
            self.names_changed = true;
        }
    }

    /// What is to be written next, where it is still in memory and was acknowledged at `oldest` or later.
    pub(super) fn fresh(&mut self, oldest: u64) -> Option<Piece> {
        let record = self.fresh.at(self.window.cursor())?;
        let fresh::Record { head, end, lines } = record;
        if head.received_unix_milli < oldest {
            return None;
        }
        self.oldest = Some(head.received_unix_milli);
        Some(Piece { text: lines.clone(), points: head.points.into(), end: *end, ..Piece::default() })
    }

    /// What is to be read next; `None` where everything was.
    pub(super) fn unread(&self) -> Option<Part> {
        let from = self.window.cursor();
        let segment = self.segments.iter().find(|segment| segment.end() > from)?;
        let (base, end, path) = (segment.base, segment.end(), segment.path.clone());
        let file = segment.file();
        Some(Part { path, file, base, from: from.max(base), end, written: self.window.written() })
    }

    /// Carbon has taken everything up to `to`.
    pub(super) fn advance(&mut self, to: u64) {
        self.window.advance(to, Instant::now());
        self.fresh.written(to);
    }

    /// Removes what the replay window has left.
    pub(super) fn forget(&mut self, now: Instant) {
        // One that waits to be written is written as soon as the disk takes it.
        if let Err(error) = self.write_stuck() {
            tracing::debug!(%error, "the spool cannot be written to yet");
        }
        self.window.forget(now, LEAST);
        self.remove();
    }

    /// Takes out the segments that are not needed any more.
    fn remove(&mut self) {
        let start = self.window.start();
        let appended = usize::from(self.open);
        let covered = self.covered;
        let may_go = |first: &Segment| first.end() <= start && (!first.has_state || first.end() <= covered);
        while self.segments.len() > appended && self.segments.front().is_some_and(may_go) {
            self.spare.extend(self.segments.pop_front());
        }
    }

    /// Once a second: keeps the files of as many spare segments as were begun since, and removes the others.
    pub(super) fn trim(&mut self) {
        let begun = mem::take(&mut self.begun);
        self.give_back(begun);
    }

    /// Removes the files of all spare segments but the last `kept`.
    fn give_back(&mut self, kept: usize) {
        let surplus = self.spare.len().saturating_sub(kept);
        for segment in self.spare.drain(..surplus) {
            self.names_changed = true;
            if let Err(error) = std::fs::remove_file(&segment.path) {
                tracing::warn!(%error, path = %segment.path.display(), "a segment of the spool cannot be removed");
            }
        }
    }

    /// The folder and all segments.
    pub(super) fn places(&self) -> (PathBuf, Vec<Place>) {
        (self.folder.clone(), self.segments.iter().map(place).collect())
    }

    /// The segments that only their state still holds; none where there are few, unless the room is needed: taking
    /// them over writes all of the state anew.
    pub(super) fn held_by_state(&self) -> Option<Vec<Place>> {
        let start = self.window.start();
        let sealed = self.segments.len() - usize::from(self.open);
        let held: Vec<Place> =
            self.segments.iter().take(sealed).take_while(|held| held.end() <= start).map(place).collect();
        let bytes: u64 = held.iter().map(|held| held.end - held.base).sum();
        let worth_it = bytes >= self.totals.snapshot() || self.is_refusing();
        (!held.is_empty() && worth_it).then_some(held)
    }

    /// Finds out how long the oldest has been waiting that an earlier process left.
    pub(super) fn find_oldest(&mut self) {
        let written = self.window.written();
        let Some(segment) = self.segments.iter().find(|segment| segment.end() > written) else { return };
        let received = || -> io::Result<u64> {
            let mut file = File::open(&segment.path)?;
            file.seek(SeekFrom::Start(written.saturating_sub(segment.base) + 16))?;
            let mut bytes = [0; 8];
            file.read_exact(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        };
        self.oldest = received().ok();
    }

    /// The files with what is not on the disk yet, each with its segment and how much of that it is; whether the
    /// folder has new names; and where carbon is.
    pub(super) fn unsynced(&mut self) -> (Vec<Unsynced>, bool, Position) {
        let files = self.segments.iter().filter_map(|segment| {
            let (file, data) = segment.unsynced()?;
            Some((file, segment.base, data))
        });
        let position = Position { start: self.window.start(), written: self.window.written() };
        (files.collect(), mem::take(&mut self.names_changed), position)
    }

    pub(super) fn is_synced(&mut self, files: &[Unsynced]) {
        let open = self.open.then(|| self.segments.back().map(|last| last.base)).flatten();
        let many = self.segments.len() > OPEN_FILES;
        for segment in &mut self.segments {
            if let Some((_, base, data)) = files.iter().find(|(_, base, _)| *base == segment.base) {
                segment.is_synced(*data, many && open != Some(*base));
            }
        }
    }

    pub(super) const fn names_changed(&mut self) {
        self.names_changed = true;
    }
}

fn place(segment: &Segment) -> Place {
    Place { path: segment.path.clone(), file: segment.file(), base: segment.base, end: segment.end() }
}

/// A file, the base of its segment, and how many bytes of it are to be brought to the disk.
pub(super) type Unsynced = (Arc<File>, u64, u64);
