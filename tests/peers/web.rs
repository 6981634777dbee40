//! Plain HTTP requests to processes on this machine.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use reqwest::blocking::{Client, RequestBuilder};

static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    // No request here uses TLS, but the client wants a provider before it starts.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("an HTTP client")
});

/// The body of a 200 answer; anything else is `Err`.
pub(super) fn get(url: &str) -> Result<String, String> {
    get_with_query(url, &[])
}

/// The status of the answer to a JSON body.
pub(super) fn post_json(url: &str, body: &str) -> Result<u16, String> {
    let request = CLIENT.post(url).header("content-type", "application/json").body(body.to_owned());
    request.send().map(|answer| answer.status().as_u16()).map_err(|error| format!("{url}: {error:?}"))
}

/// The same, with query parameters that are yet to be encoded.
pub(super) fn get_with_query(url: &str, query: &[(&str, &str)]) -> Result<String, String> {
    let url = reqwest::Url::parse_with_params(url, query).map_err(|error| format!("{url}: {error}"))?;
    body_of(url.as_str(), CLIENT.get(url.clone()))
}

/// The body of the 200 answer to a POST of a form.
pub(super) fn post_form(url: &str, form: &[(&str, &str)]) -> Result<String, String> {
    let encoded = reqwest::Url::parse_with_params(url, form).map_err(|error| format!("{url}: {error}"))?;
    let form = encoded.query().unwrap_or_default().to_owned();
    body_of(url, CLIENT.post(url).header("content-type", "application/x-www-form-urlencoded").body(form))
}

/// Changes what is at `url`: the body of the 200 answer to a PUT with this body.
pub(super) fn put(url: &str, body: &str) -> Result<String, String> {
    body_of(url, CLIENT.put(url).body(body.to_owned()))
}

/// Removes what is at `url`; the body of the 200 answer.
pub(super) fn delete(url: &str) -> Result<String, String> {
    body_of(url, CLIENT.delete(url))
}

fn body_of(url: &str, request: RequestBuilder) -> Result<String, String> {
    let answer = request.send().map_err(|error| format!("{url}: {error:?}"))?;
    let status = answer.status();
    let body = answer.text().map_err(|error| format!("{url}: {error:?}"))?;
    if status != 200 {
        return Err(format!("{url} answered {status}: {body}"));
    }
    Ok(body)
}

/// Posts OTLP metrics as protobuf; an answer other than 200, and a part that was refused, is `Err`.
pub(super) fn post_metrics(url: &str, body: Vec<u8>) -> Result<(), String> {
    let request = CLIENT.post(url).header("content-type", "application/x-protobuf").body(body);
    let answer = request.send().map_err(|error| format!("{url}: {error:?}"))?;
    let status = answer.status();
    let body = answer.bytes().map_err(|error| format!("{url}: {error:?}"))?;
    let rejected = ExportMetricsServiceResponse::decode(body.clone())
        .map(|answer| answer.partial_success.map_or(0, |partial| partial.rejected_data_points));
    match (status.as_u16(), rejected) {
        (200, Ok(0)) => Ok(()),
        _ => Err(format!("{url} answered {status}: {}", String::from_utf8_lossy(&body))),
    }
}
