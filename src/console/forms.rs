//! What the page's forms send: a change of faults or load, answered with the way back to its section.
//!
//! A browser follows the 303 with a GET, so that reloading the page sends nothing again. The guard refuses what the
//! page of another site sends; a GET changes nothing.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{Html, IntoResponse, Response},
    routing::post,
};
use url::form_urlencoded;

use super::{
    api::{self, Controls, Refusal},
    page, text,
};
use crate::config::{self, faults::Order};

const TO_FAULTS: &str = "/#faults";
const TO_LOAD: &str = "/#load";

/// The routes that the page's forms are sent to.
pub(super) fn router(controls: Controls) -> Router {
    Router::new()
        .route("/faults/{name}", post(start))
        .route("/faults/{name}/end", post(end))
        .route("/load", post(set_load))
        .with_state(Arc::new(controls))
}

async fn start(
    State(controls): State<Arc<Controls>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let order = async {
        let name = api::named(name)?;
        let fields = Fields::of(request, &["value", "seconds"]).await?;
        Ok::<_, Refusal>(Order::new(name, fields.text("value")?, fields.text("seconds")?)?)
    };
    match order.await {
        Ok(order) => {
            controls.faults.begin(order).await;
            back(TO_FAULTS)
        }
        Err(refusal) => refused(&refusal, TO_FAULTS),
    }
}

async fn end(State(controls): State<Arc<Controls>>, name: Result<Path<String>, PathRejection>) -> Response {
    match api::named(name) {
        Ok(name) => {
            controls.faults.end(name).await;
            back(TO_FAULTS)
        }
        Err(refusal) => refused(&refusal, TO_FAULTS),
    }
}

async fn set_load(State(controls): State<Arc<Controls>>, request: Request) -> Response {
    let rate = async {
        let fields = Fields::of(request, &["rps"]).await?;
        let rate =
            fields.text("rps")?.ok_or_else(|| Refusal::bad("rps is missing: give requests a second"))?;
        Ok::<_, Refusal>(config::load(rate)?)
    };
    match rate.await {
        Ok(rate) => {
            controls.load.set(rate);
            back(TO_LOAD)
        }
        Err(refusal) => refused(&refusal, TO_LOAD),
    }
}

fn back(section: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static(section))]).into_response()
}

fn refused(refusal: &Refusal, section: &str) -> Response {
    (refusal.status, Html(page::refused(&refusal.error, section).into_string())).into_response()
}

/// The fields of a form.
struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a body of these fields, all of which may be missing.
    async fn of(request: Request, known: &[&str]) -> Result<Self, Refusal> {
        let body = api::read(request.into_body()).await?;
        let fields: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
        match fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let (name, known) = (text::clip(name, 60), known.join(" and "));
                Err(Refusal::bad(format!("{name:?} is no field of this; give {known}")))
            }
            None => Ok(Self(fields)),
        }
    }

    /// What a person wrote into a field; none where it was left empty.
    fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut given = self.0.iter().filter(|(field, _)| field == name).map(|(_, text)| text.trim());
        let first = given.next();
        if given.next().is_some() {
            return Err(Refusal::bad(format!("{name} is given several times; give it once")));
        }
        Ok(first.filter(|text| !text.is_empty()))
    }
}
