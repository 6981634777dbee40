//! The layers that are compared, each around the same application and set up as its documentation says.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use axum::{Router, routing::get};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::pipeline::{self, Pipeline};

/// One layer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The application as it is.
    Bare,
    /// The layer of this project.
    Pushpull,
}

impl Layer {
    /// All, in the order of the table.
    pub const ALL: [Self; 2] = [Self::Bare, Self::Pushpull];

    /// As the table names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare-axum",
            Self::Pushpull => "pushpull",
        }
    }

    /// The application with this layer around it, whose telemetry goes to the OTLP/gRPC receiver at `sink`; with
    /// everything running that reads what is measured.
    pub fn app(self, sink: SocketAddr) -> Router {
        let app = Router::new().route("/users/{id}", get(async || "hello, world\n"));
        match self {
            Self::Bare => app,
            Self::Pushpull => {
                let pipeline = Pipeline::start(sink);
                let layer = pushpull::http::Layer::new(&pipeline.meter(), pipeline.tracer())
                    .with_propagator(Arc::new(TraceContextPropagator::new()));
                pipeline::scrape_each_second(pipeline.pull());
                app.layer(layer)
            }
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|layer| layer.name() == name);
        found.ok_or_else(|| format!("no layer is called {name}"))
    }
}
