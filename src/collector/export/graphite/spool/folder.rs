//! The folder of a spool: its lock, its segments by name, and how far carbon has been written to.
//!
//! It must not know what is in a segment. One process has the folder; a second one is told which.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    clock::{NOTE, Note},
    presence,
};

/// The ending of a segment's name; the number is that of the format.
const ENDING: &str = ".spool1";
const LOCK: &str = "lock";
const POSITION: &str = "position";
/// Bytes of the position in its file; what the clocks said stands behind it.
const POSITION_BYTES: usize = 20;

/// A folder that no other process uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    position: File,
    /// Holds the lock until it is dropped.
    lock: File,
}

/// How far carbon has been written to, as it was noted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Where the replay window begins.
    pub(super) start: u64,
    /// How far anything was written.
    pub(super) written: u64,
}

/// The name of the segment that begins at a position of the log.
pub(super) fn segment_name(base: u64) -> String {
    format!("{base:020}{ENDING}")
}

/// What to do about a folder that cannot be used. A volume of the wrong owner is the usual case in a container.
pub(super) fn remedy(folder: &Path, error: &io::Error) -> String {
    let existing = folder.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    match existing {
        Some((path, found)) if error.kind() == io::ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            format!(
                "{} belongs to uid {} (mode {:04o}), and this process runs as uid {uid}: give it (of a volume: its root) \
                 to uid {uid}, or give another folder",
                path.display(),
                found.uid(),
                found.mode() & 0o7777
            )
        }
        _ => "give a folder that can be written to".to_owned(),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Locks the folder for this process, making it where it is not there.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder { folder: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut lock = open(&folder.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Its number is for the message only.
            let _ = lock.read_to_string(&mut process);
            return Err(OpenError::InUse { folder: folder.to_owned(), process: process.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    noted.map_err(failed)?;
    Ok(lock)
}

impl Folder {
    /// Takes the folder, making it where it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let position = open(&path.join(POSITION));
        let position = position.map_err(|source| OpenError::Folder { folder: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), position, lock })
    }

    /// Whether its lock and its position are still the files under their names.
    pub(super) fn stands(&self) -> bool {
        self.is_locked() && presence::stands(&self.position, &self.path.join(POSITION))
    }

    fn is_locked(&self) -> bool {
        presence::stands(&self.lock, &self.path.join(LOCK))
    }

    /// Takes the folder again where another process could take it by now.
    ///
    /// # Errors
    /// Where one did, or the folder cannot be made.
    pub(super) fn take_again(&mut self) -> Result<(), OpenError> {
        if !self.is_locked() {
            self.lock = lock(&self.path)?;
        }
        if !self.stands() {
            let failed = |source| OpenError::Folder { folder: self.path.clone(), source };
            self.position = open(&self.path.join(POSITION)).map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the volume that the folder is on, where the system tells.
    pub(super) fn volume(&self) -> Option<u64> {
        let volume = rustix::fs::fstatvfs(&self.position).ok()?;
        volume.f_blocks.checked_mul(volume.f_frsize).filter(|bytes| *bytes > 0)
    }

    /// Where each segment begins that is there, oldest first.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let base: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.parse().ok());
            segments.extend(base);
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Brings the names of new segments to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// The position that was noted last; `None` where there is none that is whole.
    pub(super) fn position(&self) -> Option<Position> {
        let mut bytes = [0; POSITION_BYTES];
        self.position.read_exact_at(&mut bytes, 0).ok()?;
        let (numbers, checksum) = bytes.split_at(16);
        (crc32fast::hash(numbers).to_le_bytes() == checksum).then_some(())?;
        let (start, written) = numbers.split_at(8);
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        Some(Position { start: number(start)?, written: number(written)? })
    }

    /// What the clocks said when a position was noted last, where an earlier process noted it.
    pub(super) fn clocks(&self) -> Option<Note> {
        let mut bytes = [0; NOTE];
        self.position.read_exact_at(&mut bytes, POSITION_BYTES as u64).ok()?;
        Note::decoded(&bytes)
    }

    /// Notes a position and the clocks, in their place: that needs no room on the disk. What is torn counts as none.
    pub(super) fn note(&self, position: Position, clocks: Note) -> io::Result<()> {
        let mut bytes = [0; POSITION_BYTES + NOTE];
        bytes[..8].copy_from_slice(&position.start.to_le_bytes());
        bytes[8..16].copy_from_slice(&position.written.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..16]);
        bytes[16..POSITION_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes[POSITION_BYTES..].copy_from_slice(&clocks.encoded());
        self.position.write_all_at(&bytes, 0)
    }
}
