//! The room of what is kept of series: the snapshot on the disk, and room for the next one, which is kept in the file
//! that becomes it.
//!
//! Invariant: whatever state was admitted, the snapshot that takes it over can be written. It must not read a value.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    presence::Named,
    segment,
    sizes::Sizes,
    state::{self, Entries, SNAPSHOT, UNFINISHED, Values},
};

/// Room is kept ahead of what is needed: a quarter of it, and this.
const AHEAD: u64 = 64 * 1024;

/// How long new series are refused where the disk had no room, before it is tried again.
const TRIED_AGAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Totals {
    folder: PathBuf,
    sizes: Sizes,
    /// The most bytes of a snapshot; further series are refused.
    limit: u64,
    snapshot: u64,
    /// The snapshot, open so that it can be read when its name has gone.
    file: Option<Arc<File>>,
    reserved: u64,
    /// The next snapshot is being written into the room that was kept for it.
    pub(super) is_writing: bool,
    /// When the disk had no room for more, and nothing of the spool could make way.
    pub(super) out_of_room: Option<Instant>,
}

impl Totals {
    /// With what an earlier process left in `folder`.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let mut totals = Self {
            folder: folder.to_owned(),
            sizes: Sizes::default(),
            limit,
            snapshot: 0,
            file: None,
            reserved: 0,
            is_writing: false,
            out_of_room: None,
        };
        totals.measure();
        Ok(totals)
    }

    /// The snapshot's file, where there is one.
    pub(super) fn named(&self) -> Option<Named> {
        let file = Arc::clone(self.file.as_ref()?);
        Some(Named { path: self.folder.join(SNAPSHOT), file, data: self.snapshot, base: None })
    }

    /// Looks at what is in the folder.
    pub(super) fn measure(&mut self) {
        self.file = File::open(self.folder.join(SNAPSHOT)).ok().map(Arc::new);
        let length = |name: &str| fs::metadata(self.folder.join(name)).map_or(0, |file| file.len());
        (self.snapshot, self.reserved) = (length(SNAPSHOT), length(UNFINISHED));
    }

    /// The sizes of what an earlier process kept.
    pub(super) fn load(&mut self, values: &Values) {
        self.sizes = Sizes::default();
        values.iter().for_each(|(hash, value)| self.sizes.note(*hash, value.len(), 0));
    }

    /// Notes the encoded entries of a record in the segment that begins at `base`.
    pub(super) fn note(&mut self, entries: &[u8], base: u64) {
        state::each_value(entries, |hash, value| self.sizes.note(hash, value.len(), base));
    }

    /// What `entries` may add.
    pub(super) fn added(&self, entries: &Entries) -> usize {
        self.sizes.added(entries)
    }

    /// As [`Sizes::fitting`].
    pub(super) fn fitting(&self, entries: &Entries, room: usize) -> (Entries, usize, u64) {
        self.sizes.fitting(entries, room)
    }

    /// Bytes of the snapshot.
    pub(super) const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// Bytes that are kept for the next one.
    pub(super) const fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(super) const fn on_disk(&self) -> u64 {
        self.snapshot + self.reserved
    }

    /// How much may come from further series.
    pub(super) fn room(&self) -> u64 {
        match self.out_of_room.is_some_and(|since| since.elapsed() < TRIED_AGAIN) {
            true => 0,
            false => self.limit.saturating_sub(self.sizes.most()),
        }
    }

    /// How much has to be kept once `more` bytes come; `None` where so much is.
    ///
    /// # Errors
    /// Where that cannot be changed now.
    pub(super) fn wanted(&self, more: u64) -> io::Result<Option<u64>> {
        let most = self.sizes.most() + more;
        if most <= self.reserved {
            return Ok(None);
        }
        if self.is_writing {
            return Err(io::Error::other("the totals are being written, and more than was foreseen are new"));
        }
        Ok(Some(most + AHEAD / 8))
    }

    /// That, and room ahead.
    pub(super) const fn ample(&self, wanted: u64) -> u64 {
        wanted + wanted / 4 + AHEAD
    }

    /// Keeps that many bytes for the next snapshot.
    pub(super) fn grow(&mut self, to: u64) -> io::Result<()> {
        if to <= self.reserved {
            return Ok(());
        }
        let path = self.folder.join(UNFINISHED);
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        segment::allocate(&file, self.reserved, to)?;
        self.reserved = to;
        self.out_of_room = None;
        Ok(())
    }

    /// The next snapshot was written, with everything before `covered`; or it could not be.
    pub(super) fn written(&mut self, covered: Option<u64>) {
        self.is_writing = false;
        covered.into_iter().for_each(|end| self.sizes.covered(end));
        self.measure();
    }
}
