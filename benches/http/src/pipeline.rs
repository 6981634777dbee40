//! What reads the measurements meanwhile: a scrape each second and a push every two seconds, and the spans' export.
//!
//! The providers are the library's own and live until the process ends.

use std::{hint::black_box, net::SocketAddr, sync::OnceLock, thread, time::Duration};

use opentelemetry::metrics::Meter;
use opentelemetry_sdk::trace::SdkTracer;
use pushpull::{
    exposition::{sdk, text},
    telemetry::{self, Destination, Environment, Telemetry},
};
use tokio::runtime::{Builder, Runtime};

const SCOPE: &str = "http-bench";

/// One reader for both views, a batch span processor, and OTLP over gRPC for what is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline(&'static Telemetry);

impl Pipeline {
    /// Starts what pushes to the OTLP/gRPC receiver at `sink`: metrics every two seconds, spans as they come.
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
        Self(STARTED.get().unwrap())
    }

    /// For the layer's instruments.
    #[must_use]
    pub fn meter(self) -> Meter {
        self.0.meter(SCOPE)
    }

    /// For the layer's spans.
    #[must_use]
    pub fn tracer(self) -> SdkTracer {
        self.0.tracer(SCOPE)
    }

    /// Makes the text that a scrape is answered with.
    pub fn pull(self) -> impl Fn() -> String + Send + use<> {
        let reader = self.0.reader().clone();
        move || text::encode(&sdk::families(&reader.collect().unwrap()))
    }
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
