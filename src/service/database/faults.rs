//! What is made to go wrong with the database on purpose, for as long as it is asked for.
//!
//! Holds the wishes alone: the server, the connections and the pool see to them.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// The faults that are on now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The database refuses connections, and has closed those that it had.
    pub(super) refuse: bool,
    /// What each operation takes longer within the database.
    pub(super) slow: Option<Duration>,
    /// The connections that are left to operations; the others are held.
    pub(super) left: Option<u32>,
}

/// Waits for as long as an operation is to take longer, counted from now; a change of that time counts at once.
pub(super) async fn linger(mut faults: watch::Receiver<Faults>) {
    let start = Instant::now();
    loop {
        let Some(delay) = faults.borrow_and_update().slow else { return };
        tokio::select! {
            () = sleep_until(start + delay) => return,
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Returns once connections are refused.
pub(super) async fn refusal(mut faults: watch::Receiver<Faults>) {
    if faults.wait_for(|faults| faults.refuse).await.is_err() {
        // Nobody is left who could ask for it.
        std::future::pending().await
    }
}
