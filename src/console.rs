//! The console: one plain page that shows what was pulled, what was pushed, and what was lost; and beside it an
//! API for what can be changed.
//!
//! It knows only what it is given. The page changes nothing: it has no form, no script and no state of its own;
//! reloading it reads everything again.

mod api;
mod guard;
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
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::sync::Semaphore;
use url::Url;

pub use self::{api::Controls, guard::Token};
pub use crate::collector::view::Source;

/// Pages that are made at once; further requests wait. Each copies all that the source holds.
const PAGES_AT_ONCE: usize = 4;
const STYLE: &str = include_str!("console/style.css");

/// What the page shows.
pub struct Console {
    /// What this process listens on, in the order of the page.
    pub listening: Vec<Listening>,
    /// What was pushed.
    pub source: Arc<dyn Source>,
    /// Expositions (`http:` only) that are scraped whenever the page is loaded, each within a second. One
    /// that fails is shown as such.
    pub pull: Vec<Url>,
    /// What every request must give; none for a console that only this machine can reach.
    pub token: Option<Token>,
    /// What the API changes; without it there is no API.
    pub controls: Option<Controls>,
}

/// One listener.
pub struct Listening {
    /// What it is: `service`, `OTLP/gRPC`.
    pub what: String,
    /// Where: `127.0.0.1:4317`.
    pub address: String,
    /// What to open in a browser; `None` where a browser is of no use.
    pub url: Option<String>,
    /// What it is for, in a few words.
    pub note: String,
}

/// The routes `/` and `/style.css`, for GET and HEAD; and the API, `/api/faults`, `/api/faults/{name}`, `/api/load`
/// and `/api/signals`.
///
/// A request without the token gets 401. Where there is none, a request whose Host is neither a loopback
/// address nor `localhost` gets 421: a page of another site must not read this one by pointing its own name at
/// a loopback address. Nor may it change anything: what a browser sends for it gets 403.
pub fn router(console: Console) -> Router {
    let token = console.token.clone();
    let api = console.controls.clone().map_or_else(Router::new, api::router);
    let app = Arc::new(App { console, pages: Arc::new(Semaphore::new(PAGES_AT_ONCE)) });
    Router::new()
        .route("/", get(index))
        .route("/style.css", get(style))
        .with_state(app)
        .merge(api)
        .layer(middleware::from_fn_with_state(token, guard::protect))
}

struct App {
    console: Console,
    pages: Arc<Semaphore>,
}

async fn index(State(app): State<Arc<App>>) -> Response {
    let Ok(permit) = Arc::clone(&app.pages).acquire_owned().await else {
        return failed();
    };
    let pulls = pull::read_all(&app.console.pull).await;
    // Copying what the source holds takes its locks and may take a while: not on a runtime's worker.
    let page = tokio::task::spawn_blocking(move || {
        let page = page::render(&app.console, &pulls, SystemTime::now());
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
