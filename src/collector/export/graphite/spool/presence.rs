//! Whether the files of a spool are still the ones under their names, and how they become it again: a file that was
//! deleted, or swapped for another one, takes what is written to it, and no later process finds it.
//!
//! It must not acknowledge anything meanwhile: the log refuses until what can still be read stands under its names.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::record;

/// The ending of a copy that has not got its name yet.
const COPY: &str = "copy";
const PART: usize = 256 * 1024;

/// A file that is written to or read, and the name that it should have.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Bytes of it that are needed.
    pub(super) data: u64,
    /// The position of its first record, of a segment.
    pub(super) base: Option<u64>,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its name is another file's, or nobody's.
    Moved,
    /// It is shorter than what was written to it, or begins with something else.
    Overwritten,
}

/// Whether the file under `path` is this one.
pub(super) fn stands(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    open.nlink() > 0 && (open.dev(), open.ino()) == (there.dev(), there.ino())
}

impl Named {
    /// What is wrong with it, if anything is.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        if !stands(&self.file, &self.path) {
            return Some(Wrong::Moved);
        }
        let is_short = self.file.metadata().is_ok_and(|file| file.len() < self.data);
        let is_another = || match self.base.filter(|_| self.data >= record::HEADER as u64) {
            Some(base) => {
                let mut begin = [0; record::HEADER];
                self.file.read_exact_at(&mut begin, 0).is_ok() && !record::begins(&begin, base)
            }
            None => false,
        };
        (is_short || is_another()).then_some(Wrong::Overwritten)
    }

    /// Copies what can be read of it into a new file, which gets its name once it is whole and on the disk.
    pub(super) fn restore(&self) -> io::Result<File> {
        let copy = self.path.with_extension(COPY);
        let made = self.copy(&copy);
        if made.is_err() {
            // It may have filled the disk.
            drop(fs::remove_file(&copy));
        }
        let file = made?;
        fs::rename(&copy, &self.path)?;
        Ok(file)
    }

    fn copy(&self, to: &Path) -> io::Result<File> {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(to)?;
        let (mut at, mut part) = (0, vec![0; PART]);
        while at < self.data {
            let most = usize::try_from(self.data - at).map_or(PART, |left| left.min(PART));
            // What cannot be read is counted where it is missed.
            let read = self.file.read_at(&mut part[..most], at).unwrap_or(0);
            if read == 0 {
                break;
            }
            file.write_all(&part[..read])?;
            at += read as u64;
        }
        file.sync_all()?;
        Ok(file)
    }
}
