//! The places for connections: how many may be open at once, over all listeners that share them, and who has to leave
//! where there are no more.
//!
//! A newcomer always gets a place. The one that has been without a whole request for longest makes room for it, whatever
//! its address: who knocks and says nothing has many addresses, and a sender's may be one of them. Who never made one is
//! without for longer than anybody who did; but they keep half of the places, so that a newcomer has the time for its first
//! request where others made one and stay.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::activity::{Activity, Standing};

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

/// Connections in the order in which they leave, as far as that was known when they were last looked at. A standing only
/// gets better, so the first one whose entry is right is the first one to leave.
#[derive(Debug, Default)]
struct Taken {
    /// Those that never made a request.
    silent: Order,
    others: Order,
    known: HashMap<u64, Standing>,
    next: u64,
    left: u64,
    told: Option<Instant>,
}

/// Connections by the time that counts for them, and by their number.
type Order = BTreeMap<(Instant, u64), Arc<Activity>>;

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
    pub fn within(open_files: u64, reserved: u32) -> Self {
        let left = open_files.saturating_sub(reserved.into()).max(open_files / 4).max(1);
        Self::new(usize::try_from(left).unwrap_or(MOST).min(MOST))
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
        let standing = activity.standing().unwrap_or_else(|| Standing::Asked(Instant::now()));
        taken.put(number, standing, Arc::clone(activity));
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
    fn order(&mut self, standing: Standing) -> (&mut Order, Instant) {
        match standing {
            Standing::Silent(came) => (&mut self.silent, came),
            Standing::Asked(last) => (&mut self.others, last),
        }
    }

    fn put(&mut self, number: u64, standing: Standing, activity: Arc<Activity>) {
        self.known.insert(number, standing);
        let (order, time) = self.order(standing);
        order.insert((time, number), activity);
    }

    fn remove(&mut self, number: u64) {
        if let Some(standing) = self.known.remove(&number) {
            let (order, time) = self.order(standing);
            order.remove(&(time, number));
        }
    }

    /// Asks one to leave: of those who made requests only where they are as many as the others, or more.
    fn ask_one_to_leave(&mut self) -> bool {
        let mut answered = 0;
        for _ in 0..2 * self.known.len() {
            let others_stay = answered >= self.others.len();
            let of_silent = others_stay || self.silent.len() > self.others.len();
            let order = if of_silent { &mut self.silent } else { &mut self.others };
            let Some(((_, number), activity)) = order.pop_first() else { break };
            let known = self.known.remove(&number);
            match activity.standing() {
                Some(standing) if Some(standing) <= known => {
                    activity.leave();
                    return true;
                }
                Some(standing) => self.put(number, standing, activity),
                // It is being answered, which is as good as a request of this moment.
                None => {
                    answered += 1;
                    self.put(number, Standing::Asked(Instant::now()), activity);
                }
            }
        }
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.taken.lock().remove(self.number);
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

    async fn leaves(activity: &Activity) {
        tokio::time::timeout(Duration::from_secs(10), activity.leaving()).await.unwrap();
    }

    async fn all_take(places: &Places, activities: &[&Arc<Activity>]) -> Vec<Place> {
        let mut held = Vec::new();
        for activity in activities {
            held.push(places.take(activity).await.unwrap());
        }
        held
    }

    fn makes_a_request(activity: &Arc<Activity>) {
        let mut exchange = Exchange::begin(activity);
        exchange.is_theirs();
    }

    #[tokio::test]
    async fn who_never_made_a_request_leaves_first_and_who_is_being_answered_stays() {
        let places = Places::new(5);
        let [answered, sender, silent, other, another] = [(); 5].map(|()| Activity::new());
        let exchange = Exchange::begin(&answered);
        let held = all_take(&places, &[&answered, &sender, &silent, &other, &another]).await;
        makes_a_request(&sender);
        for leaving in [&silent, &sender, &other, &another] {
            places.make_room();
            leaves(leaving).await;
        }
        places.make_room();
        assert_eq!(places.0.taken.lock().known.len(), 1, "nobody else can leave");
        drop(exchange);
        places.make_room();
        leaves(&answered).await;
        drop(held);
        assert_eq!((places.0.free.available_permits(), places.0.taken.lock().known.len()), (5, 0));
    }

    #[tokio::test]
    async fn newcomers_keep_half_of_the_places_to_make_their_first_request() {
        let places = Places::new(4);
        let [first, second, third, newcomer] = [(); 4].map(|()| Activity::new());
        let senders = [&first, &second, &third];
        let mut held = all_take(&places, &senders).await;
        senders.into_iter().for_each(makes_a_request);
        held.extend(all_take(&places, &[&newcomer]).await);
        places.make_room();
        leaves(&first).await;
    }
}
