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

/// The clients of one service, on a thread of their own.
#[derive(Debug)]
pub struct Traffic {
    meter: Meter,
    service: SocketAddr,
    load: Load,
    probe: Option<Duration>,
    stop: CancellationToken,
}

impl Traffic {
    /// The clients of the service that listens at the address: `load` requests a second (0 for none), and a check of
    /// each page every `probe`.
    #[must_use]
    pub fn new(meter: &Meter, service: SocketAddr, load: f64, probe: Option<Duration>) -> Self {
        let load = Load::new(meter, service, load);
        Self { meter: meter.clone(), service, load, probe, stop: CancellationToken::new() }
    }

    /// Begins to send. To be called once.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(&self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let Self { meter, service, load, probe, stop } = self;
        let (meter, service, load, probe, stop) =
            (meter.clone(), *service, load.clone(), *probe, stop.clone());
        thread::Builder::new().name("traffic".to_owned()).spawn(move || {
            runtime.block_on(async {
                let probing = async {
                    if let Some(period) = probe {
                        probe::run(&meter, service, period, &stop).await;
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
