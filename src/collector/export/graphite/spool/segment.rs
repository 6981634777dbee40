//! One file of the log: room that is reserved on the disk, records that are appended to it, and what is read of
//! it again.
//!
//! It must not decide when a segment begins or goes.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::{
    presence::Named,
    record::{self, Found, HEADER},
};

/// So many zeros stand behind the last record, where there is room: in a file that is used again, something else would.
const END: u64 = HEADER as u64;
/// What is written at once where a file system cannot reserve room.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A segment: what is at `base` of the log and behind.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) path: PathBuf,
    /// Bytes of its records.
    pub(super) data: u64,
    /// Bytes that it takes on the disk.
    pub(super) allocated: u64,
    /// Some of its records may have entries of state.
    pub(super) has_state: bool,
    /// Open while there may be something to write or to sync; also later, for as long as there are not too many, since
    /// what a deleted file holds can only be read through it.
    file: Option<Arc<File>>,
    synced: u64,
}

/// What was found in a segment at the start of the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Bytes up to the end of its last whole record.
    pub(super) data: u64,
    /// Something stood behind that record.
    pub(super) torn: bool,
}

impl Segment {
    /// A new one, without room.
    pub(super) fn create(path: PathBuf, base: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Self::empty(path, base, file, 0))
    }

    /// A new one in the file of this one, which is not needed any more: there is room in it, and it is in the system's
    /// memory. What it holds is never taken for a record of the new one, whose positions are behind it.
    ///
    /// # Errors
    /// Where the file cannot be used; it may have the new name by then.
    pub(super) fn again(self, path: PathBuf, base: u64) -> io::Result<Self> {
        std::fs::rename(&self.path, &path)?;
        let file = File::options().read(true).write(true).open(&path)?;
        write_zeros(&file, 0, END)?;
        Ok(Self::empty(path, base, file, self.allocated))
    }

    fn empty(path: PathBuf, base: u64, file: File, allocated: u64) -> Self {
        Self { base, path, data: 0, allocated, has_state: false, file: Some(Arc::new(file)), synced: 0 }
    }

    /// One that an earlier process left, of `data` bytes; with its file where it is to be `open`.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub(super) fn left(path: PathBuf, base: u64, data: u64, allocated: u64, open: bool) -> io::Result<Self> {
        let file =
            if open { Some(Arc::new(File::options().read(true).write(true).open(&path)?)) } else { None };
        Ok(Self { base, path, data, allocated, has_state: true, file, synced: data })
    }

    /// The file, while it is open.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// The file with its name, while it is open.
    pub(super) fn named(&self) -> Option<Named> {
        let (path, data, base) = (self.path.clone(), self.data, Some(self.base));
        Some(Named { path, file: self.file()?, data, base })
    }

    /// Closes the file, with nothing more to write or to sync.
    pub(super) fn close(&mut self) {
        (self.file, self.synced) = (None, self.data);
    }

    /// The same with its records, as far as they were still there, in another file under its name.
    pub(super) fn restored(&mut self, file: File, length: u64) {
        self.file = Some(Arc::new(file));
        self.allocated = length;
        self.synced = self.data;
    }

    /// The position behind its last record.
    pub(super) const fn end(&self) -> u64 {
        self.base + self.data
    }

    /// Has that many bytes on the disk, so that writing to them cannot fail for want of room.
    pub(super) fn allocate(&mut self, to: u64) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| to > self.allocated) else { return Ok(()) };
        allocate(file, self.allocated, to)?;
        self.allocated = to;
        Ok(())
    }

    /// Appends a record. Where that fails, what was written of it is cut off or lies behind the end.
    pub(super) fn append(&mut self, parts: [&[u8]; 3]) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let end = self.data + parts.iter().map(|part| part.len() as u64).sum::<u64>();
        write_zeros(file, end, self.allocated.saturating_sub(end).min(END))?;
        let mut at = self.data;
        for part in parts {
            if let Err(error) = file.write_all_at(part, at) {
                clear(file, self.data, at + part.len() as u64);
                return Err(error);
            }
            at += part.len() as u64;
        }
        self.data = at;
        self.allocated = self.allocated.max(at);
        Ok(())
    }

    /// Whether there is room behind the records.
    pub(super) const fn has_room(&self) -> bool {
        self.allocated > self.data
    }

    /// Gives that room back.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        if self.has_room() {
            match &self.file {
                Some(file) => file.set_len(self.data)?,
                None => File::options().write(true).open(&self.path)?.set_len(self.data)?,
            }
            self.allocated = self.data;
        }
        Ok(())
    }

    /// The file with what has to be brought to the disk, and up to where; `None` where all of it is there.
    pub(super) fn unsynced(&self) -> Option<(Arc<File>, u64)> {
        let file = self.file.as_ref().filter(|_| self.synced < self.data)?;
        Some((Arc::clone(file), self.data))
    }

    /// Everything up to `data` is on the disk; one that `closes` has its file closed then.
    pub(super) fn is_synced(&mut self, data: u64, closes: bool) {
        self.synced = self.synced.max(data);
        if closes && self.synced >= self.data {
            self.file = None;
        }
    }
}

/// Gives a file of `from` bytes `to` bytes on the disk, or leaves it as it is.
pub(super) fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    let length = to - from;
    let allocated = match fallocate(file, FallocateFlags::empty(), from, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, from, length),
        done => done.map_err(io::Error::from),
    };
    if allocated.is_err() {
        // What was reserved of it before it failed is given back; the failure is what matters.
        drop(file.set_len(from));
    }
    allocated
}

/// Zeros where a write was broken off, so that nothing of it is taken for a torn record later.
fn clear(file: &File, from: u64, to: u64) {
    // Where the disk does not take these either, the checksum tells what is no record.
    let _ = write_zeros(file, from, to - from);
}

fn write_zeros(file: &File, mut at: u64, length: u64) -> io::Result<()> {
    let end = at + length;
    while at < end {
        let part = (end - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())], at)?;
        at += part;
    }
    Ok(())
}

/// The bytes of a file, at most the first `most` of them.
pub(super) fn read(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len().min(most)).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(io::Error::other)?;
    bytes.resize(length, 0);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Finds the end of what the last process appended to its last segment, and cuts off what is behind it.
pub(super) fn recover(path: &Path, base: u64) -> io::Result<Recovered> {
    let bytes = read(&File::open(path)?, u64::MAX)?;
    let (mut at, mut data) = (0, 0);
    while let Some(rest) = bytes.get(at..) {
        let position = base + at as u64;
        match record::read(rest, position) {
            Found::Record(record) => {
                at += record.size;
                data = at;
            }
            Found::Nothing => break,
            Found::Damage | Found::Longer(_) => match record::next_after_damage(rest, position) {
                Some(further) => at += further,
                None => break,
            },
        }
    }
    let torn = bytes[data..].iter().take(HEADER).any(|byte| *byte != 0);
    File::options().write(true).open(path)?.set_len(data as u64)?;
    Ok(Recovered { data: data as u64, torn })
}
