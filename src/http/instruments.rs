//! The four instruments of an HTTP server, and their measurements without binding.
//!
//! It must not decide what is measured, or when.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Histogram, Meter, UpDownCounter},
};

/// The boundaries of the conventions, in seconds.
const DURATION_BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Boundaries of body sizes in bytes: an empty body by itself, then powers of four from 64 B to 64 MiB.
///
/// The conventions name none; the defaults of the SDK end at 10 kB.
const SIZE_BOUNDARIES: [f64; 12] = [
    0.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// What one request measured, at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) duration: Duration,
    /// In bytes; none where it cannot be known.
    pub(super) request_size: Option<u64>,
    /// In bytes; none where no response was made.
    pub(super) response_size: Option<u64>,
}

/// The instruments, made once for each layer.
pub(super) struct Instruments {
    pub(super) active: UpDownCounter<i64>,
    duration: Histogram<f64>,
    request_size: Histogram<u64>,
    response_size: Histogram<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            active: meter
                .i64_up_down_counter("http.server.active_requests")
                .with_description("Number of active HTTP server requests.")
                .with_unit("{request}")
                .build(),
            duration: meter
                .f64_histogram("http.server.request.duration")
                .with_description("Duration of HTTP server requests.")
                .with_unit("s")
                .with_boundaries(DURATION_BOUNDARIES.to_vec())
                .build(),
            request_size: meter
                .u64_histogram("http.server.request.body.size")
                .with_description("Size of HTTP server request bodies.")
                .with_unit("By")
                .with_boundaries(SIZE_BOUNDARIES.to_vec())
                .build(),
            response_size: meter
                .u64_histogram("http.server.response.body.size")
                .with_description("Size of HTTP server response bodies.")
                .with_unit("By")
                .with_boundaries(SIZE_BOUNDARIES.to_vec())
                .build(),
        }
    }

    /// Records with a look-up of the attributes in each instrument.
    pub(super) fn record(&self, measured: Measured, attributes: &[KeyValue]) {
        self.duration.record(measured.duration.as_secs_f64(), attributes);
        if let Some(bytes) = measured.request_size {
            self.request_size.record(bytes, attributes);
        }
        if let Some(bytes) = measured.response_size {
            self.response_size.record(bytes, attributes);
        }
    }

    /// Binds those instruments that `measured` has a value for: a bound one that is never recorded is exported as 0.
    pub(super) fn bind(&self, measured: Measured, attributes: &[KeyValue]) -> BoundInstruments {
        BoundInstruments {
            duration: self.duration.bind(attributes),
            request_size: measured.request_size.map(|_| self.request_size.bind(attributes)),
            response_size: measured.response_size.map(|_| self.response_size.bind(attributes)),
        }
    }
}

/// The instruments, bound to one set of attributes.
pub(super) struct BoundInstruments {
    duration: BoundHistogram<f64>,
    request_size: Option<BoundHistogram<u64>>,
    response_size: Option<BoundHistogram<u64>>,
}

impl BoundInstruments {
    /// Records what is there in both; the caller binds other instruments for other measurements.
    pub(super) fn record(&self, measured: Measured) {
        self.duration.record(measured.duration.as_secs_f64());
        if let (Some(histogram), Some(bytes)) = (&self.request_size, measured.request_size) {
            histogram.record(bytes);
        }
        if let (Some(histogram), Some(bytes)) = (&self.response_size, measured.response_size) {
            histogram.record(bytes);
        }
    }
}
