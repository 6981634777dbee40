//! What has to outlive the process besides lines: values by the identity of what they belong to, such as totals
//! of delta sums.
//!
//! Entries are put into the log with the lines of the same batch, so that both are kept or neither. Before a
//! segment goes, its entries are taken over into a file of their own, of which there is always a whole one. It
//! must not know what a value means.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, ErrorKind, Read, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{CWD, RenameFlags};
use sha2::{Digest as _, Sha256};

use super::{
    record::{self, Found},
    segment,
};

/// The name of that file.
pub(super) const SNAPSHOT: &str = "state";
/// The file that becomes the next snapshot: until then it keeps the room that this one needs.
pub(super) const UNFINISHED: &str = "state.new";
/// Position and length of the entries, before them; their checksum stands behind them.
const HEAD: usize = 16;
/// Bytes of a snapshot beside its entries.
pub(super) const FRAME: usize = HEAD + 4;
/// Bytes of an entry beside its value: hash and length.
const BESIDE_VALUE: usize = 20;

/// Values to keep, encoded. An empty value forgets the earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(Vec<u8>);

impl Entries {
    /// Adds a value; the last one of a hash counts.
    pub fn put(&mut self, hash: u128, value: &[u8]) {
        // What belongs to one stream is far below what the length can tell.
        let Ok(length) = u32::try_from(value.len()) else { return };
        self.0.extend_from_slice(&hash.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value);
    }

    /// Adds all of `others`.
    pub fn append(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// The bytes that a value of that many bytes becomes.
    #[must_use]
    pub const fn bytes_of(value: usize) -> usize {
        BESIDE_VALUE + value
    }

    /// Their bytes, to reserve room for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Calls `f` with each hash and its value.
    pub(super) fn each_value(&self, f: impl FnMut(u128, &[u8])) {
        each_value(&self.0, f);
    }
}

/// Calls `f` with each hash and its value of these encoded entries.
pub(super) fn each_value(mut entries: &[u8], mut f: impl FnMut(u128, &[u8])) {
    while let Some((beside, rest)) = entries.split_first_chunk::<BESIDE_VALUE>() {
        let (hash, length) = parted(beside);
        let Some((value, rest)) = rest.split_at_checked(length as usize) else { return };
        f(hash, value);
        entries = rest;
    }
}

/// What values are put under: the first half of a SHA-256 over these parts, since a sender chooses what goes into it.
/// All parts but the last are to have a length of their own.
#[must_use]
pub fn identity(parts: &[&[u8]]) -> u128 {
    Identity::new(parts).value()
}

/// An [`identity`] whose first parts are known: others go on from it without them being hashed again.
#[derive(Clone, Debug)]
pub struct Identity(Sha256);

impl Identity {
    /// The identity of these parts so far.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        Self(hash)
    }

    /// The identity of the parts that are known, with these behind them.
    #[must_use]
    pub fn with(&self, parts: &[&[u8]]) -> u128 {
        let mut identity = self.clone();
        parts.iter().for_each(|part| identity.0.update(part));
        identity.value()
    }

    fn value(self) -> u128 {
        self.0.finalize().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
    }
}

/// Values by the hash that they were put under.
pub type Values = HashMap<u128, Box<[u8]>>;

/// A segment, for what this module needs of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Where it is open.
    pub(super) file: Option<Arc<File>>,
    pub(super) base: u64,
    pub(super) end: u64,
}

/// Up to where of the log the entries are in the snapshot.
///
/// # Errors
/// Where there is a snapshot that is not whole.
pub(super) fn covered(folder: &Path) -> io::Result<u64> {
    Ok(Snapshot::open(folder)?.map_or(0, |snapshot| snapshot.position))
}

/// All values of a folder: of its snapshot, and of the segments behind that. The second is how many parts could not
/// be read.
pub(super) fn load(folder: &Path, segments: &[Place]) -> io::Result<(Values, u64)> {
    let mut values = Values::new();
    let (mut damaged, mut position) = (0, 0);
    match Snapshot::open(folder) {
        Ok(Some(mut snapshot)) => {
            position = snapshot.position;
            snapshot.each(|hash, value| {
                values.insert(hash, value);
                Ok(())
            })?;
        }
        Ok(None) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => damaged += 1,
        Err(error) => return Err(error),
    }
    for segment in segments.iter().filter(|segment| segment.end > position) {
        damaged += read_segment(segment, position, &mut values)?;
    }
    values.retain(|_, value| !value.is_empty());
    Ok((values, damaged))
}

/// Takes the entries of `segments`, which are to go, over into the snapshot; gives where it ends then. It is written
/// into the room that is kept for it, and the room of the one before is kept for the next.
pub(super) fn take_over(folder: &Path, segments: &[Place]) -> io::Result<u64> {
    let mut newer = Values::new();
    let snapshot = match Snapshot::open(folder) {
        // What of it is lost was counted when it was loaded.
        Err(error) if error.kind() == ErrorKind::InvalidData => None,
        snapshot => snapshot?,
    };
    let position = snapshot.as_ref().map_or(0, |snapshot| snapshot.position);
    let end = segments.last().map_or(position, |segment| segment.end).max(position);
    for segment in segments {
        read_segment(segment, position, &mut newer)?;
    }
    if newer.is_empty() {
        return Ok(end);
    }
    let path = folder.join(UNFINISHED);
    write(&path, end, snapshot, newer)?;
    replace(&path, &folder.join(SNAPSHOT))?;
    File::open(folder)?.sync_all()?;
    Ok(end)
}

/// Gives `new` the name of `old`, and where the system can do it at once, `old` that of `new`.
fn replace(new: &Path, old: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // There is no old one, or the file system cannot do it.
        Err(_) => fs::rename(new, old),
    }
}

fn write(path: &Path, position: u64, snapshot: Option<Snapshot>, newer: Values) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    let mut file = BufWriter::new(file);
    file.write_all(&[0; HEAD])?;
    let mut checksum = crc32fast::Hasher::new();
    let mut length = 0_u64;
    let mut put = |hash: u128, value: &[u8]| {
        if value.is_empty() {
            return Ok(());
        }
        let mut entry = Entries::default();
        entry.put(hash, value);
        checksum.update(entry.bytes());
        length += entry.len() as u64;
        file.write_all(entry.bytes())
    };
    if let Some(mut snapshot) = snapshot {
        snapshot.each(|hash, value| if newer.contains_key(&hash) { Ok(()) } else { put(hash, &value) })?;
    }
    for (hash, value) in newer {
        put(hash, &value)?;
    }
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&position.to_le_bytes());
    head[8..].copy_from_slice(&length.to_le_bytes());
    checksum.update(&head);
    file.write_all(&checksum.finalize().to_le_bytes())?;
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    // What is behind it was kept for entries that are not there yet.
    file.set_len(FRAME as u64 + length)?;
    file.rewind()?;
    file.write_all(&head)?;
    file.sync_all()
}

/// Adds the entries of a segment from `from` on; how many parts of it could not be read.
fn read_segment(place: &Place, from: u64, values: &mut Values) -> io::Result<u64> {
    let opened = place.file.clone().map_or_else(|| File::open(&place.path).map(Arc::new), Ok);
    let bytes = match opened {
        Ok(file) => segment::read(&file, place.end - place.base)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(1),
        Err(error) => return Err(error),
    };
    let (mut at, mut damaged) = (0, 0);
    loop {
        let position = place.base + at as u64;
        match record::read(&bytes[at..], position) {
            Found::Record(record) => {
                at += record.size;
                if position >= from {
                    let mut entries = record.state;
                    while let Some((hash, value)) = next(&mut entries)? {
                        values.insert(hash, value);
                    }
                }
            }
            Found::Nothing => return Ok(damaged),
            Found::Longer(_) | Found::Damage => {
                damaged += 1;
                match record::next_after_damage(&bytes[at..], position) {
                    Some(further) => at += further,
                    None => return Ok(damaged),
                }
            }
        }
    }
}

/// The next entry of a reader; `None` at its end.
fn next(entries: &mut impl Read) -> io::Result<Option<(u128, Box<[u8]>)>> {
    let mut beside = [0; BESIDE_VALUE];
    let mut filled = 0;
    while filled < beside.len() {
        match entries.read(&mut beside[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(ErrorKind::InvalidData.into()),
            read => filled += read,
        }
    }
    let (hash, length) = parted(&beside);
    let mut value = Vec::new();
    entries.by_ref().take(u64::from(length)).read_to_end(&mut value)?;
    if value.len() as u64 != u64::from(length) {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(Some((hash, value.into())))
}

/// The hash, and the length of the value.
fn parted(beside: &[u8; BESIDE_VALUE]) -> (u128, u32) {
    let (hash, length) = beside.split_at(16);
    let hash = hash.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    (hash, length.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
}

/// The file with what segments held that have gone. It was found whole when it was opened.
struct Snapshot {
    position: u64,
    entries: io::Take<BufReader<File>>,
}

impl Snapshot {
    fn open(folder: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(folder.join(SNAPSHOT)) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(ErrorKind::InvalidData, "the state of the spool is not whole");
        let size = file.get_ref().metadata()?.len();
        let mut head = [0; HEAD];
        file.read_exact(&mut head).map_err(|_| damaged())?;
        let (position, length) = head.split_at(8);
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (position, length) = (number(position), number(length));
        if length.checked_add(HEAD as u64 + 4) != Some(size) {
            return Err(damaged());
        }
        let mut checksum = crc32fast::Hasher::new();
        let mut left = length;
        let mut part = vec![0; 64 * 1024];
        while left > 0 {
            let most = usize::try_from(left).map_or(part.len(), |left| left.min(part.len()));
            let read = file.read(&mut part[..most])?;
            if read == 0 {
                return Err(damaged());
            }
            checksum.update(&part[..read]);
            left -= read as u64;
        }
        checksum.update(&head);
        let mut told = [0; 4];
        file.read_exact(&mut told)?;
        if checksum.finalize().to_le_bytes() != told {
            return Err(damaged());
        }
        file.seek(SeekFrom::Start(HEAD as u64))?;
        Ok(Some(Self { position, entries: file.take(length) }))
    }

    fn each(&mut self, mut f: impl FnMut(u128, Box<[u8]>) -> io::Result<()>) -> io::Result<()> {
        while let Some((hash, value)) = next(&mut self.entries)? {
            f(hash, value)?;
        }
        Ok(())
    }
}
