//! The layers that are compared, each around the same application and set up as its documentation says: metrics, and
//! where it has them traces, with every request sampled.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use axum::{Router, routing::get};
use opentelemetry::{global, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Level;

use crate::{
    least, older,
    pipeline::{self, Metrics, Spans},
    usual,
};

/// One layer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The application as it is.
    Bare,
    /// The layer of this project.
    Pushpull,
    /// `opentelemetry-instrumentation-tower`: metrics and traces.
    InstrumentationTower,
    /// `axum-otel-metrics`: metrics.
    AxumOtelMetrics,
    /// `tower-otel`: metrics, and traces by way of `tracing`.
    TowerOtel,
    /// `axum-tracing-opentelemetry`: traces by way of `tracing`.
    AxumTracingOpentelemetry,
    /// `axum-prometheus`: metrics by way of `metrics`.
    AxumPrometheus,
    /// What is put together by hand where no layer is used: `TraceLayer`, tracing-opentelemetry, and two readers.
    Usual,
    /// The least that any layer can do with the SDK in its path; none that one could use.
    Least,
}

impl Layer {
    /// All, in the order of the table; each is its own index here.
    pub const ALL: [Self; 9] = [
        Self::Bare,
        Self::Pushpull,
        Self::InstrumentationTower,
        Self::AxumOtelMetrics,
        Self::TowerOtel,
        Self::AxumTracingOpentelemetry,
        Self::AxumPrometheus,
        Self::Usual,
        Self::Least,
    ];

    /// As a person calls it, and as a word.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Bare => ("bare axum", "bare"),
            Self::Pushpull => ("**pushpull**", "pushpull"),
            Self::InstrumentationTower => {
                ("opentelemetry-instrumentation-tower 0.19", "opentelemetry-instrumentation-tower")
            }
            Self::AxumOtelMetrics => ("axum-otel-metrics 0.14", "axum-otel-metrics"),
            Self::TowerOtel => ("tower-otel 0.12", "tower-otel"),
            Self::AxumTracingOpentelemetry => {
                ("axum-tracing-opentelemetry 0.42", "axum-tracing-opentelemetry")
            }
            Self::AxumPrometheus => ("axum-prometheus 0.10", "axum-prometheus"),
            Self::Usual => ("the usual set", "usual"),
            Self::Least => ("the least with the SDK in the path", "least"),
        }
    }

    /// As the table names it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.names().0
    }

    /// What it measures: metrics, traces.
    #[must_use]
    pub const fn signals(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::AxumOtelMetrics | Self::AxumPrometheus => "metrics",
            Self::AxumTracingOpentelemetry => "traces",
            Self::Pushpull | Self::InstrumentationTower | Self::TowerOtel | Self::Usual | Self::Least => {
                "metrics, traces"
            }
        }
    }

    /// Whether its requests have spans.
    #[must_use]
    pub const fn traces(self) -> bool {
        !matches!(self, Self::Bare | Self::AxumOtelMetrics | Self::AxumPrometheus)
    }

    /// The application with this layer around it; metrics, and spans where they are sent, go to the OTLP/gRPC receiver
    /// at `sink`. Everything is running that reads what is measured.
    ///
    /// # Panics
    /// Where it is called twice in a process: some layers work by globals.
    pub fn app(self, spans: Spans, sink: SocketAddr) -> Router {
        let hello = || get(async || "hello, world\n");
        let app = Router::new().route("/", hello()).route("/users/{id}", hello());
        let tracers = self.traces().then(|| pipeline::tracers(spans, sink));
        global::set_text_map_propagator(TraceContextPropagator::new());
        if let Some(tracers) = &tracers {
            global::set_tracer_provider(tracers.clone());
        }
        match (self, tracers) {
            (Self::Pushpull, Some(tracers)) => {
                let layer =
                    pushpull::http::Layer::new(&Metrics::start(sink).meter("http"), tracers.tracer("http"));
                app.layer(layer.with_propagator(Arc::new(TraceContextPropagator::new())))
            }
            (Self::InstrumentationTower, Some(_)) => {
                global::set_meter_provider(Metrics::start(sink));
                app.layer(opentelemetry_instrumentation_tower::http::server::Layer::new())
            }
            (Self::TowerOtel, Some(tracers)) => {
                pipeline::trace_by_tracing(&tracers, "tower_otel", Level::INFO);
                let metrics = tower_otel::metrics::HttpLayer::server(&Metrics::start(sink).meter("http"));
                app.layer(metrics).layer(tower_otel::trace::HttpLayer::server(Level::INFO))
            }
            (Self::AxumTracingOpentelemetry, Some(tracers)) => {
                pipeline::trace_by_tracing(&tracers, "otel::tracing", Level::TRACE);
                app.layer(axum_tracing_opentelemetry::middleware::OtelAxumLayer::default())
            }
            (Self::Usual, Some(tracers)) => usual::around(app, &tracers, sink),
            (Self::Least, Some(tracers)) => {
                least::around(app, &Metrics::start(sink).meter("http"), tracers.tracer("http"))
            }
            (Self::AxumOtelMetrics, _) => {
                let layer = axum_otel_metrics::HttpMetricsLayerBuilder::new();
                app.layer(layer.with_provider(older::metrics(sink)).build())
            }
            (Self::AxumPrometheus, _) => {
                let _entered = pipeline::runtime().enter();
                let (layer, metrics) = axum_prometheus::PrometheusMetricLayer::pair();
                pipeline::scrape_each_second(move || metrics.render());
                app.layer(layer)
            }
            (_, None) => app,
            (Self::Bare, Some(_)) => unreachable!("it has no spans"),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().1)
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|layer| layer.names().1 == name);
        found.ok_or_else(|| format!("no layer is called {name}"))
    }
}
