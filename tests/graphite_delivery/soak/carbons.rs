//! The carbons that the program has: two addresses, one of which takes over from the other.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    faults::Times,
    station::Station,
    store::{Acknowledged, Store},
};
use crate::{collect::spooling, points::eventually};

/// Two addresses of carbons in front of one store.
pub(super) struct Carbons {
    stations: [Arc<Station>; 2],
    pub(super) store: Arc<Mutex<Store>>,
}

impl Carbons {
    pub(super) fn new(cached: Duration) -> Self {
        let store = Arc::new(Mutex::new(Store::new(cached)));
        Self { stations: [Station::open_for(&store), Station::open_for(&store)], store }
    }

    pub(super) fn flags(&self, folder: &Path, times: &Times, mebibytes: u64) -> String {
        let [first, second] = self.stations.each_ref().map(|station| station.address);
        let replay = times.replay.as_millis();
        format!(
            "{} --graphite {second} --graphite-replay {replay}ms --spool-limit {mebibytes}MiB",
            spooling(folder, first)
        )
    }

    /// Closes, or opens again, the ports of both carbons.
    pub(super) fn set_open(&self, open: bool) {
        self.stations.iter().for_each(|station| station.set_open(open));
    }

    /// The one that has the connection.
    pub(super) fn current(&self) -> &Station {
        eventually("a connection to one of the carbons", || {
            self.stations.iter().find(|station| station.connected.load(Ordering::SeqCst) > 0)
        })
    }

    /// Waits until they have all of that; how long that took.
    pub(super) fn await_all(&self, acknowledged: &[Acknowledged], patience: Duration) -> Duration {
        let began = Instant::now();
        loop {
            // The lock is free again before anything is waited for.
            let lacks = self.store.lock().unwrap().lacks(acknowledged);
            let Some(lacks) = lacks else { return began.elapsed() };
            assert!(began.elapsed() < patience, "after {patience:?} {lacks}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn assert_right(&self) {
        assert_eq!(self.store.lock().unwrap().wrong, None);
    }
}
