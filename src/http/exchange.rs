//! The guard of one request: from the moment it reached the layer to its end, however it ends.
//!
//! Metrics and span must be ended here and nowhere else, by one drop and from one reading of the clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use ::http::{Request, StatusCode};
use http_body::Body;
use opentelemetry::{
    Context,
    trace::{Span, Tracer},
};

use super::{
    Shared, adapter,
    instruments::Measured,
    labels::Labels,
    outcome::{Ending, Outcome},
    span,
    target::Target,
};

/// One request that is being served. Dropping it ends the request: as a panic where one goes through
/// [`Exchange::run`], as [`Exchange::finish`] said, else as cancelled.
pub(super) struct Exchange {
    target: Arc<Target>,
    started: Instant,
    /// None where no span is made for the route.
    traced: Option<Traced>,
    request_size: RequestSize,
    status: Option<StatusCode>,
    response_bytes: u64,
    ending: Ending,
    /// Set while the inner service or body runs. Still set in the drop, it means that a panic left it; unlike the
    /// thread's panicking flag it says so too where someone caught the panic, and not where another task's panic
    /// merely dropped this request.
    running: bool,
}

struct Traced {
    context: Context,
    started_at: SystemTime,
}

/// The size of the request's body in bytes.
enum RequestSize {
    /// Announced, so that the transport holds it to that.
    Known(u64),
    /// Counted while the handler reads.
    Counted(Arc<AtomicU64>),
    Unknown,
}

impl RequestSize {
    fn of<B: Body + 'static>(body: &mut B) -> Self {
        match body.size_hint().exact() {
            Some(bytes) => Self::Known(bytes),
            None => adapter::count_body(body).map_or(Self::Unknown, Self::Counted),
        }
    }

    fn bytes(&self) -> Option<u64> {
        match self {
            Self::Known(bytes) => Some(*bytes),
            Self::Counted(bytes) => Some(bytes.load(Ordering::Relaxed)),
            Self::Unknown => None,
        }
    }
}

impl Exchange {
    /// Starts the clock, the span and the count of active requests.
    pub(super) fn start<T, B>(shared: &Shared<T>, request: &mut Request<B>) -> Self
    where
        T: Tracer,
        T::Span: Span + Send + Sync + 'static,
        B: Body + 'static,
    {
        let started = Instant::now();
        let (client, scheme) = shared.origin(request);
        let target = shared.targets.find(Labels::of(request, scheme), adapter::route(request.extensions()));
        let traced = target.traced.then(|| {
            let started_at = SystemTime::now();
            let parent = shared.parent(request.headers());
            let context = span::start(&*shared.tracer, &parent, &target, request, client, started_at);
            Traced { context, started_at }
        });
        target.start();
        Self {
            target,
            started,
            traced,
            request_size: RequestSize::of(request.body_mut()),
            status: None,
            response_bytes: 0,
            ending: Ending::Cancelled,
            running: false,
        }
    }

    /// Runs a step of the inner service or body with the request's span as the current one.
    pub(super) fn run<R>(&mut self, step: impl FnOnce() -> R) -> R {
        self.running = true;
        let result = {
            let context = self.traced.as_ref().map(|traced| traced.context.clone());
            let _attached = context.map(Context::attach);
            step()
        };
        self.running = false;
        result
    }

    /// The request's method, or the word for all that are not known.
    pub(super) fn method(&self) -> &'static str {
        self.target.labels.method()
    }

    /// Takes note of the response's status: from here on there is a response.
    pub(super) fn respond(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Takes note of data that the response's body handed on.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// The bytes of data that the response's body has handed on.
    pub(super) fn response_bytes(&self) -> u64 {
        self.response_bytes
    }

    /// Whether a panic left the inner service or body.
    pub(super) fn panicked(&self) -> bool {
        self.running
    }

    /// Ends the request.
    pub(super) fn finish(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let outcome =
            Outcome { status: self.status, ending: if self.running { Ending::Panic } else { self.ending } };
        let measured = Measured {
            duration,
            request_size: self.request_size.bytes(),
            response_size: self.status.map(|_| self.response_bytes),
        };
        self.target.end(outcome, measured);
        if let Some(traced) = &self.traced {
            span::end(&traced.context, outcome, traced.started_at + duration);
        }
    }
}
