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

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;
    use crate::telemetry::reader::Source;

    #[test]
    fn a_panic_takes_its_own_series_only() {
        let source = Source::new().unwrap();
        let provider = SdkMeterProvider::builder().with_reader(source.clone()).build();
        let meter = provider.meter("test");
        meter
            .u64_observable_gauge("fragile")
            .with_callback(guarded(|_| panic!("as the test wants it")))
            .build();
        meter.u64_observable_gauge("sound").with_callback(guarded(|gauge| gauge.observe(7, &[]))).build();
        for _ in 0..2 {
            let collected = source.collect().unwrap();
            let metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
            let names: Vec<_> = metrics.map(|metric| metric.name().to_owned()).collect();
            assert_eq!(names, ["sound"]);
        }
    }
}
