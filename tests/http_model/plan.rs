//! Random plans of what clients do, and their execution.

use std::{ops::Range, sync::Arc};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use crate::{
    exchange::{Exchange, Place, Play, Reading, Then, Upload, Version, Way},
    http1, http2,
    trial::Trial,
};

/// What one client does on one connection.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// The exchanges in order; pipelined in HTTP/1.1, side by side in HTTP/2, where `at_once` says so.
    Talks { version: Version, exchanges: Vec<Exchange>, at_once: bool },
    /// Many requests at once, and away.
    Abandons { version: Version, count: u8, way: Way },
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Clients beside each other.
    Talk(Vec<Plan>),
    /// A stop of the server while requests wait at these places, each client with a connection of its own. Those of
    /// HTTP/1 have room for the first place only.
    Restart { clients: Vec<(Version, Vec<Place>)>, cut: bool },
}

fn method() -> impl Strategy<Value = &'static str> {
    let others = vec!["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "BREW", "get"];
    prop_oneof![6 => Just("GET"), 2 => Just("HEAD"), 4 => select(others)]
}

fn way() -> impl Strategy<Value = Way> {
    select(&[Way::Closes, Way::Resets, Way::LetsGo][..])
}

fn place() -> impl Strategy<Value = Place> {
    select(&[Place::Handler, Place::Head, Place::Stream, Place::Sized][..])
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![1 => Just(Version::Http10), 3 => Just(Version::Http11), 3 => Just(Version::Http2)]
}

fn play() -> impl Strategy<Value = Play> {
    let routes = vec![
        Play::Absent,
        Play::OnlyGet,
        Play::Nested,
        Play::NestedAbsent,
        Play::NestedFallback,
        Play::ServiceLeaf,
        Play::ServiceRoot,
    ];
    let failures = vec![
        Play::HandlerPanics,
        Play::CallPanics,
        Play::HandlerFails,
        Play::LateInside { code: 408 },
        Play::LateInside { code: 504 },
        Play::LateOutside,
        Play::CutOutside,
    ];
    let bytes = prop_oneof![Just(0), 1..100_u32, 20_000..100_000_u32];
    let code = select(&[200, 204, 304, 400, 404, 418, 500, 503][..]);
    let upload = (1..4_u8, any::<bool>()).prop_map(|(parts, announced)| Upload { parts, announced });
    let left = way().prop_map(Reading::Left);
    let reading = prop_oneof![Just(Reading::Nothing), Just(Reading::First), Just(Reading::All), left];
    let then = prop_oneof![Just(Then::Opens), way().prop_map(Then::Leaves)];
    prop_oneof![
        3 => bytes.prop_map(|bytes| Play::Whole { bytes }),
        2 => (0..5_u8).prop_map(|frames| Play::Streamed { frames }),
        1 => (0..3_u8).prop_map(|frames| Play::Hinted { frames }),
        1 => Just(Play::Trailers),
        2 => code.prop_map(|code| Play::Status { code }),
        1 => (0..3_u8).prop_map(|after| Play::BodyFails { after }),
        1 => (0..3_u8).prop_map(|after| Play::BodyPanics { after }),
        3 => select(routes),
        2 => select(failures),
        2 => (upload, reading).prop_map(|(body, reading)| Play::Upload { body, reading }),
        4 => (place(), then).prop_map(|(place, then)| Play::Held { place, then }),
    ]
}

/// What nearly all clients do nearly always.
fn plain() -> impl Strategy<Value = Play> {
    prop_oneof![
        (0..100_u32).prop_map(|bytes| Play::Whole { bytes }),
        (0..3_u8).prop_map(|frames| Play::Streamed { frames }),
        Just(Play::Absent),
        Just(Play::OnlyGet),
    ]
}

/// Connections with so many requests of these kinds.
fn plan(plays: impl Strategy<Value = Play>, requests: Range<usize>) -> impl Strategy<Value = Plan> {
    let exchange = (method(), plays).prop_map(|(method, play)| Exchange { method, play });
    let talks = (version(), vec(exchange, requests), any::<bool>());
    let talks = talks.prop_map(|(version, exchanges, at_once)| Plan::Talks { version, exchanges, at_once });
    let abandons = (version(), 1..6_u8, way());
    let abandons = abandons.prop_map(|(version, count, way)| Plan::Abandons { version, count, way });
    prop_oneof![12 => talks, 1 => abandons]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let clients = vec((version(), vec(place(), 1..4)), 0..4);
    let restart = (clients, any::<bool>()).prop_map(|(clients, cut)| Step::Restart { clients, cut });
    prop_oneof![4 => vec(plan(play(), 1..8), 1..5).prop_map(Step::Talk), 1 => restart]
}

impl Plan {
    async fn run(self, trial: &Arc<Trial>) {
        match self {
            Self::Talks { version: Version::Http2, exchanges, at_once } => {
                http2::converse(trial, &exchanges, at_once).await;
            }
            Self::Talks { version, exchanges, at_once } => {
                http1::converse(trial, version, &exchanges, at_once).await;
            }
            Self::Abandons { version: Version::Http2, count, way } => http2::abandon(trial, count, way).await,
            Self::Abandons { version, count, way } => http1::abandon(trial, version, count, way).await,
        }
    }
}

impl Step {
    pub(crate) async fn run(self, trial: &Arc<Trial>) {
        let mut clients = JoinSet::new();
        let spawn = |clients: &mut JoinSet<()>, plan: Plan| {
            let trial = Arc::clone(trial);
            clients.spawn(async move { plan.run(&trial).await });
        };
        match self {
            Self::Talk(plans) => plans.into_iter().for_each(|plan| spawn(&mut clients, plan)),
            Self::Restart { clients: waiting, cut } => {
                let mut count = 0;
                for (version, mut places) in waiting {
                    if version != Version::Http2 {
                        places.truncate(1);
                    }
                    count += places.len();
                    let play = |place| Play::Held { place, then: Then::Stays { cut } };
                    let exchanges =
                        places.into_iter().map(|place| Exchange { method: "GET", play: play(place) });
                    let exchanges = exchanges.collect();
                    spawn(&mut clients, Plan::Talks { version, exchanges, at_once: true });
                }
                trial.restart(count, cut).await;
            }
        }
        clients.join_all().await;
    }
}

/// Runs the same plans each time, by 16 clients at a time, until `requests` requests have arrived.
pub(crate) async fn run_mixed(requests: usize, trial: &Arc<Trial>) {
    let (next, plans) = mpsc::channel(16);
    let plans = Arc::new(Mutex::new(plans));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (plans, trial) = (Arc::clone(&plans), Arc::clone(trial));
        clients.spawn(async move {
            loop {
                let plan: Option<Plan> = plans.lock().await.recv().await;
                let Some(plan) = plan else { break };
                plan.run(&trial).await;
            }
        });
    }
    let rng = TestRng::deterministic_rng(RngAlgorithm::XorShift);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    // One in five is not plain: more would make it a test of how fast connections are opened.
    let plan = plan(prop_oneof![4 => plain(), 1 => play()], 1..50);
    while trial.stage.count() < requests {
        let plan = plan.new_tree(&mut runner).unwrap().current();
        // All clients are gone where one has failed, which the join tells.
        if next.send(plan).await.is_err() {
            break;
        }
    }
    drop(next);
    clients.join_all().await;
}
