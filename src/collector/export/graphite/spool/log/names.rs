//! What the log does about files that are not under their names any more.

use std::fs::File;

use super::Log;
use crate::collector::export::graphite::spool::{
    presence::{Named, stands},
    segment::Segment,
};

impl Log {
    /// The files that hold what may still be needed.
    pub(in super::super) fn named(&self) -> Vec<Named> {
        let segments = self.segments.iter().filter_map(Segment::named);
        segments.chain(self.totals.named()).collect()
    }

    /// Takes nothing until it is [resumed](Self::resume); whether that reason is new. What is reserved may still come.
    pub(in super::super) fn suspend(&mut self, why: String) -> bool {
        let is_new = self.suspended.as_ref() != Some(&why);
        self.suspended = Some(why);
        is_new
    }

    /// Whether nothing is taken.
    pub(in super::super) const fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether a batch is being written.
    pub(in super::super) const fn has_reservation(&self) -> bool {
        self.reserved
    }

    /// Takes batches again.
    pub(in super::super) fn resume(&mut self) {
        self.suspended = None;
    }

    /// What a segment held stands in another file under its name.
    pub(in super::super) fn restored(&mut self, base: u64, file: File) {
        let length = file.metadata().map_or(0, |file| file.len());
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.base == base) {
            segment.restored(file, length);
        }
        self.names_changed = true;
    }

    /// A segment was overwritten: its file is looked at only by who reads it.
    pub(in super::super) fn give_up(&mut self, base: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.base == base) {
            segment.close();
        }
    }

    /// Appends to another segment from now on, and forgets spare ones whose files are gone.
    pub(in super::super) fn begin_anew(&mut self) {
        self.open = false;
        if self.segments.back().is_some_and(|last| last.data == 0) {
            self.segments.pop_back();
        }
        self.spare.retain(|spare| match spare.file() {
            Some(file) => stands(&file, &spare.path),
            None => spare.path.exists(),
        });
        self.names_changed = true;
    }

    /// The folder is another process's: nothing in it is touched any more.
    pub(in super::super) fn leave(&mut self) {
        self.closed = true;
        self.open = false;
        self.segments.clear();
        self.spare.clear();
    }
}
