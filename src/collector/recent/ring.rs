//! The newest messages of one kind, in their protobuf encoding: a copy of bytes as they come, made into values only when
//! somebody looks.
//!
//! Bounded by their number and by their bytes.

use std::{collections::VecDeque, sync::Arc};

/// Bytes of all messages together; where the newest request has more, only its last ones stay.
const BYTES: usize = 8 * 1024 * 1024;

/// The newest messages.
#[derive(Debug)]
pub(super) struct Ring {
    limit: usize,
    chunks: VecDeque<Chunk>,
    messages: usize,
    bytes: usize,
}

/// Messages of one resource in one request.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// The resource's `service.name`.
    pub(super) service: Arc<str>,
    /// Where each message ends in `bytes`; the next begins there.
    ends: Arc<[u32]>,
    bytes: Arc<[u8]>,
}

impl Ring {
    /// For so many messages.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, chunks: VecDeque::new(), messages: 0, bytes: 0 }
    }

    /// Adds the last of these messages that there is room for, and evicts as many of the oldest.
    pub(super) fn push<'m, M>(&mut self, service: &str, messages: impl Fn() -> M, count: usize)
    where
        M: Iterator<Item = &'m [u8]>,
    {
        let mut skipped = count.saturating_sub(self.limit);
        let mut size: usize = messages().skip(skipped).map(<[u8]>::len).sum();
        let mut first = messages().skip(skipped);
        while size > BYTES
            && let Some(message) = first.next()
        {
            size -= message.len();
            skipped += 1;
        }
        let mut bytes = Vec::with_capacity(size);
        let ends = messages().skip(skipped).map(|message| {
            bytes.extend_from_slice(message);
            u32::try_from(bytes.len()).unwrap_or(u32::MAX)
        });
        let ends: Arc<[u32]> = ends.collect::<Vec<_>>().into();
        if ends.is_empty() {
            return;
        }
        self.messages += ends.len();
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { service: service.into(), ends, bytes: bytes.into() });
        while let Some(oldest) = self.chunks.front()
            && (self.messages - oldest.ends.len() >= self.limit || self.bytes > BYTES)
        {
            self.messages -= oldest.ends.len();
            self.bytes -= oldest.bytes.len();
            self.chunks.pop_front();
        }
    }

    /// Everything, oldest first; the first of it may be more than the limit.
    pub(super) fn chunks(&self) -> (usize, Vec<Chunk>) {
        (self.messages.saturating_sub(self.limit), self.chunks.iter().cloned().collect())
    }
}

impl Chunk {
    /// The encoded messages.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |end| {
            let end = *end as usize;
            let message = self.bytes.get(start..end);
            start = end;
            message
        })
    }
}
