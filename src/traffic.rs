//! The built-in clients of the service: a load, and a probe of its pages. They ask over real HTTP, like anyone.
//!
//! They must not take threads from the service, nor know it from within: of it they have the address, and the texts
//! that its pages end with.

mod client;
mod load;
mod probe;

use std::{io, net::SocketAddr, thread, time::Duration};

use opentelemetry::metrics::Meter;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

pub use self::load::{Load, State};
use crate::service::SECONDS;

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
    service: SocketAddr,
    load: Load,
    settings: Settings,
    stop: CancellationToken,
}

impl Traffic {
    /// The clients of the service that listens at the address.
    #[must_use]
    pub fn new(meter: &Meter, service: SocketAddr, settings: Settings) -> Self {
        let load = Load::new(meter, service, settings.load);
        Self { meter: meter.clone(), service, load, settings, stop: CancellationToken::new() }
    }

    /// Begins to send. To be called once.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(&self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let Self { meter, service, load, settings, stop } = self;
        let (meter, service, load, settings, stop) =
            (meter.clone(), *service, load.clone(), *settings, stop.clone());
        thread::Builder::new().name("traffic".to_owned()).spawn(move || {
            runtime.block_on(async {
                let probing = async {
                    if let Some(period) = settings.probe {
                        probe::run(&meter, service, period, settings.exposes_metrics, &stop).await;
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

    /// Sends nothing new; what is on its way is waited for on the clients' own thread.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
