//! Memory that lines were written into and that is used for others: fresh pages cost more than writing lines does.
//!
//! It must not keep more than a few buffers, since nobody counts them, and none that is much larger than what is asked
//! for, since lines that wait are counted by their own bytes.

use std::{mem, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

/// How many buffers are kept at most.
const KEPT: usize = 4;
/// Below this the allocator itself has memory at hand; above it, too much would be kept.
const SIZES: std::ops::RangeInclusive<usize> = 128 * 1024..=4 * 1024 * 1024;

/// Buffers that nobody uses, the newest last.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer with room for that many bytes, and no more than twice that.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let mut kept = self.0.lock();
        let fits = |buffer: &Vec<u8>| (bytes..=2 * bytes).contains(&buffer.capacity());
        match kept.iter().rposition(fits) {
            Some(at) => kept.remove(at),
            None => Vec::with_capacity(bytes),
        }
    }

    /// The same text to share; its memory comes back when the last one drops it.
    #[must_use]
    pub fn lend(self: &Arc<Self>, text: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { text, home: Arc::clone(self) })
    }
}

struct Lent {
    text: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = mem::take(&mut self.text);
        if !SIZES.contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let mut kept = self.home.0.lock();
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_owner_drops_its_text() {
        let buffers = Arc::new(Buffers::default());
        let mut text = buffers.take(*SIZES.start());
        text.extend_from_slice(b"lines");
        let memory = text.as_ptr();
        let (first, second) = {
            let lent = buffers.lend(text);
            (lent.clone(), lent)
        };
        drop(first);
        let another = buffers.take(*SIZES.start());
        assert_ne!(another.as_ptr(), memory, "someone still has it");
        assert_eq!(&second[..], b"lines");
        drop(second);
        let again = buffers.take(*SIZES.start());
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
    }

    #[test]
    fn few_are_kept_and_none_is_given_for_much_less_than_it_has() {
        let buffers = Arc::new(Buffers::default());
        let size = *SIZES.start();
        for bytes in [1, size, size, size, size, size, 4 * size, *SIZES.end() + 1] {
            // Each on its own, since the next would take it again.
            drop(buffers.lend(Vec::with_capacity(bytes)));
        }
        assert_eq!(buffers.0.lock().len(), KEPT);
        assert_eq!(buffers.take(size).capacity(), size);
        assert_eq!(buffers.take(3 * size).capacity(), 4 * size);
    }
}
