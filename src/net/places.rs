//! The places for connections: how many may be open at once, over all listeners that share them, and which one is evicted
//! where there are no more.
//!
//! A new connection always gets a place. The connection that has been without a complete request for longest is evicted for
//! it, whatever its address: a client that sends nothing may have many addresses, and a sender's may be one of them. Each
//! connection has a moment for its first request (see [`super::activity`]). Those that never made one are evicted before all
//! others, but for a share of the places ([`NEW_SHARE`]) in which new connections have that moment where senders hold all
//! the rest. A connection whose complete request is being answered stays.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Unlogged;
use super::activity::{Activity, Eviction, FIRST_BYTE, Standing};

/// The most connections that are open at once, whatever the limit of open files: each takes memory.
const MOST: usize = 8_192;
/// The part of all places that connections without a complete request keep where others hold the rest: an eighth.
const NEW_SHARE: usize = 8;
/// When newcomers had a place at once for so long, those that wait again are the first ones.
const CALM: Duration = Duration::from_secs(1);
/// When a connection to evict is looked for again, where there was none, or where the last one has not ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The time that a connection has for what it has begun is divided by one more after each such time in which room was made as
/// soon as that time was over, up to [`MOST_HURRY`]: by then many wait to be accepted, and what they send is there when they
/// are.
const HURRY: Duration = Duration::from_millis(250);
const MOST_HURRY: u32 = 4;

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
/// gets better, so the first one whose entry is right, and which can be evicted, is the first one to evict.
#[derive(Debug, Default)]
struct Taken {
    /// Those that never made a complete request.
    silent: Order,
    senders: Order,
    standings: HashMap<u64, Standing>,
    /// Those that are evicted and have not given their place back, and since when.
    leaving: HashMap<u64, Instant>,
    /// New connections that wait for a place.
    waiting: usize,
    next: u64,
    /// When newcomers began to wait for connections whose time is not over, and when one waited last.
    pressed: Option<(Instant, Instant)>,
    unlogged: Unlogged,
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
        activity.got_place();
        let now = Instant::now();
        let mut taken = self.0.taken.lock();
        let number = taken.next;
        taken.next += 1;
        let standing = standing(activity.eviction(now, 1), now);
        taken.put(number, standing, Arc::clone(activity));
        drop(taken);
        Some(Place { places: self.clone(), number, _permit: permit })
    }

    /// Evicts a connection, unless as many are leaving as others wait; says when to try again where none can be evicted yet.
    pub(super) fn make_room(&self) -> Option<Duration> {
        self.make_room_at(Instant::now())
    }

    fn make_room_at(&self, now: Instant) -> Option<Duration> {
        let mut taken = self.0.taken.lock();
        // One that does not end at once is being answered: it made a request before its task noticed.
        let is_ending = |since: &&Instant| now.saturating_duration_since(**since) < LOOK_AGAIN;
        if taken.leaving.values().filter(is_ending).count() >= taken.waiting.max(1) {
            return None;
        }
        if let Err(again) = taken.evict(self.0.count / NEW_SHARE, now) {
            return again;
        }
        self.0.evicted.fetch_add(1, Ordering::Relaxed);
        if let Some(closed) = taken.unlogged.add(now) {
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

    const fn orders(&self, silent: bool) -> &Order {
        if silent { &self.silent } else { &self.senders }
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
    fn evict(&mut self, kept: usize, now: Instant) -> Result<(), Option<Duration>> {
        let hurry = self.hurry(now);
        let mut next = None;
        let found = (self.silent.len() > kept && self.evict_one(true, now, hurry, &mut next))
            || (self.silent.len() <= kept
                && (self.evict_one(false, now, hurry, &mut next)
                    || self.evict_one(true, now, hurry, &mut next)));
        if found {
            return Ok(());
        }
        self.pressed = match self.pressed {
            Some((first, last)) if now - last < CALM => Some((first, now)),
            _ => Some((now, now)),
        };
        Err(next.map(|next| next - now))
    }

    fn hurry(&self, now: Instant) -> u32 {
        let pressed = self.pressed.filter(|(_, last)| now - *last < CALM);
        let pressed = pressed.map_or(Duration::ZERO, |(first, _)| now - first);
        u32::try_from(pressed.as_millis() / HURRY.as_millis())
            .map_or(MOST_HURRY, |steps| MOST_HURRY.min(1 + steps))
    }

    /// Evicts the first connection of one order that can be evicted; whether there was one, or else when there will be.
    fn evict_one(&mut self, silent: bool, now: Instant, hurry: u32, next: &mut Option<Instant>) -> bool {
        let mut first = Bound::Unbounded;
        while let Some((&(time, number), activity)) =
            self.orders(silent).range((first, Bound::Unbounded)).next()
        {
            let activity = Arc::clone(activity);
            let eviction = activity.eviction(now, hurry);
            let standing = standing(eviction, now);
            first = Bound::Excluded((time, number));
            if self.standings.get(&number).is_some_and(|known| standing > *known) {
                self.remove(number);
                self.put(number, standing, activity);
                continue;
            }
            match eviction {
                Eviction::Now(_) => {
                    // It had more than all of its time, so few wait.
                    let before = now.checked_sub(FIRST_BYTE).unwrap_or(now);
                    if silent && matches!(activity.eviction(before, 1), Eviction::Now(_)) {
                        self.pressed = None;
                    }
                    activity.evict(hurry);
                    self.remove(number);
                    self.leaving.insert(number, now);
                    return true;
                }
                Eviction::From(from, _) => *next = Some(next.map_or(from, |next| next.min(from))),
                Eviction::Never => {}
            }
            // Those behind it came later still, and none of them sooner than this.
            let soonest = time + FIRST_BYTE / hurry;
            if silent && now < soonest {
                *next = Some(next.map_or(soonest, |next| next.min(soonest)));
                return false;
            }
        }
        false
    }
}

/// Where a connection stands; one that is being served is as good as one whose request is of this moment.
const fn standing(eviction: Eviction, now: Instant) -> Standing {
    match eviction {
        Eviction::Now(standing) | Eviction::From(_, standing) => standing,
        Eviction::Never => Standing::Asked(now),
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

    fn connections<const N: usize>() -> [Arc<Activity>; N] {
        std::array::from_fn(|_| {
            let activity = Activity::new();
            activity.start(false);
            activity
        })
    }

    /// When connections that came just now had their time.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    async fn is_evicted(places: &Places, activity: &Activity) {
        assert_eq!(places.make_room_at(later()), None);
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
        assert_eq!(places.make_room_at(later()), None);
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
        let places = Places::new(3);
        let [silent, begins, sender] = connections();
        let held = all_take(&places, &[&begins, &silent, &sender]).await;
        makes_a_request(&sender);
        begins.read(b"POST / HTTP/1.1\r\n");
        assert!(places.make_room().is_some_and(|again| again <= FIRST_BYTE), "nor is a sender evicted");
        assert_eq!(places.evicted().load(Ordering::Relaxed), 0);
        let at = Instant::now() + FIRST_BYTE;
        assert_eq!(places.make_room_at(at), None);
        tokio::time::timeout(Duration::from_secs(10), silent.evicted()).await.unwrap();
        places.0.taken.lock().leaving.clear();
        assert!(places.make_room_at(at).is_some(), "a request that has begun has more time");
        is_evicted(&places, &begins).await;
        is_evicted(&places, &sender).await;
        drop(held);
    }

    #[tokio::test]
    async fn connections_have_less_time_the_longer_many_wait() {
        let places = Places::new(2);
        let [first, second] = connections();
        let held = all_take(&places, &[&first, &second]).await;
        [&first, &second].into_iter().for_each(|activity| activity.read(b"G"));
        let now = Instant::now();
        assert!(places.make_room_at(now).is_some());
        places.0.taken.lock().pressed = now.checked_sub(HURRY).map(|first| (first, now));
        assert!(places.make_room_at(now + Duration::from_millis(120)).is_some());
        assert_eq!(places.make_room_at(now + Duration::from_millis(126)), None);
        assert_eq!(places.evicted().load(Ordering::Relaxed), 1);
        places.0.taken.lock().leaving.clear();
        assert_eq!(places.make_room_at(later()), None);
        assert_eq!(places.0.taken.lock().pressed, None, "one that had more than its time is evicted");
        drop(held);
    }

    #[tokio::test]
    async fn nobody_else_is_evicted_while_one_is_leaving() {
        let places = Places::new(2);
        let [first, second] = connections();
        let held = all_take(&places, &[&first, &second]).await;
        [&first, &second].into_iter().for_each(makes_a_request);
        let at = later();
        (0..3).for_each(|_| assert_eq!(places.make_room_at(at), None));
        assert_eq!(places.evicted().load(Ordering::Relaxed), 1);
        assert_eq!(places.make_room_at(at + LOOK_AGAIN), None);
        assert_eq!(places.evicted().load(Ordering::Relaxed), 2, "unless it does not end");
        drop(held);
    }
}
