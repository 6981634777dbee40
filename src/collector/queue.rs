//! A queue that is bounded in bytes, with room that is reserved before anything is put in.
//!
//! It must not drop: what has no room is refused at the reservation, and stays with the sender.

use std::{collections::VecDeque, ops::Deref, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A queue with one consumer. The bytes of an item count until the consumer has let go of it.
#[derive(Debug)]
pub struct Queue<T> {
    limit: usize,
    state: Mutex<State<T>>,
    arrived: Notify,
    released: Notify,
}

#[derive(Debug)]
struct State<T> {
    /// Reserved, queued or held by the consumer.
    bytes: usize,
    items: VecDeque<(Arc<T>, usize)>,
    /// Something was refused, and nothing was let go of since.
    refused: bool,
}

impl<T> Queue<T> {
    /// An empty queue of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        let state = Mutex::new(State { bytes: 0, items: VecDeque::new(), refused: false });
        Arc::new(Self { limit, state, arrived: Notify::new(), released: Notify::new() })
    }

    /// The most bytes it holds.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The bytes that it holds now, reservations included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Whether what comes now would be refused, as far as it can be known without its size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.refused || state.bytes >= self.limit
    }

    /// Room for `bytes`, or `None` where there is none. An item larger than the whole queue is let into an
    /// empty one, since it would never fit otherwise.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation<T>> {
        let mut state = self.state.lock();
        if state.bytes > 0 && state.bytes.saturating_add(bytes) > self.limit {
            state.refused = true;
            return None;
        }
        state.bytes += bytes;
        Some(Reservation { queue: Arc::clone(self), bytes })
    }

    /// The oldest item, once there is one.
    pub async fn next(self: &Arc<Self>) -> Lease<T> {
        loop {
            let arrived = self.arrived.notified();
            if let Some((item, bytes)) = self.state.lock().items.pop_front() {
                return Lease { item, room: Some(Reservation { queue: Arc::clone(self), bytes }) };
            }
            arrived.await;
        }
    }

    /// Resolves when it holds nothing any more.
    pub async fn emptied(&self) {
        loop {
            let released = self.released.notified();
            if self.bytes() == 0 {
                return;
            }
            released.await;
        }
    }

    /// Takes out what is still queued.
    #[must_use]
    pub fn take_all(&self) -> Vec<Arc<T>> {
        let mut state = self.state.lock();
        let items: Vec<_> = state.items.drain(..).collect();
        state.bytes -= items.iter().map(|(_, bytes)| bytes).sum::<usize>();
        items.into_iter().map(|(item, _)| item).collect()
    }
}

/// Room in a queue; given back when dropped.
#[derive(Debug)]
pub struct Reservation<T> {
    queue: Arc<Queue<T>>,
    bytes: usize,
}

impl<T> Reservation<T> {
    /// Puts `item` into the reserved room; what it does not need of it is given back.
    pub fn commit(mut self, item: T, bytes: usize) {
        let used = bytes.min(self.bytes);
        let spare = std::mem::take(&mut self.bytes) - used;
        let mut state = self.queue.state.lock();
        state.bytes -= spare;
        state.items.push_back((Arc::new(item), used));
        drop(state);
        self.queue.arrived.notify_one();
    }

    fn put_back(mut self, item: Arc<T>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.queue.state.lock().items.push_front((item, bytes));
        self.queue.arrived.notify_one();
    }
}

impl<T> Drop for Reservation<T> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut state = self.queue.state.lock();
            state.bytes -= self.bytes;
            state.refused = false;
            drop(state);
            self.queue.released.notify_one();
        }
    }
}

/// An item in the consumer's hands; it goes back to where it was unless it is [done](Self::done).
#[derive(Debug)]
pub struct Lease<T> {
    item: Arc<T>,
    room: Option<Reservation<T>>,
}

impl<T> Lease<T> {
    /// The consumer has done with the item: its room is given back.
    pub fn done(mut self) {
        self.room = None;
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            room.put_back(Arc::clone(&self.item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let queue = Queue::new(10);
        let first = queue.reserve(6).unwrap();
        assert!(queue.reserve(5).is_none());
        let second = queue.reserve(4).unwrap();
        first.commit("first", 3);
        assert_eq!(queue.bytes(), 7);
        drop(second);
        assert_eq!(queue.bytes(), 3);
        let lease = queue.next().await;
        assert_eq!((*lease, queue.bytes()), ("first", 3));
        drop(lease);
        assert_eq!(queue.bytes(), 3, "what was not done is there again");
        queue.next().await.done();
        queue.emptied().await;
        assert!(queue.reserve(11).is_some(), "an empty queue takes even what is larger than itself");
    }
}
