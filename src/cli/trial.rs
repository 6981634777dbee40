//! What `serve` does to its own service on request: load, probe and faults. They begin when it is ready and end
//! before it stops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use opentelemetry::{Key, metrics::Meter};
use opentelemetry_sdk::Resource;

use crate::{
    config::Serve,
    console::Controls,
    net,
    service::faults::{Faults, Switches, Targets},
    signals::{Objective, Scope},
    traffic::{self, Traffic},
};

/// The time over which the console's signals are rates.
const WINDOW: Duration = Duration::from_secs(300);

/// Load, probe and faults.
pub(super) struct Trial {
    faults: Faults,
    traffic: Traffic,
}

impl Trial {
    /// Begins the faults, and prepares the rest for the service at this address. To be called on the service's runtime.
    pub(super) async fn begin(
        meter: &Meter,
        targets: Targets,
        service: SocketAddr,
        exposes_metrics: bool,
        settings: &Serve,
    ) -> Self {
        let faults = Faults::start(meter, targets);
        for order in &settings.faults {
            faults.begin(*order).await;
        }
        let traffic = traffic::Settings { load: settings.load, probe: settings.probe, exposes_metrics };
        Self { faults, traffic: Traffic::new(meter, &net::reachable(service).to_string(), traffic) }
    }

    /// What the routes look at.
    pub(super) fn switches(&self) -> Arc<Switches> {
        self.faults.switches()
    }

    /// What the console can change, and the signals that it tells.
    pub(super) fn controls(&self, scope: Scope) -> Controls {
        Controls { faults: self.faults.clone(), load: self.traffic.load().clone(), scope }
    }

    /// Begins to send requests.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn send(&self) -> io::Result<()> {
        self.traffic.start()
    }

    /// Ends every fault, so that the stop is like any other, and sends nothing new.
    pub(super) async fn end(&self) {
        self.faults.end_all().await;
        self.traffic.stop();
    }
}

/// The signals of the service that a resource describes, named as the collector names what that service pushes.
pub(super) fn scope(resource: &Resource, objective: Duration) -> Scope {
    let attribute = |key| resource.get(&Key::from_static_str(key)).map(|value| value.to_string());
    let service = attribute("service.name").unwrap_or_default();
    let job = match attribute("service.namespace") {
        Some(namespace) if !namespace.is_empty() && !service.is_empty() => format!("{namespace}/{service}"),
        _ => service.clone(),
    };
    Scope { service, job, window: WINDOW, objective: Objective::new(objective) }
}
