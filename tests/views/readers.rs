//! What the judgement says of two readers on one provider, the usual way to pull and push: each aggregates for
//! itself, so that they disagree, and the judgement must see it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Instant, SystemTime},
};

use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_sdk::metrics::{
    SdkMeterProvider,
    data::{AggregatedMetrics, MetricData},
};
use prometheus::Registry;

use crate::{
    bracket::{Key, Push, Reading, Scrape, judge},
    served::PATIENCE,
    shared_reader::SharedReader,
};

/// The sums of all series of the one counter, and the time of its points.
fn sums(reader: &SharedReader) -> (SystemTime, BTreeMap<Key, f64>) {
    let collected = reader.collected();
    let metrics: Vec<_> = collected.scope_metrics().flat_map(|scope| scope.metrics()).collect();
    let AggregatedMetrics::F64(MetricData::Sum(sum)) = metrics[0].data() else { panic!("{metrics:?}") };
    let series = sum.data_points().map(|point| {
        let labels = point.attributes().map(|pair| (pair.key.to_string(), pair.value.to_string()));
        (("busy_total".to_owned(), labels.collect()), point.value())
    });
    (sum.time(), series.collect())
}

fn scrape(reader: &SharedReader) -> Scrape {
    let asked = Instant::now();
    let (_, values) = sums(reader);
    Scrape { asked, received: SystemTime::now(), values }
}

fn push(reader: &SharedReader) -> Push {
    let (time, values) = sums(reader);
    let readings = values.into_iter().map(|(key, value)| (key, Reading { time, value })).collect();
    Push { arrived: Instant::now(), readings }
}

#[test]
fn two_readers_are_seen_to_disagree() {
    let (pulled, pushed) = (SharedReader::new(Registry::new()), SharedReader::new(Registry::new()));
    let provider =
        SdkMeterProvider::builder().with_reader(pulled.clone()).with_reader(pushed.clone()).build();
    let counter = provider.meter("readers").f64_counter("busy").build();
    counter.add(0.1, &[KeyValue::new("writer", "all")]);

    let stopped = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let counter = counter.bind(&[KeyValue::new("writer", "all")]);
            let stopped = Arc::clone(&stopped);
            thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    counter.add(0.1);
                }
            })
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let mut brackets = 0;
    let seen = loop {
        let (mut scrapes, mut pushes) = (vec![scrape(&pulled)], Vec::new());
        for _ in 0..100 {
            pushes.push(push(&pushed));
            scrapes.push(scrape(&pulled));
        }
        let verdict = judge(&scrapes, &pushes);
        brackets += verdict.brackets;
        if !verdict.violations.is_empty() {
            break true;
        }
        if Instant::now() > deadline {
            break false;
        }
    };
    stopped.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    println!("the first violation of two readers within {brackets} brackets");
    assert!(seen, "two readers agreed in all of {brackets} brackets");
}
