//! Callbacks of instruments that are read when metrics are collected.

use std::panic::{AssertUnwindSafe, catch_unwind};

use opentelemetry::metrics::AsyncInstrument;

/// A callback whose panic leaves its own series out. Without this, the SDK would collect nothing any more, for
/// neither view.
pub(super) fn guarded<T>(
    callback: impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    move |instrument| {
        let _ = catch_unwind(AssertUnwindSafe(|| callback(instrument)));
    }
}
