//! What reads the measurements meanwhile: a scrape each second and a push every two seconds, and the spans' export.
//!
//! The providers are the library's own and live until the process ends. Whatever layer is on the same version of
//! OpenTelemetry gets the same.

use std::{hint::black_box, net::SocketAddr, sync::OnceLock, thread, time::Duration};

use opentelemetry::{
    InstrumentationScope,
    metrics::{Meter, MeterProvider},
    trace::TracerProvider,
};
use opentelemetry_sdk::trace::SdkTracer;
use pushpull::{
    exposition::{sdk, text},
    telemetry::{self, Destination, Environment, Telemetry},
};
use tokio::runtime::{Builder, Runtime};
use tracing::Level;
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, registry};

const SCOPE: &str = "http-bench";

/// One reader for both views, a batch span processor, and OTLP over gRPC for what is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline(&'static Telemetry);

impl Pipeline {
    /// Starts what scrapes, and what pushes to the OTLP/gRPC receiver at `sink`.
    ///
    /// # Panics
    /// Where it was started before in this process.
    #[must_use]
    pub fn start(sink: SocketAddr) -> Self {
        static STARTED: OnceLock<Telemetry> = OnceLock::new();
        let _entered = runtime().enter();
        let environment = Environment::of([]);
        let resource = telemetry::resource(&environment, SCOPE, env!("CARGO_PKG_VERSION"));
        let sink = Destination::Embedded { grpc: sink, http: sink };
        let telemetry = Telemetry::start(&environment, resource, sink).unwrap();
        assert!(STARTED.set(telemetry).is_ok(), "one process has one pipeline");
        let pipeline = Self(STARTED.get().unwrap());
        scrape_each_second(pipeline.pull());
        pipeline
    }

    /// Makes the text that a scrape is answered with.
    fn pull(self) -> impl Fn() -> String + Send + use<> {
        let reader = self.0.reader().clone();
        move || text::encode(&sdk::families(&reader.collect().unwrap()))
    }
}

impl MeterProvider for Pipeline {
    fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
        self.0.meter(SCOPE)
    }
}

impl TracerProvider for Pipeline {
    type Tracer = SdkTracer;

    fn tracer_with_scope(&self, _: InstrumentationScope) -> SdkTracer {
        self.0.tracer(SCOPE)
    }
}

/// Makes spans of the `tracing` spans from `target` on, up to `level`, as tracing-opentelemetry does by itself.
pub(crate) fn trace_by_tracing(tracer: SdkTracer, target: &str, level: Level) {
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let layer = layer.with_filter(Targets::new().with_target(target, level));
    tracing::subscriber::set_global_default(registry().with(layer)).unwrap();
}

/// The runtime that carries exports; telemetry of its own threads is suppressed, so that exports do not trace
/// themselves.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(telemetry::suppress_on_this_thread)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Calls `pull` each second until the process ends.
pub(crate) fn scrape_each_second(pull: impl Fn() -> String + Send + 'static) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            black_box(pull());
        }
    });
}
