//! Plain HTTP requests to processes on this machine.

use std::sync::LazyLock;
use std::time::Duration;

use reqwest::blocking::Client;

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
    let answer = CLIENT.get(url.clone()).send().map_err(|error| format!("{url}: {error:?}"))?;
    let status = answer.status();
    let body = answer.text().map_err(|error| format!("{url}: {error:?}"))?;
    if status != 200 {
        return Err(format!("{url} answered {status}: {body}"));
    }
    Ok(body)
}
