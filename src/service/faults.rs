//! Faults on demand: begins one, ends it on time, and says so in the log and in a gauge.
//!
//! It must not judge what is asked for (`config::faults` does), nor be reachable from the service's own port.

mod switches;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue,
    metrics::{Gauge, Meter},
};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::switches::Switches;
pub(super) use self::switches::Turns;
use super::database::Database;
use crate::{
    config::faults::{Effect, Name, Order},
    telemetry::Link,
};

/// Orders that may wait to be carried out.
const WAITING: usize = 16;

/// What faults act on beside the routes.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The service's database.
    pub database: Database,
    /// The way of what is pushed.
    pub link: Link,
}

/// A fault that is on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Active {
    /// Which one, and how much of it.
    pub effect: Effect,
    /// When it ends by itself.
    pub ends: Instant,
}

impl Active {
    /// How long it will still last.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// A handle to the faults; clones are of the same ones. With the last handle every fault ends.
#[derive(Clone, Debug)]
pub struct Faults {
    switches: Arc<Switches>,
    orders: mpsc::Sender<(Change, oneshot::Sender<()>)>,
    active: watch::Receiver<Vec<Active>>,
}

#[derive(Debug)]
enum Change {
    Begin(Order),
    End(Name),
    EndAll,
}

impl Faults {
    /// No fault yet. The work is done on the current runtime, which should be the service's: what is logged of a
    /// fault belongs to its telemetry.
    pub fn start(meter: &Meter, targets: Targets) -> Self {
        let switches = Arc::new(Switches::default());
        let (orders, waiting) = mpsc::channel(WAITING);
        let (publish, active) = watch::channel(Vec::new());
        let gauge = meter
            .u64_gauge("pushpull.fault.active")
            .with_description("1 while a fault is on, 0 after it")
            .build();
        let keeper = Keeper { switches: Arc::clone(&switches), targets, gauge, publish };
        tokio::spawn(keeper.run(waiting));
        Self { switches, orders, active }
    }

    /// What the routes look at.
    #[must_use]
    pub fn switches(&self) -> Arc<Switches> {
        Arc::clone(&self.switches)
    }

    /// Begins a fault; one that is on already gets the new value and the new time. Returns once it is on.
    pub async fn begin(&self, order: Order) {
        self.change(Change::Begin(order)).await;
    }

    /// Ends a fault, where it is on. Returns once it is off.
    pub async fn end(&self, name: Name) {
        self.change(Change::End(name)).await;
    }

    /// Ends every fault. Returns once they are off.
    pub async fn end_all(&self) {
        self.change(Change::EndAll).await;
    }

    /// The faults that are on, in the order in which they began.
    #[must_use]
    pub fn active(&self) -> Vec<Active> {
        self.active.borrow().clone()
    }

    async fn change(&self, change: Change) {
        let (done, finished) = oneshot::channel();
        // Without a keeper its runtime is gone, and all that a fault could act on with it.
        if self.orders.send((change, done)).await.is_ok() {
            let _ = finished.await;
        }
    }
}

/// The one that switches, so that no two orders get into each other's way.
struct Keeper {
    switches: Arc<Switches>,
    targets: Targets,
    gauge: Gauge<u64>,
    publish: watch::Sender<Vec<Active>>,
}

impl Keeper {
    async fn run(self, mut orders: mpsc::Receiver<(Change, oneshot::Sender<()>)>) {
        loop {
            let next = self.publish.borrow().iter().map(|active| active.ends).min();
            let due = async {
                match next {
                    Some(ends) => tokio::time::sleep_until(ends.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => {
                    let Some((change, done)) = order else { break };
                    match change {
                        Change::Begin(order) => self.begin(order),
                        Change::End(name) => self.end(|active| active.effect.name() == name),
                        Change::EndAll => self.end(|_| true),
                    }
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                () = due => self.end(|active| active.left().is_zero()),
            }
        }
        self.end(|_| true);
    }

    fn begin(&self, Order { effect, lasts }: Order) {
        let fault = effect.name().text();
        tracing::warn!(fault, value = effect.value(), seconds = lasts.as_secs_f64(), "a fault begins");
        self.switch(effect, true);
        self.gauge.record(1, &[KeyValue::new("fault", fault)]);
        let new = Active { effect, ends: Instant::now() + lasts };
        self.publish.send_modify(|active| {
            match active.iter_mut().find(|active| active.effect.name() == effect.name()) {
                Some(active) => *active = new,
                None => active.push(new),
            }
        });
    }

    fn end(&self, is_over: impl Fn(&Active) -> bool) {
        let over: Vec<_> = self.publish.borrow().iter().copied().filter(&is_over).collect();
        for Active { effect, .. } in &over {
            let fault = effect.name().text();
            self.switch(*effect, false);
            self.gauge.record(0, &[KeyValue::new("fault", fault)]);
            tracing::warn!(fault, "a fault ends");
        }
        self.publish.send_modify(|active| active.retain(|active| !over.contains(active)));
    }

    fn switch(&self, effect: Effect, on: bool) {
        let Targets { database, link } = &self.targets;
        match effect {
            Effect::Errors(share) => self.switches.fail(if on { share } else { 0.0 }),
            Effect::Truncate => self.switches.truncate(on),
            Effect::ScrapeRefuse => self.switches.refuse_scrapes(on),
            Effect::DatabaseRefuse => database.refuse(on),
            Effect::DatabaseSlow(by) => database.slow(on.then_some(by)),
            Effect::Pool(left) => database.hold(on.then_some(left)),
            Effect::CollectorAway if on => link.sever(),
            Effect::CollectorAway => link.restore(),
        }
    }
}
