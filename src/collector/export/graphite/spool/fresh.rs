//! The newest records in memory, so that what carbon takes at once is not read from the disk again.
//!
//! It must hold nothing that the log does not have, and a bounded number of bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::record::Head;

/// The most bytes of lines; records that are pushed out are read from the disk.
const LIMIT: usize = 4 * 1024 * 1024;

/// Records that were never written to carbon, oldest first.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    records: VecDeque<Record>,
    bytes: usize,
}

/// A record of the log, up to `end`.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) head: Head,
    pub(super) end: u64,
    pub(super) lines: Bytes,
}

impl Fresh {
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.lines.len();
        self.records.push_back(record);
        while self.bytes > LIMIT {
            self.pop();
        }
    }

    /// The record that begins at `position`, where it is here.
    pub(super) fn at(&self, position: u64) -> Option<&Record> {
        self.records.front().filter(|first| first.head.position == position)
    }

    /// Carbon has taken everything up to `to`.
    pub(super) fn written(&mut self, to: u64) {
        while self.records.front().is_some_and(|first| first.end <= to) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(first) = self.records.pop_front() {
            self.bytes -= first.lines.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(position: u64, bytes: usize) -> Record {
        let head = Head { position, received_unix_milli: 0, points: 1 };
        Record { head, end: position + bytes as u64, lines: vec![b'x'; bytes].into() }
    }

    #[test]
    fn the_next_to_be_written_is_found_until_newer_ones_push_it_out() {
        let mut fresh = Fresh::default();
        let half = LIMIT / 2;
        fresh.push(record(0, half));
        fresh.push(record(half as u64, half));
        assert!(fresh.at(0).is_some());
        fresh.push(record(2 * half as u64, half));
        assert!(fresh.at(0).is_none(), "pushed out");
        assert!(fresh.at(half as u64).is_some());
        fresh.written(half as u64);
        assert!(fresh.at(half as u64).is_some());
        fresh.written(2 * half as u64);
        assert!(fresh.at(2 * half as u64).is_some());
        fresh.push(record(3 * half as u64, LIMIT + 1));
        assert_eq!((fresh.records.len(), fresh.bytes), (0, 0), "larger than all that is kept");
    }
}
