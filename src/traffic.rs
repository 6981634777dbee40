//! The built-in clients of a service: a load, and a probe of its pages. They ask over real HTTP, like anyone.
//!
//! They must not take threads from the service, nor know it from within: of it they have the address, and the texts
//! that its pages end with.

mod client;
mod load;
mod probe;
mod tally;

use std::{io, sync::Arc, thread, time::Duration};

use opentelemetry::metrics::Meter;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

pub use self::load::{IN_FLIGHT, Load, State};
pub use self::tally::{Durations, Tally};
use crate::service::SECONDS;

/// Host names that may be looked up at once.
const RESOLVERS: usize = 4;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests a second; 0 for none.
    pub load: f64,
    /// Time between two checks of each page; `None` where none is checked.
    pub probe: Option<Duration>,
    /// The metrics page has metrics, so that it can be checked too.
    pub exposes_metrics: bool,
}

/// The clients of one service, on a thread of their own.
#[derive(Debug)]
pub struct Traffic {
    meter: Meter,
    authority: String,
    load: Load,
    failed_checks: Arc<probe::Failures>,
    settings: Settings,
    stop: CancellationToken,
}

impl Traffic {
    /// The clients of the service at `HOST:PORT`.
    #[must_use]
    pub fn new(meter: &Meter, authority: &str, settings: Settings) -> Self {
        Self {
            meter: meter.clone(),
            authority: authority.to_owned(),
            load: Load::new(meter, authority, settings.load),
            failed_checks: Arc::default(),
            settings,
            stop: CancellationToken::new(),
        }
    }

    /// Begins to send. To be called once.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(&self) -> io::Result<()> {
        // Names alone are resolved on other threads.
        let runtime = Builder::new_current_thread().max_blocking_threads(RESOLVERS).enable_all().build()?;
        let Self { meter, authority, load, failed_checks, settings, stop } = self;
        let (meter, authority, load, failed_checks, settings, stop) = (
            meter.clone(),
            authority.clone(),
            load.clone(),
            Arc::clone(failed_checks),
            *settings,
            stop.clone(),
        );
        thread::Builder::new().name("traffic".to_owned()).spawn(move || {
            runtime.block_on(async {
                let probing = async {
                    if let Some(period) = settings.probe {
                        let checks = (period, settings.exposes_metrics);
                        probe::run(&meter, &authority, checks, &failed_checks, &stop).await;
                    }
                };
                let sending = async {
                    stop.run_until_cancelled(load.run()).await;
                    // What is on its way may arrive: the service drains.
                    load.idle().await;
                };
                tokio::join!(probing, sending)
            });
        })?;
        Ok(())
    }

    /// The load, to be looked at and changed.
    #[must_use]
    pub const fn load(&self) -> &Load {
        &self.load
    }

    /// What was sent so far, and what became of it.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let (State { sent, missed, .. }, (failed, durations)) = (self.load.state(), self.load.outcomes());
        Tally { sent, failed, missed, durations, failures: self.failed_checks.by_page() }
    }

    /// Resolves once no request of the load is on its way.
    pub async fn idle(&self) {
        self.load.idle().await;
    }

    /// Sends nothing new; what is on its way is waited for on the clients' own thread.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
