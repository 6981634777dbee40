//! Memory that all requests of a receiver share, and who gives way where it runs short.
//!
//! A body holds room for what was read of it, never for what it announced. Where the room is short, the oldest of the
//! bodies being read goes on and the others wait, so that one of them always comes to its end; and whoever is slow
//! meanwhile is let go, the slowest first.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use super::super::Refusal;

/// Room is taken in units of this many bytes.
const UNIT: usize = 4096;
/// When to try again where the bodies of others take all the room: they are read within this, most times.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bodies of up to this many bytes wait for no older one.
const SMALL: usize = 64 * 1024;
/// How often the bodies that hold room are looked at while another waits for it.
const LOOK: Duration = Duration::from_millis(20);
/// How long a body is watched before it can be called slow.
const WATCHED: Duration = Duration::from_millis(200);
/// A body of fewer bytes a second gives way to any that waits.
const SLOW: f64 = 64.0 * 1024.0;
/// One of fewer gives way to a body that has waited for long.
const SLOW_FOR_LONG: f64 = 1024.0 * 1024.0;
const LONG: Duration = Duration::from_secs(2);
/// How long a body waits for room at most: most senders give up after ten seconds.
const LONGEST: Duration = Duration::from_secs(8);

/// Memory that all requests of a receiver share.
#[derive(Clone, Debug)]
pub(in super::super) struct Room {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: usize,
    /// What only the oldest body being read, and small ones, may go beyond.
    common: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// The bodies that are being read, the oldest first.
    readers: BTreeMap<u64, Reader>,
    next: u64,
}

/// A body that is being read.
#[derive(Debug)]
struct Reader {
    held: usize,
    pace: Pace,
    /// Whether it waits for room: then it is not its sender who is slow.
    is_waiting: bool,
    let_go: Arc<Notify>,
    is_let_go: bool,
}

/// How fast a body came lately: within the last one or two spans of [`WATCHED`].
#[derive(Clone, Copy, Debug)]
struct Pace {
    before: usize,
    now: usize,
    since: Instant,
    is_first: bool,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { before: 0, now: 0, since: now, is_first: true }
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WATCHED {
            let is_long_past = passed >= 2 * WATCHED;
            self.before = if is_long_past { 0 } else { self.now };
            (self.now, self.since, self.is_first) = (0, now, false);
        }
    }

    /// Bytes a second; `None` where it was not watched long enough.
    fn rate(mut self, now: Instant) -> Option<f64> {
        self.turn(now);
        let passed = now.saturating_duration_since(self.since);
        (!self.is_first).then(|| (self.before + self.now) as f64 / (WATCHED + passed).as_secs_f64())
    }
}

impl Room {
    /// A room of that size, in which one body being read takes at most `body`.
    pub(in super::super) fn new(bytes: usize, body: usize) -> Self {
        let common = bytes - body.min(bytes / 2);
        let inner = Inner { bytes, common, state: Mutex::default(), freed: Notify::new() };
        Self { inner: Arc::new(inner) }
    }

    /// A share of nothing yet.
    pub(in super::super) fn share(&self) -> Share {
        Share { room: self.clone(), held: 0, bytes: 0, reader: None }
    }

    fn give_back(&self, bytes: usize, reader: Option<u64>) {
        let mut state = self.inner.state.lock();
        let was_let_go =
            reader.and_then(|id| state.readers.remove(&id)).is_some_and(|reader| reader.is_let_go);
        // What was let go was given back then.
        if !was_let_go {
            state.used -= bytes;
        }
        drop(state);
        self.inner.freed.notify_waiters();
    }
}

impl State {
    /// Lets go of the slowest that are slower than `limit` bytes a second, until `need` bytes are free below `top`.
    fn let_go(&mut self, need: usize, top: usize, limit: f64, mine: u64, now: Instant) {
        let slow = self.readers.iter().filter(|(id, reader)| {
            **id != mine && !reader.is_waiting && !reader.is_let_go && reader.held > 0
        });
        let mut slow: Vec<(f64, u64)> =
            slow.filter_map(|(id, reader)| Some((reader.pace.rate(now)?, *id))).collect();
        slow.retain(|(rate, _)| *rate < limit);
        slow.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        // Those that hold little would free little.
        let is_large = |id: &u64| self.readers.get(id).is_some_and(|reader| reader.held > SMALL);
        slow.sort_by_key(|(_, id)| !is_large(id));
        for (_, id) in slow {
            if self.used + need <= top {
                break;
            }
            if let Some(reader) = self.readers.get_mut(&id) {
                reader.is_let_go = true;
                self.used -= reader.held;
                reader.let_go.notify_one();
            }
        }
    }

    /// Whether no large one that goes on is older than `mine`.
    fn is_oldest(&self, mine: u64) -> bool {
        let mut older = self.readers.range(..mine);
        !older.any(|(_, reader)| !reader.is_let_go && reader.held > SMALL)
    }
}

/// What one request holds of a [`Room`], given back when dropped.
#[derive(Debug)]
pub(in super::super) struct Share {
    room: Room,
    /// Bytes of whole units.
    held: usize,
    bytes: usize,
    reader: Option<(u64, Arc<Notify>)>,
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.held > 0 || self.reader.is_some() {
            self.room.give_back(self.held, self.reader.take().map(|(id, _)| id));
        }
    }
}

impl Share {
    /// A share of nothing yet, of the same room.
    pub(in super::super) fn another(&self) -> Self {
        self.room.share()
    }

    /// Takes room for `bytes` more.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`] where others hold it.
    pub(in super::super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        let need = self.need();
        if need == 0 {
            return Ok(());
        }
        let inner = &self.room.inner;
        let mut state = inner.state.lock();
        if need > inner.bytes.saturating_sub(state.used) {
            state.let_go(need, inner.bytes, SLOW, u64::MAX, Instant::now());
        }
        if need > inner.bytes.saturating_sub(state.used) {
            return Err(no_room("the receiver holds as many requests as it has memory for"));
        }
        state.used += need;
        self.held += need;
        Ok(())
    }

    fn need(&self) -> usize {
        self.bytes.div_ceil(UNIT).saturating_mul(UNIT).saturating_sub(self.held)
    }

    /// Begins to read a body: what it holds until [`Self::ends_reading`] can be taken from it.
    pub(super) fn begins_reading(&mut self) {
        let let_go = Arc::new(Notify::new());
        let mut state = self.room.inner.state.lock();
        let id = state.next;
        state.next += 1;
        let reader = Reader {
            held: self.held,
            pace: Pace::new(Instant::now()),
            is_waiting: false,
            let_go: Arc::clone(&let_go),
            is_let_go: false,
        };
        state.readers.insert(id, reader);
        self.reader = Some((id, let_go));
    }

    /// All was read.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`] where what it holds was given to others.
    pub(super) fn ends_reading(&mut self) -> Result<(), Refusal> {
        let Some((id, _)) = self.reader.take() else { return Ok(()) };
        let reader = self.room.inner.state.lock().readers.remove(&id);
        // The next one is the oldest now.
        self.room.inner.freed.notify_waiters();
        if reader.is_some_and(|reader| reader.is_let_go) {
            self.held = 0;
            return Err(gave_way());
        }
        Ok(())
    }

    /// Waits until what the body being read holds is given to others; for ever where none is being read.
    pub(super) async fn let_go(&self) -> Refusal {
        match &self.reader {
            Some((_, let_go)) => let_go.notified().await,
            None => std::future::pending().await,
        }
        gave_way()
    }

    /// Takes room for `bytes` more of the body being read, of which `arrived` are there; waits for it where it is short.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`] where it does not come, or where what it holds was given to others.
    pub(super) async fn grow_reading(&mut self, bytes: usize, arrived: usize) -> Result<(), Refusal> {
        let Some((id, let_go)) = self.reader.clone() else { return self.grow(bytes) };
        self.bytes += bytes;
        let need = self.need();
        let began = Instant::now();
        let inner = Arc::clone(&self.room.inner);
        loop {
            let freed = inner.freed.notified();
            if self.try_grow(id, need, arrived, began)? {
                return Ok(());
            }
            // What is slow is found by looking, too.
            let waited = async {
                tokio::select! {
                    () = freed => {}
                    () = let_go.notified() => {}
                }
            };
            let _ = timeout(LOOK, waited).await;
        }
    }

    fn try_grow(&mut self, id: u64, need: usize, arrived: usize, began: Instant) -> Result<bool, Refusal> {
        let inner = &self.room.inner;
        let now = Instant::now();
        let waits = now.saturating_duration_since(began);
        let mut state = inner.state.lock();
        let state = &mut *state;
        let is_short = |state: &State| {
            let is_free = state.is_oldest(id) || self.held + need <= SMALL;
            let top = if is_free { inner.bytes } else { inner.common };
            (need > top.saturating_sub(state.used)).then_some(top)
        };
        if let Some(top) = is_short(state) {
            let limit = if waits >= LONG { SLOW_FOR_LONG } else { SLOW };
            state.let_go(need, top, limit, id, now);
        }
        let is_short = is_short(state).is_some();
        let Some(reader) = state.readers.get_mut(&id) else { return Err(Refusal::Internal) };
        if reader.is_let_go {
            return Err(gave_way());
        }
        if !is_short {
            if reader.is_waiting {
                reader.pace = Pace::new(now);
            } else {
                reader.pace.turn(now);
            }
            reader.pace.now += arrived;
            reader.is_waiting = false;
            reader.held += need;
            state.used += need;
            self.held += need;
            return Ok(true);
        }
        reader.is_waiting = true;
        if waits >= LONGEST || self.held + need > inner.bytes {
            return Err(no_room("the receiver holds as many requests as it has memory for"));
        }
        Ok(false)
    }
}

fn no_room(message: &str) -> Refusal {
    Refusal::NoRoom { message: message.to_owned(), retry_after: RETRY_AFTER, items: 1 }
}

fn gave_way() -> Refusal {
    no_room("the body came more slowly than others that needed the receiver's memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_that_of_the_last_moments() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.now += 1_000_000;
        assert_eq!(pace.rate(start + WATCHED / 2), None);
        let rate = pace.rate(start + WATCHED).unwrap();
        assert!((4_900_000.0..=5_100_000.0).contains(&rate), "{rate}");
        assert!(pace.rate(start + 3 * WATCHED).unwrap() < 1.0);
        pace.turn(start + WATCHED);
        pace.now += 10;
        assert!(pace.rate(start + 4 * WATCHED).unwrap() < SLOW);
    }

    #[tokio::test]
    async fn all_is_given_back_whoever_lets_go() {
        let room = Room::new(8 * UNIT, 4 * UNIT);
        let mut one = room.share();
        one.begins_reading();
        one.grow_reading(4 * UNIT, 4 * UNIT).await.unwrap();
        let mut other = room.share();
        other.begins_reading();
        other.grow_reading(4 * UNIT, 4 * UNIT).await.unwrap();
        // The first is slow after a while, and the only one: the other waits for it.
        other.grow_reading(UNIT, UNIT).await.unwrap();
        assert!(matches!(one.ends_reading(), Err(Refusal::NoRoom { .. })));
        drop(one);
        assert_eq!(room.inner.state.lock().used, 5 * UNIT);
        other.ends_reading().unwrap();
        drop(other);
        assert_eq!(room.inner.state.lock().used, 0);
        assert!(room.inner.state.lock().readers.is_empty());
    }
}
