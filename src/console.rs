//! The console: one plain page that shows what was pulled, what was pushed, and what was lost; and, where there is
//! something to change, forms and an API for that.
//!
//! It knows only what it is given. The page has no script and no state of its own; reloading it reads everything
//! again, and changes nothing.

mod api;
mod controls;
mod forms;
mod guard;
mod host;
mod logs;
mod page;
mod pull;
mod series;
mod text;
mod traces;

use std::{sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::sync::Semaphore;
use url::Url;

pub use self::{api::Controls, guard::Token};
use self::{guard::Guard, host::Asked, pull::Pull};
pub use crate::collector::view::Source;
use crate::hosts::Hosts;

/// Pages that are made at once; further requests wait. Each copies all that the source holds.
const PAGES_AT_ONCE: usize = 4;
const STYLE: &str = include_str!("console/style.css");

/// What the page shows.
pub struct Console {
    /// Links at the top, each with its name. The host `0.0.0.0` stands for the one that the browser asked.
    pub links: Vec<(String, Url)>,
    /// What this process listens on, in the order of the page.
    pub listening: Vec<Listening>,
    /// What was pushed to this process; none where it receives nothing.
    pub source: Option<Arc<dyn Source>>,
    /// Expositions (`http:` only) that are scraped whenever the page is loaded, each within a second. One
    /// that fails is shown as such.
    pub pull: Vec<Url>,
    /// The exposition, read in the same way, of a collector elsewhere to which this process pushes.
    pub pushed: Option<Url>,
    /// What every request must give; none for a console that only this machine can reach.
    pub token: Option<Token>,
    /// The host names that it answers to.
    pub hosts: Hosts,
    /// What forms and API change; without it there are none.
    pub controls: Option<Controls>,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listening {
    /// What it is: `service`, `OTLP/gRPC`.
    pub what: String,
    /// Where: `127.0.0.1:4317`. In place of an unspecified address the page shows the host that the browser asked.
    pub address: String,
    /// What to open in a browser, its host as that of the address; `None` where a browser is of no use.
    pub url: Option<String>,
    /// What it is for, in a few words.
    pub note: String,
}

/// The routes `/` and `/style.css`, for GET and HEAD. Where there are controls, the page's forms too,
/// `/faults/{name}`, `/faults/{name}/end` and `/load`, for POST alone; and the API, `/api/faults`,
/// `/api/faults/{name}`, `/api/load` and `/api/signals`.
///
/// A request without the token gets 401, one for a host name that is none of the console's 421: a page of another
/// site must not read this one by pointing its own name at a loopback address. Nor may it change anything: what a
/// browser sends for it gets 403, with or without a token.
pub fn router(console: Console) -> Router {
    let guard = Guard { token: console.token.clone(), hosts: console.hosts.clone() };
    let controlled = console
        .controls
        .clone()
        .map_or_else(Router::new, |controls| api::router(controls.clone()).merge(forms::router(controls)));
    let app = Arc::new(App { console, pages: Arc::new(Semaphore::new(PAGES_AT_ONCE)) });
    Router::new()
        .route("/", get(index))
        .route("/style.css", get(style))
        .with_state(app)
        .fallback(async || (StatusCode::NOT_FOUND, "There is no such page: try /\n"))
        .merge(controlled)
        .layer(middleware::from_fn_with_state(guard, guard::protect))
}

struct App {
    console: Console,
    pages: Arc<Semaphore>,
}

/// What one request's page is made of, beside what the console always has.
struct View {
    /// What was pulled, in the order of the console's addresses.
    pulls: Vec<Pull>,
    /// The exposition of what was pushed.
    pushed: Option<Pull>,
    asked: Asked,
    now: SystemTime,
}

async fn index(State(app): State<Arc<App>>, target: Uri, headers: HeaderMap) -> Response {
    let Ok(permit) = Arc::clone(&app.pages).acquire_owned().await else {
        return failed();
    };
    let Console { pull, pushed, .. } = &app.console;
    let mut pulls = pull::read_all(pull.iter().chain(pushed).cloned()).await;
    let pushed = pushed.as_ref().and_then(|_| pulls.pop());
    let view = View { pulls, pushed, asked: Asked::of(&target, &headers), now: SystemTime::now() };
    // Copying what the source holds takes its locks and may take a while: not on a runtime's worker.
    let page = tokio::task::spawn_blocking(move || {
        let page = page::render(&app.console, &view);
        drop(permit);
        page.into_string()
    });
    page.await.map_or_else(|_| failed(), |page| Html(page).into_response())
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

fn failed() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n").into_response()
}
