//! One record of a spool: the lines that were acknowledged together, under a checksum.
//!
//! It must not touch a file. A record carries its own position in the log, so that it is known again behind
//! damage, and so that what a file held before is never taken for one.
//!
//! | bytes | what (little endian) |
//! |---|---|
//! | 0..4 | length of what follows byte 8 |
//! | 4..8 | CRC-32 of that |
//! | 8..16 | position: the bytes of the log before this record |
//! | 16..24 | when it was acknowledged, in milliseconds since 1970 by the spool's clock |
//! | 24..28 | data points in it |
//! | 28..32 | bytes of state entries, which stand before the lines |

/// Bytes before state and lines.
pub(super) const HEADER: usize = 32;
/// Bytes that the length does not count.
const PREFIX: usize = 8;

/// The parts of a record that its lines do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) position: u64,
    pub(super) received_unix_milli: u64,
    pub(super) points: u32,
}

/// A record in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) head: Head,
    pub(super) state: &'a [u8],
    pub(super) lines: &'a [u8],
    /// All its bytes in the log.
    pub(super) size: usize,
}

/// What stands at a place of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Record(Record<'a>),
    /// A record may begin here whose end is that many bytes from here, beyond the buffer.
    Longer(usize),
    /// Nothing: room that is reserved and was not written to, or the end of the buffer.
    Nothing,
    Damage,
}

/// The header of a record, to be written before `state` and `lines`.
///
/// # Errors
/// Where they are too long for one record.
pub(super) fn header(
    head: Head,
    state: &[u8],
    lines: &[u8],
) -> Result<[u8; HEADER], std::num::TryFromIntError> {
    let length = u32::try_from(HEADER - PREFIX + state.len() + lines.len())?;
    let state_length = u32::try_from(state.len())?;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&head.position.to_le_bytes());
    header[16..24].copy_from_slice(&head.received_unix_milli.to_le_bytes());
    header[24..28].copy_from_slice(&head.points.to_le_bytes());
    header[28..32].copy_from_slice(&state_length.to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&header[PREFIX..]);
    checksum.update(state);
    checksum.update(lines);
    header[4..8].copy_from_slice(&checksum.finalize().to_le_bytes());
    Ok(header)
}

/// Whether a header is that of a record at `position`.
pub(super) fn begins(header: &[u8; HEADER], position: u64) -> bool {
    u64_at(header, 8) == position
}

/// Reads what `bytes`, which stand at `position` of the log, begin with.
pub(super) fn read(bytes: &[u8], position: u64) -> Found<'_> {
    if bytes.len() < HEADER {
        return if bytes.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Damage };
    }
    let size = u32_at(bytes, 0) as usize + PREFIX;
    if size == PREFIX {
        return if bytes.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Damage };
    }
    let state = u32_at(bytes, 28) as usize;
    let head = Head {
        position: u64_at(bytes, 8),
        received_unix_milli: u64_at(bytes, 16),
        points: u32_at(bytes, 24),
    };
    if head.position != position || size < HEADER || state > size - HEADER {
        return Found::Damage;
    }
    let Some(record) = bytes.get(..size) else { return Found::Longer(size) };
    if crc32fast::hash(&record[PREFIX..]) != u32_at(bytes, 4) {
        return Found::Damage;
    }
    let (state, lines) = record[HEADER..].split_at(state);
    Found::Record(Record { head, state, lines, size })
}

/// How many bytes behind the start of `bytes`, which stand at `position` of the log and begin with damage, the
/// next whole record stands.
pub(super) fn next_after_damage(bytes: &[u8], position: u64) -> Option<usize> {
    (1..bytes.len().saturating_sub(HEADER - 1)).find(|at| {
        let position = position + *at as u64;
        // The position alone rules out nearly every place.
        u64_at(bytes, at + 8) == position && matches!(read(&bytes[*at..], position), Found::Record(_))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
