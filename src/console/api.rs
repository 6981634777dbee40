//! The JSON API: faults and load, to be looked at and changed; the signals, to be looked at.
//!
//! It must not be on the service's port. The guard decides who may ask. What a body is declared as does not matter: it
//! is JSON or it is refused, and no page of another site can send a PUT or a DELETE unasked.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State, rejection::PathRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use serde_json::{Map, Value, json};

use crate::{
    config::{
        self, Problem,
        faults::{Name, Order},
    },
    service::faults::{Active, Faults},
    signals::{Scope, signals},
    traffic::Load,
};

/// How large a body may be, in bytes, and how long it may take.
const MAX_BYTES: usize = 4096;
const DEADLINE: Duration = Duration::from_secs(5);

/// What the API can change and read.
#[derive(Clone, Debug)]
pub struct Controls {
    /// The faults of the service.
    pub faults: Faults,
    /// The load that the service is under.
    pub load: Load,
    /// The service whose signals it shows.
    pub scope: Scope,
}

/// The routes below `/api`.
pub(super) fn router(controls: Controls) -> Router {
    Router::new()
        .route("/api/faults", get(faults))
        .route("/api/faults/{name}", put(begin).delete(end))
        .route("/api/load", get(load).put(set_load))
        .route("/api/signals", get(show_signals))
        .with_state(Arc::new(controls))
}

async fn faults(State(controls): State<Arc<Controls>>) -> Response {
    answer(&json!({ "active": active(&controls.faults), "possible": possible() }))
}

async fn begin(
    State(controls): State<Arc<Controls>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, FaultRefusal> {
    let name = named(name)?;
    let fields = Fields::of(request, &["value", "seconds"], Needs::Nothing).await?;
    let (value, seconds) = (fields.number("value")?, fields.number("seconds")?);
    controls.faults.begin(Order::new(name, value.as_deref(), seconds.as_deref())?).await;
    Ok(answer(&json!({ "active": active(&controls.faults) })))
}

async fn end(
    State(controls): State<Arc<Controls>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, FaultRefusal> {
    controls.faults.end(named(name)?).await;
    Ok(answer(&json!({ "active": active(&controls.faults) })))
}

/// The fault that a path names; one that is no text is as unknown as any other.
pub(super) fn named(path: Result<Path<String>, PathRejection>) -> Result<Name, Refusal> {
    let text = path.map_or_else(|_| char::REPLACEMENT_CHARACTER.to_string(), |Path(text)| text);
    Ok(Name::of(&text)?)
}

async fn load(State(controls): State<Arc<Controls>>) -> Response {
    state(&controls.load)
}

async fn set_load(State(controls): State<Arc<Controls>>, request: Request) -> Result<Response, Refusal> {
    let fields = Fields::of(request, &["rps"], Needs::Body).await?;
    let rate = fields.number("rps")?.ok_or_else(|| Refusal::bad("rps is missing: give {\"rps\":N}"))?;
    controls.load.set(config::load(&rate)?);
    Ok(state(&controls.load))
}

async fn show_signals(State(controls): State<Arc<Controls>>) -> Response {
    let scope = &controls.scope;
    let shown: Vec<_> = signals(scope)
        .into_iter()
        .map(|signal| {
            json!({
                "golden": signal.golden.text(), "name": signal.name, "title": signal.title, "unit": signal.unit,
                "meaning": signal.meaning, "promql": signal.promql, "graphite": signal.graphite,
            })
        })
        .collect();
    let objective = json!({
        "seconds": number(scope.objective.asked().as_secs_f64()),
        "bound": number(scope.objective.bound()), "note": scope.objective.note(),
    });
    answer(&json!({
        "service": scope.service, "job": scope.job, "window_seconds": scope.window.as_secs(), "objective": objective, "signals": shown,
    }))
}

fn active(faults: &Faults) -> Vec<Value> {
    let one = |active: Active| {
        json!({
            "name": active.effect.name().text(),
            "value": active.effect.value().map(number),
            "seconds_left": number((active.left().as_secs_f64() * 1000.0).round() / 1000.0),
        })
    };
    faults.active().into_iter().map(one).collect()
}

/// Every fault, with what its value is called and what it does.
fn possible() -> Vec<Value> {
    let one = |name: Name| json!({ "name": name.text(), "value": name.value(), "meaning": name.meaning() });
    Name::ALL.into_iter().map(one).collect()
}

fn state(load: &Load) -> Response {
    let state = load.state();
    answer(&json!({
        "rps": number(state.rate), "in_flight": state.in_flight, "sent": state.sent, "missed": state.missed,
    }))
}

/// Whole numbers without a fraction.
fn number(number: f64) -> Value {
    number.to_string().parse().map_or(Value::Null, Value::Number)
}

fn answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

/// Why a change was not made.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: String,
}

impl Refusal {
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into() }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::bad(problem.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, answer(&json!({ "error": self.error }))).into_response()
    }
}

/// Why a fault was not changed, with the list of all faults.
struct FaultRefusal(Refusal);

impl<E> From<E> for FaultRefusal
where
    Refusal: From<E>,
{
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for FaultRefusal {
    fn into_response(self) -> Response {
        let Refusal { status, error } = self.0;
        (status, answer(&json!({ "error": error, "possible": possible() }))).into_response()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// No body is as good as an object without fields.
    Nothing,
    Body,
}

/// The fields of a body.
struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that is an object of these fields, all of which may be missing.
    async fn of(request: Request, known: &[&str], needs: Needs) -> Result<Self, Refusal> {
        let body = read(request.into_body()).await?;
        if body.is_empty() && needs == Needs::Nothing {
            return Ok(Self(Map::new()));
        }
        let shape = || format!("give an object with {}", known.join(" and "));
        let fields = match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(Refusal::bad(format!("the body is no object; {}", shape()))),
            Err(error) => return Err(Refusal::bad(format!("the body is not JSON ({error}); {}", shape()))),
        };
        match fields.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Refusal::bad(format!("{key:?} is no field of this; {}", shape()))),
            None => Ok(Self(fields)),
        }
    }

    /// The text of a number, a whole one without a fraction however it was written; `None` where the field is missing
    /// or null.
    fn number(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(Some(match number.as_f64() {
                Some(float) if number.is_f64() => (float + 0.0).to_string(),
                _ => number.to_string(),
            })),
            Some(other) => {
                Err(Refusal::bad(format!("{key} {other} is not a number; give one without quotes")))
            }
        }
    }
}

/// A body that is small and comes in time.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    let refusal = |status, error: &str| Refusal { status, error: error.to_owned() };
    match tokio::time::timeout(DEADLINE, to_bytes(body, MAX_BYTES)).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(_)) => Err(refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body broke off or has more than 4096 bytes; send a smaller one",
        )),
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come within 5 s")),
    }
}
