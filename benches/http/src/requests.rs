//! Requests made in this process, without a socket: the router is called as the service that it is.
//!
//! A request costs what it costs a server with everything between the sockets: it is built, routed, answered, and the
//! answer's body is read to its end.

use std::{thread, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use cpu_time::ThreadTime;
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

/// Requests without a pause between them. With those before the clock starts they are fewer than a span processor's
/// queue holds, so that every span is exported: a dropped one would cost less.
const BURST: u32 = 1_000;
/// Requests before the clock starts, since a pause leaves the processor's caches cold.
const WARM_UP: u32 = 200;

/// The application and the thread that calls it.
#[derive(Debug)]
pub struct Requests {
    app: Router,
    runtime: Runtime,
    pause: Duration,
}

impl Requests {
    /// Requests to `app`, with `pause` after each burst, in which the spans of the burst have to be exported.
    #[must_use]
    pub fn to(app: Router, pause: Duration) -> Self {
        // As axum's own server does: without it each request would make its services ready again.
        let app = app.with_state(());
        Self { app, runtime: Builder::new_current_thread().build().unwrap(), pause }
    }

    /// Nanoseconds of this thread's processor time a request over `bursts`.
    pub fn nanoseconds(&mut self, bursts: u32) -> f64 {
        let mut elapsed = Duration::ZERO;
        for _ in 0..bursts {
            self.make(WARM_UP);
            // Unlike the time on the wall it leaves out what other threads do on the core.
            let start = ThreadTime::now();
            self.make(BURST);
            elapsed += start.elapsed();
            thread::sleep(self.pause);
        }
        elapsed.as_secs_f64() * 1e9 / f64::from(bursts * BURST)
    }

    /// How many requests as many bursts make.
    #[must_use]
    pub const fn in_bursts(bursts: u32) -> u32 {
        bursts * (WARM_UP + BURST)
    }

    /// Makes `count` requests one after another.
    pub fn make(&mut self, count: u32) {
        let app = &mut self.app;
        self.runtime.block_on(async {
            for _ in 0..count {
                let request = Request::get("/users/42")
                    .header(header::HOST, "localhost")
                    .header(header::USER_AGENT, "bench/1.0")
                    .body(Body::empty());
                let response = app.call(request.unwrap()).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                let mut body = response.into_body();
                while let Some(frame) = body.frame().await {
                    frame.unwrap();
                }
            }
        });
    }
}
