//! Random requests against a model of what cumulative values are.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::{DataPointFlags, HistogramDataPoint, Metric, NumberDataPoint};
use proptest::{prelude::*, test_runner::Config};

use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    CounterOfDeltas,
    Gauge,
    BalanceOfDeltas,
    Wait,
    WaitOfDeltas,
}

const KINDS: [Kind; 6] = [
    Kind::Counter,
    Kind::CounterOfDeltas,
    Kind::Gauge,
    Kind::BalanceOfDeltas,
    Kind::Wait,
    Kind::WaitOfDeltas,
];

impl Kind {
    const fn is_delta(self) -> bool {
        matches!(self, Self::CounterOfDeltas | Self::BalanceOfDeltas | Self::WaitOfDeltas)
    }

    const fn sample(self) -> &'static str {
        match self {
            Self::Counter => "counter_total",
            Self::CounterOfDeltas => "counter_deltas_total",
            Self::Gauge => "gauge",
            Self::BalanceOfDeltas => "balance",
            Self::Wait => "wait",
            Self::WaitOfDeltas => "wait_deltas",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    kind: Kind,
    key: u8,
    time: u64,
    value: i16,
    ends: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let ends = prop::bool::weighted(0.1);
    (0..KINDS.len(), 0..3_u8, 0..20_u64, any::<i16>(), ends).prop_map(|(kind, key, time, value, ends)| Step {
        kind: KINDS[kind],
        key,
        time: T + time,
        value,
        ends,
    })
}

impl Step {
    /// Counts of two buckets, the first of them the low byte.
    fn counts(self) -> [u64; 2] {
        let value = u64::from(self.value.unsigned_abs());
        [value & 0xff, value >> 8]
    }

    fn metric(self) -> Metric {
        let key = self.key.to_string();
        let own: Attributes<'_> = &[("key", &key)];
        let flags = if self.ends { DataPointFlags::NoRecordedValueMask as u32 } else { 0 };
        let amount = i64::from(self.value.unsigned_abs());
        let number = |value| vec![NumberDataPoint { flags, ..int(own, self.time, value) }];
        let counts = self.counts();
        let wait = || {
            let point = buckets(self.time, &[1.0], &counts, counts[0] as f64);
            vec![HistogramDataPoint { flags, attributes: attributes(own), ..point }]
        };
        match self.kind {
            Kind::Counter => counter("counter", CUMULATIVE, number(amount)),
            Kind::CounterOfDeltas => counter("counter.deltas", DELTA, number(amount)),
            Kind::Gauge => gauge("gauge", number(self.value.into())),
            Kind::BalanceOfDeltas => sum("balance", DELTA, false, number(self.value.into())),
            Kind::Wait => histogram("wait", CUMULATIVE, wait()),
            Kind::WaitOfDeltas => histogram("wait.deltas", DELTA, wait()),
        }
    }
}

/// The newest cumulative value of each series: a number, or a histogram's two counts.
#[derive(Default)]
struct Model(BTreeMap<(Kind, u8), (u64, [i64; 2])>);

impl Model {
    fn take(&mut self, step: Step) {
        let at = (step.kind, step.key);
        let value = match step.kind {
            Kind::Counter | Kind::CounterOfDeltas => [i64::from(step.value.unsigned_abs()), 0],
            Kind::Gauge | Kind::BalanceOfDeltas => [step.value.into(), 0],
            Kind::Wait | Kind::WaitOfDeltas => step.counts().map(u64::cast_signed),
        };
        if step.ends {
            self.0.remove(&at);
        } else if step.kind.is_delta() {
            let (time, total) = self.0.entry(at).or_default();
            *time = step.time.max(*time);
            *total = [total[0] + value[0], total[1] + value[1]];
        } else if self.0.get(&at).is_none_or(|(time, _)| *time <= step.time) {
            self.0.insert(at, (step.time, value));
        }
    }

    fn samples(&self) -> BTreeMap<String, i64> {
        let mut samples = BTreeMap::new();
        for ((kind, key), (_, [first, second])) in &self.0 {
            let name = kind.sample();
            let labels = format!("instance=one,job=eu/shop,key={key}");
            let mut add = |suffix: &str, le: &str, value| {
                samples.insert(format!("{name}{suffix}{{{labels}{le}}}"), value);
            };
            match kind {
                Kind::Wait | Kind::WaitOfDeltas => {
                    add("_bucket", ",le=1", *first);
                    add("_bucket", ",le=+Inf", first + second);
                    add("_count", "", first + second);
                    add("_sum", "", *first);
                }
                _ => add("", "", *first),
            }
        }
        if !samples.is_empty() {
            samples.insert("target_info{instance=one,job=eu/shop,service_version=2.1}".to_owned(), 1);
        }
        samples
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_exposition_is_what_the_points_add_up_to(
        requests in prop::collection::vec(prop::collection::vec(step(), 0..12), 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (shown, expected) = runtime.block_on(async {
            let (collector, mut model) = (Running::start(""), Model::default());
            for steps in &requests {
                // Deltas of one request are taken in the order of their times.
                let mut ordered = steps.clone();
                ordered.sort_by_key(|step| if step.kind.is_delta() { step.time } else { 0 });
                ordered.iter().for_each(|step| model.take(*step));
                collector.take(steps.iter().map(|step| step.metric()).collect()).await;
            }
            (collector.scrape().await.of_senders(), model.samples())
        });
        let shown: BTreeMap<_, _> = shown.into_iter().map(|(key, value)| (key, value as i64)).collect();
        // Labels are sorted by name and then by value in both.
        let sorted = |samples: BTreeMap<String, i64>| -> BTreeMap<Vec<String>, i64> {
            let parts = |key: String| key.split(['{', ',', '}']).map(str::to_owned).collect::<Vec<_>>();
            samples.into_iter().map(|(key, value)| { let mut parts = parts(key); parts.sort(); (parts, value) }).collect()
        };
        prop_assert_eq!(sorted(shown), sorted(expected));
    }
}
