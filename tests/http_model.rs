//! The HTTP layer against a model: random requests over real connections, each ended in one of all ways in which a
//! request can end, and what metrics and spans must then say.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "http_model/application.rs"]
mod application;
#[path = "http_model/client.rs"]
mod client;
#[path = "http_model/exchange.rs"]
mod exchange;
#[path = "http_model/http1.rs"]
mod http1;
#[path = "http_model/http2.rs"]
mod http2;
#[path = "http_model/plan.rs"]
mod plan;
#[path = "http_model/recorded.rs"]
mod recorded;
#[path = "support/shared_reader.rs"]
mod shared_reader;
#[path = "http_model/trial.rs"]
mod trial;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use proptest::{collection::vec, prelude::*, test_runner::Config};
use tokio::runtime::Builder;

use crate::trial::Trial;

/// Runs `work`, waits until all it began has ended, and compares what was recorded with what was expected. Returns how
/// many requests there were by `error.type`, which is empty for those that went well.
fn run(work: impl AsyncFnOnce(&Arc<Trial>)) -> BTreeMap<String, u64> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let trial = runtime.block_on(async {
        let trial = Trial::start().await;
        work(&trial).await;
        trial.end().await;
        trial
    });
    // Whatever still ran is dropped with it, and would be one too many.
    drop(runtime);
    trial.check()
}

proptest! {
    #![proptest_config(Config { cases: 64, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_comes_ends_once_as_the_model_says(steps in vec(plan::step(), 1..6)) {
        run(async |trial| {
            for step in steps {
                step.run(trial).await;
            }
        });
    }
}

/// How many mixed requests: in a debug build the larger number takes a minute, which the suite with the peers has.
const MIXED: usize = if cfg!(feature = "peers") { 100_000 } else { 20_000 };

#[test]
fn mixed_requests_beside_each_other_are_counted_as_the_model_says() {
    let started = Instant::now();
    let ended = run(async |trial| plan::run_mixed(MIXED, trial).await);
    let all: u64 = ended.values().sum();
    println!("{all} requests in {:?}: {ended:?}", started.elapsed());
    assert!(all >= MIXED as u64);
    // They are mixed indeed.
    for (error_type, of) in
        [("", 2), ("cancelled", 100), ("panic", 100), ("body_error", 1_000), ("handler_error", 1_000)]
    {
        assert!(ended[error_type] >= all / of, "{error_type:?}: {ended:?}");
    }
}
