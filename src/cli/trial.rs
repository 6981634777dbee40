//! What `serve` does to its own service on request: load, probe and faults. They begin when it is ready and end
//! before it stops.

use std::{io, net::SocketAddr, time::Duration};

use opentelemetry::metrics::Meter;

use crate::{
    config::Serve,
    console::Controls,
    service::faults::Faults,
    signals::{Objective, Scope},
    traffic::Traffic,
};

/// The time over which the console's signals are rates.
const WINDOW: Duration = Duration::from_secs(300);

/// Load, probe and faults.
pub(super) struct Trial {
    pub(super) faults: Faults,
    traffic: Traffic,
}

impl Trial {
    /// Prepares them for the service that listens there, and begins the faults. To be called on the service's runtime.
    pub(super) async fn new(meter: &Meter, service: SocketAddr, settings: &Serve) -> Self {
        let faults = Faults::start(meter, |_, _| {});
        for order in &settings.faults {
            faults.begin(*order).await;
        }
        Self { faults, traffic: Traffic::new(meter, service, settings.load, settings.probe) }
    }

    /// What the console can change; the service's signals are told under its `name`.
    pub(super) fn controls(&self, name: String, settings: &Serve) -> Controls {
        let objective = Objective::new(settings.objective);
        let scope = Scope { service: name, window: WINDOW, objective };
        Controls { faults: self.faults.clone(), load: self.traffic.load().clone(), scope }
    }

    /// Begins to send requests.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn start(&self) -> io::Result<()> {
        self.traffic.start()
    }

    /// Ends every fault, so that the stop is like any other, and sends nothing new.
    pub(super) async fn end(&self) {
        self.faults.end_all().await;
        self.traffic.stop();
    }
}
