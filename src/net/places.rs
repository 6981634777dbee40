//! The places for connections: how many may be open at once, over all listeners that share them, and who has to leave
//! where there are no more.
//!
//! A newcomer always gets a place. The one that has been without a whole request for longest makes room for it, whatever
//! its address: who knocks and says nothing has many addresses, and a sender's may be one of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::activity::Activity;

/// The most connections that are open at once, whatever the limit of open files: each takes memory.
const MOST: usize = 8_192;
/// How long to wait before one that makes room is looked for again, where all were being answered.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long the log says nothing more of those who had to leave.
const QUIET: Duration = Duration::from_secs(60);

/// Places that listeners share; clones are the same places.
#[derive(Clone, Debug)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    count: usize,
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

/// Connections by when their last whole request came, as far as that was known when they were last looked at. It only
/// gets later, so the first one whose entry is right is the one that has been without for longest.
#[derive(Debug, Default)]
struct Taken {
    order: BTreeMap<(Instant, u64), Arc<Activity>>,
    known: HashMap<u64, Instant>,
    next: u64,
    left: u64,
    told: Option<Instant>,
}

/// A place of a connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Places {
    /// This many places.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let free = Arc::new(Semaphore::new(count));
        Self(Arc::new(Shared { count, free, taken: Mutex::default() }))
    }

    /// As many places as a process with so many open files has room for, with so many of them left for all that is no
    /// connection of a client: disks, sinks, a database.
    #[must_use]
    pub fn within(open_files: u64, reserved: usize) -> Self {
        let files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let left = files.saturating_sub(reserved).max(files / 4).max(1);
        Self::new(left.min(MOST))
    }

    /// A place for a connection that has just come.
    pub(super) async fn take(&self, activity: &Arc<Activity>) -> Option<Place> {
        let free = &self.0.free;
        let permit = loop {
            if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
                break permit;
            }
            self.make_room();
            if let Ok(permit) = tokio::time::timeout(PATIENCE, Arc::clone(free).acquire_owned()).await {
                break permit.ok()?;
            }
        };
        let mut taken = self.0.taken.lock();
        let number = taken.next;
        taken.next += 1;
        taken.put(number, activity.last_whole().unwrap_or_else(Instant::now), Arc::clone(activity));
        drop(taken);
        Some(Place { places: self.clone(), number, _permit: permit })
    }

    /// Asks the connection that has been without a whole request for longest to leave.
    pub(super) fn make_room(&self) {
        let mut taken = self.0.taken.lock();
        if !taken.ask_one_to_leave() {
            return;
        }
        taken.left += 1;
        let now = Instant::now();
        if taken.told.is_none_or(|told| now - told >= QUIET) {
            taken.told = Some(now);
            let closed = std::mem::take(&mut taken.left);
            drop(taken);
            tracing::warn!(
                places = self.0.count,
                closed,
                "all places for connections are taken: those without a request for longest are closed; where they are \
                 good clients, raise the limit of open files (ulimit -n, LimitNOFILE=)"
            );
        }
    }
}

impl Taken {
    fn put(&mut self, number: u64, whole: Instant, activity: Arc<Activity>) {
        self.known.insert(number, whole);
        self.order.insert((whole, number), activity);
    }

    fn ask_one_to_leave(&mut self) -> bool {
        for _ in 0..self.order.len() {
            let Some(((known, number), activity)) = self.order.pop_first() else { return false };
            match activity.last_whole() {
                Some(whole) if whole <= known => {
                    self.known.remove(&number);
                    activity.leave();
                    return true;
                }
                whole => self.put(number, whole.unwrap_or_else(Instant::now), activity),
            }
        }
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock();
        if let Some(whole) = taken.known.remove(&self.number) {
            taken.order.remove(&(whole, self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::activity::Exchange, *};

    #[test]
    fn room_is_left_for_what_is_no_connection() {
        for (files, expected) in
            [(1_024, 896), (20_000, 8_192), (256, 128), (160, 40), (u64::MAX, 8_192), (2, 1)]
        {
            assert_eq!(Places::within(files, 128).0.count, expected, "{files}");
        }
    }

    #[tokio::test]
    async fn who_is_being_answered_stays_and_the_oldest_of_the_others_leaves() {
        let places = Places::new(3);
        let answered = Activity::new();
        let exchange = Exchange::begin(&answered);
        let (silent, other) = (Activity::new(), Activity::new());
        let mut held = Vec::new();
        for activity in [&answered, &silent, &other] {
            held.push(places.take(activity).await.unwrap());
        }
        places.make_room();
        tokio::time::timeout(Duration::from_secs(10), silent.leaving()).await.unwrap();
        drop(exchange);
        places.make_room();
        tokio::time::timeout(Duration::from_secs(10), other.leaving()).await.unwrap();
        held.clear();
        assert_eq!((places.0.free.available_permits(), places.0.taken.lock().order.len()), (3, 0));
    }
}
