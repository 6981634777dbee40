//! Sends over OTLP/HTTP, and follows a peer that has moved on its own host.
//!
//! It must not send to another host than the one that was set, nor less safely: what is sent may be secret.

use std::time::Duration;

use reqwest::{
    Body, Client, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use url::Url;

use super::{
    Export,
    answer::{Failure, MAX_ANSWER, Taken, judge},
    chain,
    paced::Paced,
};

const MOST_REDIRECTS: usize = 5;
/// How long a peer that broke a connection off has to answer the head alone.
const HEAD_FIRST: Duration = Duration::from_secs(1);

pub(super) async fn send(client: &Client, base: &Url, export: &Export) -> Result<Taken, Failure> {
    let retryable = |error: reqwest::Error| Failure::retryable(chain(&error.without_url()));
    let url = format!("{}/v1/{}", base.as_str().trim_end_matches('/'), export.signal.as_str());
    let mut url = Url::parse(&url).map_err(|error| Failure::Permanent(error.to_string()))?;
    for _ in 0..=MOST_REDIRECTS {
        let answer = match post(client, &url, export, Duration::ZERO).await {
            // A peer that refuses by the head, and resets what is sent after, may take its own answer along.
            Err(error)
                if Paced::is_sent_in_parts(&export.wire) && !error.is_connect() && !error.is_timeout() =>
            {
                post(client, &url, export, HEAD_FIRST).await
            }
            answer => answer,
        };
        let answer = answer.map_err(retryable)?;
        if answer.status().is_redirection() {
            url = moved(&url, &answer)?;
            continue;
        }
        return judged(answer).await;
    }
    Err(Failure::retryable(format!("more than {MOST_REDIRECTS} redirections in a row, a wrong setting")))
}

async fn post(client: &Client, url: &Url, export: &Export, pause: Duration) -> reqwest::Result<Response> {
    let request = client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
    if !Paced::is_sent_in_parts(&export.wire) {
        return request.body(export.wire.clone()).send().await;
    }
    let request = request.header(CONTENT_LENGTH, export.wire.len());
    request.body(Body::wrap(Paced::new(export.wire.clone(), pause))).send().await
}

async fn judged(mut answer: Response) -> Result<Taken, Failure> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
            }
            Ok(None) => break,
            Err(error) if answer.status().is_success() => {
                return Err(Failure::retryable(chain(&error.without_url())));
            }
            // A refusal stands in the head; a connection that breaks after it takes no more than the words.
            Err(_) => break,
        }
    }
    judge(answer.status(), answer.headers(), &body)
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
    let is_as_safe = to.scheme() == from.scheme() || to.scheme() == "https";
    is_as_safe && to.host() == from.host() && to.username().is_empty() && to.password().is_none()
}

/// Scheme, host and port alone: a user, a path and a query may be secret.
fn place(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
