//! The places for connections: how many may be open at once, over all listeners that share them, and which one is evicted
//! where there are no more.
//!
//! A new connection always gets a place. The connection that has been without a complete request for longest is evicted for
//! it, whatever its address: a client that sends nothing may have many addresses, and a sender's may be one of them. Each
//! connection has a moment for its first request ([`FIRST_REQUEST`]). Those that never made one are evicted before all
//! others, but for a share of the places ([`NEW_SHARE`]) in which new connections have that moment where senders hold all
//! the rest. A connection whose complete request is being answered stays.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::activity::{Activity, Standing};

/// The most connections that are open at once, whatever the limit of open files: each takes memory.
const MOST: usize = 8_192;
/// How long a connection has for its first complete request before it can be evicted.
const FIRST_REQUEST: Duration = Duration::from_millis(100);
/// The part of all places that connections without a complete request keep where others hold the rest: an eighth.
const NEW_SHARE: usize = 8;
/// When a connection to evict is looked for again, where there was none.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How far two log lines about evictions are apart.
const LOGS_APART: Duration = Duration::from_secs(60);

/// Places that listeners share; clones are the same places.
#[derive(Clone, Debug)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    count: usize,
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    evicted: Arc<AtomicU64>,
}

/// Connections in the order in which they are evicted, as far as it was known when they were last looked at. A standing only
/// gets better, so the first one whose entry is right is the first one to evict.
#[derive(Debug, Default)]
struct Taken {
    /// Those that never made a complete request.
    silent: Order,
    senders: Order,
    standings: HashMap<u64, Standing>,
    /// Those that are evicted and have not given their place back.
    leaving: HashSet<u64>,
    /// New connections that wait for a place.
    waiting: usize,
    next: u64,
    /// Evictions since the last log line, and when that was.
    unlogged: u64,
    logged: Option<Instant>,
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
        Self(Arc::new(Shared { count, free, taken: Mutex::default(), evicted: Arc::default() }))
    }

    /// As many places as a process with so many open files has room for, with so many of them left for all that is no
    /// connection of a client: disks, sinks, a database.
    #[must_use]
    pub fn within(open_files: u64, reserved: u32) -> Self {
        let left = open_files.saturating_sub(reserved.into()).max(open_files / 4).max(1);
        Self::new(usize::try_from(left).unwrap_or(MOST).min(MOST))
    }

    /// How many connections were evicted since the start.
    #[must_use]
    pub fn evicted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.evicted)
    }

    /// A place for a connection that was just accepted.
    pub(super) async fn take(&self, activity: &Arc<Activity>) -> Option<Place> {
        let free = &self.0.free;
        let permit = match Arc::clone(free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::begin(&self.0.taken);
                loop {
                    let again = self.make_room().unwrap_or(LOOK_AGAIN);
                    if let Ok(permit) = tokio::time::timeout(again, Arc::clone(free).acquire_owned()).await {
                        break permit.ok()?;
                    }
                }
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

    /// Evicts a connection, unless as many are leaving as others wait; says when to try again where none can be evicted yet.
    pub(super) fn make_room(&self) -> Option<Duration> {
        let mut taken = self.0.taken.lock();
        if taken.leaving.len() >= taken.waiting.max(1) {
            return None;
        }
        if let Err(again) = taken.evict(self.0.count / NEW_SHARE) {
            return again;
        }
        self.0.evicted.fetch_add(1, Ordering::Relaxed);
        taken.unlogged += 1;
        let now = Instant::now();
        if taken.logged.is_none_or(|logged| now - logged >= LOGS_APART) {
            taken.logged = Some(now);
            let closed = std::mem::take(&mut taken.unlogged);
            drop(taken);
            tracing::warn!(
                places = self.0.count,
                closed,
                "all places for connections are taken: those without a request for longest are closed; where they are \
                 good clients, raise the limit of open files (ulimit -n, LimitNOFILE=)"
            );
        }
        None
    }
}

/// A new connection that waits for a place, until it is dropped.
struct Waiting<'a>(&'a Mutex<Taken>);

impl<'a> Waiting<'a> {
    fn begin(taken: &'a Mutex<Taken>) -> Self {
        taken.lock().waiting += 1;
        Self(taken)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Taken {
    fn order(&mut self, standing: Standing) -> (&mut Order, Instant) {
        match standing {
            Standing::Silent(came) => (&mut self.silent, came),
            Standing::Asked(last) => (&mut self.senders, last),
        }
    }

    fn put(&mut self, number: u64, standing: Standing, activity: Arc<Activity>) {
        self.standings.insert(number, standing);
        let (order, time) = self.order(standing);
        order.insert((time, number), activity);
    }

    fn remove(&mut self, number: u64) {
        self.leaving.remove(&number);
        if let Some(standing) = self.standings.remove(&number) {
            let (order, time) = self.order(standing);
            order.remove(&(time, number));
        }
    }

    /// Evicts a connection: of those that made requests only where at most `kept` others are there. An error says when one
    /// can be evicted, if that is known.
    fn evict(&mut self, kept: usize) -> Result<(), Option<Duration>> {
        let mut answered = 0;
        for _ in 0..2 * self.standings.len() {
            let senders_stay = answered >= self.senders.len();
            let of_silent = senders_stay || self.silent.len() > kept;
            let order = if of_silent { &mut self.silent } else { &mut self.senders };
            let Some(first) = order.first_entry() else { break };
            let number = first.key().1;
            let activity = first.get();
            match activity.standing() {
                Some(Standing::Silent(came)) if came.elapsed() < FIRST_REQUEST => {
                    return Err(FIRST_REQUEST.checked_sub(came.elapsed()));
                }
                Some(standing) if self.standings.get(&number).is_some_and(|known| standing <= *known) => {
                    activity.evict();
                    self.remove(number);
                    self.leaving.insert(number);
                    return Ok(());
                }
                standing => {
                    let activity = Arc::clone(activity);
                    self.remove(number);
                    // One that is being answered is as good as a request of this moment.
                    answered += usize::from(standing.is_none());
                    self.put(number, standing.unwrap_or_else(|| Standing::Asked(Instant::now())), activity);
                }
            }
        }
        Err(None)
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

    /// Connections that had their moment for a request.
    fn connections<const N: usize>() -> [Arc<Activity>; N] {
        let came = Instant::now().checked_sub(2 * FIRST_REQUEST).unwrap();
        std::array::from_fn(|_| Activity::since(came))
    }

    async fn is_evicted(places: &Places, activity: &Activity) {
        assert_eq!(places.make_room(), None);
        tokio::time::timeout(Duration::from_secs(10), activity.evicted()).await.unwrap();
        places.0.taken.lock().leaving.clear();
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
        exchange.has_answer_to_send();
    }

    #[tokio::test]
    async fn who_never_made_a_request_is_evicted_first_and_who_is_being_answered_stays() {
        let places = Places::new(5);
        let [answered, sender, silent, other, another] = connections();
        let exchange = Exchange::begin(&answered);
        let held = all_take(&places, &[&answered, &sender, &silent, &other, &another]).await;
        makes_a_request(&sender);
        for evicted in [&silent, &other, &another, &sender] {
            is_evicted(&places, evicted).await;
        }
        assert_eq!(places.make_room(), None);
        assert_eq!(places.0.taken.lock().standings.len(), 1, "nobody else can be evicted");
        drop(exchange);
        is_evicted(&places, &answered).await;
        drop(held);
        assert_eq!((places.0.free.available_permits(), places.0.taken.lock().standings.len()), (5, 0));
        assert_eq!(places.evicted().load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn new_connections_keep_a_share_of_the_places_and_senders_the_others() {
        let places = Places::new(16);
        let activities: [_; 16] = connections();
        let held = all_take(&places, &activities.iter().collect::<Vec<_>>()).await;
        activities[..13].iter().for_each(makes_a_request);
        // Three are silent, and two places are for them.
        for evicted in [&activities[13], &activities[0], &activities[1]] {
            is_evicted(&places, evicted).await;
        }
        drop(held);
    }

    #[tokio::test]
    async fn a_new_connection_has_a_moment_for_its_first_request() {
        let places = Places::new(1);
        let new = Activity::new();
        let held = all_take(&places, &[&new]).await;
        assert!(places.make_room().is_some_and(|again| again <= FIRST_REQUEST));
        assert_eq!(places.evicted().load(Ordering::Relaxed), 0);
        drop(held);
    }

    #[tokio::test]
    async fn nobody_else_is_evicted_while_one_is_leaving() {
        let places = Places::new(2);
        let [first, second] = connections();
        let held = all_take(&places, &[&first, &second]).await;
        [&first, &second].into_iter().for_each(makes_a_request);
        (0..3).for_each(|_| assert_eq!(places.make_room(), None));
        assert_eq!(places.evicted().load(Ordering::Relaxed), 1);
        drop(held);
    }
}
