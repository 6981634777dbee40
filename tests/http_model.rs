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

use std::time::Instant;

use proptest::{collection::vec, prelude::*, test_runner::Config};
use tokio::runtime::{Builder, Runtime};

use crate::{plan::Step, trial::Trial};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs `steps` one after the other, waits until all has ended, and compares.
fn run(steps: Vec<Step>) {
    let runtime = runtime();
    let trial = runtime.block_on(async {
        let trial = Trial::start().await;
        for step in steps {
            step.run(&trial).await;
        }
        trial.end().await;
        trial
    });
    // Whatever still ran is dropped with it, and would be one too many.
    drop(runtime);
    trial.check();
}

proptest! {
    #![proptest_config(Config { cases: 64, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_comes_ends_once_as_the_model_says(steps in vec(plan::step(), 1..6)) {
        run(steps);
    }
}

/// Mixed requests of all kinds by clients beside each other.
fn many(requests: usize) {
    let started = Instant::now();
    let plans = plan::mixed(requests);
    println!("plans {:?}", started.elapsed());
    let runtime = runtime();
    let trial = runtime.block_on(async {
        let trial = Trial::start().await;
        plan::run(plans, 16, &trial).await;
    println!("run {:?}", started.elapsed());
        trial.end().await;
    println!("end {:?}", started.elapsed());
        trial
    });
    drop(runtime);
    trial.check();
    println!("{} requests in {:?}", trial.stage.arrived().len(), started.elapsed());
}

#[test]
fn mixed_requests_beside_each_other_are_counted_as_the_model_says() {
    many(20_000);
}
