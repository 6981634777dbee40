//! What every target shares: a pipeline with a Graphite queue behind it, and the judge of each line in that queue.
//!
//! It must not know how the program makes a line: what carbon takes is said again here, from carbon's side.

pub mod carbon;

use std::{cell::RefCell, sync::Arc};

use axum::{Router, body::Body, http::Request};
use pushpull::{
    collector::{
        export::graphite::{Backlog, Lines},
        pipeline::Pipeline,
        queue::Queue,
        receive::Accept,
        series::Table,
        stats::Stats,
    },
    config::{GraphiteLines, GraphiteNames},
};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

const MAX_SERIES: usize = 1_000;
const QUEUE_LIMIT: usize = 64 << 20;
const BOUNDS: [f64; 3] = [0.1, 1.0, 10.0];

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_all().build().expect("a runtime"));
}

/// Runs a future to its end.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

/// A pipeline that keeps what it would write to carbon.
pub struct Bridge {
    pub pipeline: Pipeline,
    queue: Arc<Queue<Lines>>,
}

impl Bridge {
    pub fn new(names: GraphiteNames) -> Self {
        let queue = Queue::new(QUEUE_LIMIT);
        // Any age, or hardly any point would become a line.
        let quantiles = vec![0.5, 0.99];
        let graphite = GraphiteLines { names, quantiles, max_age: None, ..GraphiteLines::default() };
        let table = Table::new(MAX_SERIES, &BOUNDS).with_graphite(&graphite, true);
        let backlog = Some(Backlog::Memory(Arc::clone(&queue)));
        Self { pipeline: Pipeline::new(table, backlog, Vec::new(), Arc::new(Stats::default())), queue }
    }

    pub fn accept(&self) -> Accept {
        let pipeline = self.pipeline.clone();
        Arc::new(move |batch| pipeline.accept(batch))
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<u8> {
        self.queue.take_all().iter().flat_map(|lines| lines.text.to_vec()).collect()
    }
}

/// Sends one request, and returns the status of the answer once its body has ended.
pub fn ask(router: Router, request: Request<Body>) -> u16 {
    run(async {
        let answer = router.oneshot(request).await.expect("a router always answers");
        let status = answer.status().as_u16();
        axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body that ends");
        status
    })
}
