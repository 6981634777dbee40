//! The process is killed at random moments under load: whatever it acknowledged is written all the same.

use std::{
    collections::BTreeSet,
    env,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    away::Away,
    carbon::{Carbon, assert_in_order},
    collect::{Collect, spooling},
    points::Batch,
};

/// How often it is killed, unless the variable `KILLS` says so.
const KILLS: u64 = 20;
const SENDERS: usize = 3;
const SERIES: usize = 20;

/// How often the process is killed.
pub(crate) fn kills() -> u64 {
    env::var("KILLS").map_or(KILLS, |kills| kills.parse().expect("KILLS is a number"))
}

/// Different in each run, and told, so that a run can be looked at again.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        println!("the seed is {}", now.as_nanos() as u64);
        Self(now.as_nanos() as u64)
    }

    /// A number below `most` (the generator `SplitMix64`).
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// Sends until the process has gone; the batches that it acknowledged.
fn send_until_killed(collect: &Collect, sender: usize, next: &AtomicU64) -> Vec<Batch> {
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let batch = Batch::of(number, sender * SERIES..(sender + 1) * SERIES);
        match collect.send(&batch) {
            Some(200) => acknowledged.push(batch),
            Some(status) => panic!("batch {number}: {status}"),
            None => return acknowledged,
        }
    }
}

/// Runs it under load for that long, and kills it; the lines of what it acknowledged.
fn killed_after(time: Duration, flags: &str, next: &AtomicU64) -> BTreeSet<String> {
    let collect = &Collect::start(flags);
    let id = collect.id().to_string();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || send_until_killed(collect, sender, next)))
            .collect();
        // The moment of the kill is what is tried, not waited for.
        thread::sleep(time);
        assert!(
            std::process::Command::new("sh")
                .args(["-c", "kill -s KILL \"$1\"", "sh", &id])
                .status()
                .unwrap()
                .success()
        );
        senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .flat_map(|batch| batch.lines())
            .collect()
    })
}

/// Kills it before it is ready: while it reads what the last one left.
fn killed_at_its_start(chance: &mut Chance, folder: &Path, carbon: &Carbon) {
    let collect = Collect::begin(&spooling(folder, carbon.address()));
    thread::sleep(Duration::from_millis(chance.below(60)));
    collect.kill();
}

#[test]
fn what_was_acknowledged_before_a_kill_is_written_after_it() {
    let kills = kills();
    let mut chance = Chance::new();
    let folder = tempfile::tempdir().unwrap();
    let (carbon, away) = (Carbon::listen(), Away::new());
    let next = AtomicU64::new(0);
    let mut unwritten = BTreeSet::new();
    let mut acknowledged = 0;
    for kill in 0..kills {
        // Now with a carbon that takes everything, now without.
        let address = if chance.below(2) == 0 { carbon.address() } else { away.address() };
        let flags = spooling(folder.path(), address);
        let lines = killed_after(Duration::from_millis(chance.below(150)), &flags, &next);
        acknowledged += lines.len();
        unwritten.extend(lines);
        if chance.below(4) == 0 {
            killed_at_its_start(&mut chance, folder.path(), &carbon);
        }
        if chance.below(4) == 0 || kill + 1 == kills {
            let collect = Collect::start(&spooling(folder.path(), carbon.address()));
            carbon.until(&unwritten);
            unwritten.clear();
            assert_eq!(collect.own("spool_damaged_total", "reason=\"damaged\""), 0, "{}", collect.log());
            collect.kill();
            carbon.take_connections().iter().for_each(|lines| assert_in_order(lines));
        }
    }
    assert!(acknowledged > 0);
    println!("{kills} kills, {acknowledged} lines acknowledged and written");
}
