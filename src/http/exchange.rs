//! The guard of one request: from the moment it reached the layer to its end, however it ends.
//!
//! Metrics and span must be ended here and nowhere else, by one drop and from one reading of the clock. Nothing may panic
//! out of that drop: it may run while a panic unwinds, and would end the process.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use ::http::{Method, Request, StatusCode};
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
    asked: Asked,
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

/// What a method says of the response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// HEAD: there is none.
    Head,
    /// CONNECT: there is none where it succeeds.
    Connect,
    Other,
}

struct Traced {
    context: Context,
    started_at: SystemTime,
}

/// The size of the request's body in bytes: what was read of it. What its head announces is the client's word.
enum RequestSize {
    /// There is no body.
    None,
    /// Counted while the handler reads.
    Counted(Arc<AtomicU64>),
    Unknown,
}

impl RequestSize {
    fn of<B: Body + 'static>(body: &mut B) -> Self {
        if body.is_end_stream() || body.size_hint().exact() == Some(0) {
            return Self::None;
        }
        adapter::count_body(body).map_or(Self::Unknown, Self::Counted)
    }

    fn bytes(&self) -> Option<u64> {
        match self {
            Self::None => Some(0),
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
        let labels = Labels::of(request, &shared.methods, scheme);
        let target = shared.targets.find(labels, adapter::route(request.extensions()));
        let asked = match *request.method() {
            Method::HEAD => Asked::Head,
            Method::CONNECT => Asked::Connect,
            _ => Asked::Other,
        };
        let traced = target.traced.then(|| {
            let started_at = SystemTime::now();
            let parent = shared.parent(request.headers());
            let context = span::start(&*shared.tracer, &parent, &target, request, client, started_at);
            Traced { context, started_at }
        });
        target.start();
        Self {
            target,
            asked,
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

    /// What the request's method says of the response's body.
    pub(super) const fn asked(&self) -> Asked {
        self.asked
    }

    /// Takes note of the response's status: from here on there is a response.
    pub(super) fn respond(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Takes note of data that the response's body handed on.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.saturating_add(bytes as u64);
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
        contained(|| self.target.end(outcome, measured));
        if let Some(traced) = &self.traced {
            let ended_at = traced.started_at.checked_add(duration).unwrap_or(traced.started_at);
            contained(|| span::end(&traced.context, outcome, ended_at));
        }
    }
}

/// Runs what belongs to meter and tracer, and so to whoever made them: exporters, processors, callbacks. What panics there
/// has said so by the panic's own message.
fn contained(end: impl FnOnce()) {
    drop(panic::catch_unwind(AssertUnwindSafe(end)));
}
