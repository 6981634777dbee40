//! Sends over OTLP/HTTP, and follows a peer that has moved on its own host.
//!
//! It must not send to another host than the one that was set: what is sent may be secret.

use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use url::Url;

use super::{
    Export,
    answer::{Failure, MAX_ANSWER, Taken, judge},
    chain,
};

const MOST_REDIRECTS: usize = 5;

pub(super) async fn send(client: &Client, base: &Url, export: &Export) -> Result<Taken, Failure> {
    let retryable = |error: reqwest::Error| Failure::retryable(chain(&error.without_url()));
    let url = format!("{}/v1/{}", base.as_str().trim_end_matches('/'), export.signal.as_str());
    let mut url = Url::parse(&url).map_err(|error| Failure::Permanent(error.to_string()))?;
    for _ in 0..=MOST_REDIRECTS {
        let request = client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let answer = request.body(export.wire.clone()).send().await.map_err(retryable)?;
        if answer.status().is_redirection() {
            url = moved(&url, &answer)?;
            continue;
        }
        return judged(answer).await.map_err(retryable)?;
    }
    Err(Failure::retryable(format!("more than {MOST_REDIRECTS} redirections in a row, a wrong setting")))
}

async fn judged(mut answer: Response) -> Result<Result<Taken, Failure>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
    }
    Ok(judge(answer.status(), answer.headers(), &body))
}

/// Where the peer has moved to with all that is sent to it, on the same host and no less safe.
fn moved(from: &Url, answer: &Response) -> Result<Url, Failure> {
    let status = answer.status();
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let keeps_the_request = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    match to {
        Some(to) if keeps_the_request && is_followed(from, &to) => Ok(to),
        to => {
            let place = to.map_or_else(|| "nowhere".to_owned(), |to| place(&to));
            Err(Failure::retryable(format!(
                "{status} to {place}, a wrong setting: give --forward the address itself"
            )))
        }
    }
}

fn is_followed(from: &Url, to: &Url) -> bool {
    let safe = to.scheme() == from.scheme() || to.scheme() == "https";
    safe && to.host() == from.host() && to.username().is_empty() && to.password().is_none()
}

/// Scheme, host and port: in the rest there may be something secret.
fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
