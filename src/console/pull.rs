//! Scrapes expositions when the page is loaded: the pull endpoints, and the one that shows what was pushed.
//!
//! It must not hold the page up: each endpoint has a deadline and a bound, and a failure is a result.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use url::{Host, Position, Url};

use crate::exposition::parse::{self, Sample};

/// How long an endpoint may take from connecting to its last sample.
const DEADLINE: Duration = Duration::from_secs(1);
/// How large an exposition may be, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// How many samples of it are read: each takes some 500 bytes, and nobody reads a longer table.
const MAX_SAMPLES: usize = 20_000;

/// What one endpoint gave.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) url: Url,
    /// When it was asked.
    pub(super) at: SystemTime,
    /// How long it took.
    pub(super) took: Duration,
    pub(super) result: Result<Exposition, Error>,
}

/// The samples of an exposition.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    pub(super) samples: Vec<Sample>,
    /// The first line that is not in the format.
    pub(super) malformed: Option<parse::Error>,
    /// How many such lines there are.
    pub(super) malformed_lines: usize,
}

/// Why an endpoint could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("only http: addresses can be pulled here")]
    Scheme,
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("not a possible request: {0}")]
    Request(#[from] axum::http::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    #[error("the answer has more than {MAX_SAMPLES} samples")]
    TooMany,
    #[error("the answer broke off: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not UTF-8")]
    Encoding,
    #[error("no full answer within {DEADLINE:?}")]
    Deadline,
}

/// Reads all endpoints side by side; the answers are in the order of the addresses.
pub(super) async fn read_all(urls: impl IntoIterator<Item = Url>) -> Vec<Pull> {
    let mut reading = JoinSet::new();
    for (index, url) in urls.into_iter().enumerate() {
        reading.spawn(async move { (index, read(url).await) });
    }
    let mut pulls = reading.join_all().await;
    pulls.sort_by_key(|(index, _)| *index);
    pulls.into_iter().map(|(_, pull)| pull).collect()
}

async fn read(url: Url) -> Pull {
    let at = SystemTime::now();
    let began = Instant::now();
    let result = timeout(DEADLINE, scrape(&url)).await.unwrap_or(Err(Error::Deadline));
    Pull { url, at, took: began.elapsed(), result }
}

async fn scrape(url: &Url) -> Result<Exposition, Error> {
    let body = fetch(url).await?;
    // Reading the samples takes processor time: on a worker it would hold up every other task.
    spawn_blocking(move || exposition(&body)).await.map_err(|_| Error::Deadline)?
}

async fn fetch(url: &Url) -> Result<Bytes, Error> {
    if url.scheme() != "http" {
        return Err(Error::Scheme);
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = match url.host().ok_or(Error::Scheme)? {
        Host::Domain(name) => TcpStream::connect((name, port)).await,
        // An address to listen on is reached on this machine.
        Host::Ipv4(address) if address.is_unspecified() => {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
        }
        Host::Ipv6(address) if address.is_unspecified() => {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await
        }
        Host::Ipv4(address) => TcpStream::connect((address, port)).await,
        Host::Ipv6(address) => TcpStream::connect((address, port)).await,
    }
    .map_err(Error::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::ACCEPT, "text/plain;version=0.0.4")
        .header(header::USER_AGENT, concat!("pushpull/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(Error::Status(response.status()));
    }
    // Where it says how long it is, nothing of it has to be read to refuse it.
    if response.body().size_hint().lower() > MAX_BYTES as u64 {
        return Err(Error::TooLarge);
    }
    // Dropping the set at the end, or at the deadline, ends the connection too.
    match Limited::new(response.into_body(), MAX_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
        Err(error) => Err(Error::Body(error)),
    }
}

fn exposition(body: &[u8]) -> Result<Exposition, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::Encoding)?;
    let mut exposition = Exposition::default();
    for sample in parse::samples(text) {
        match sample {
            Ok(_) if exposition.samples.len() == MAX_SAMPLES => return Err(Error::TooMany),
            Ok(sample) => exposition.samples.push(sample),
            Err(error) => {
                exposition.malformed_lines += 1;
                exposition.malformed.get_or_insert(error);
            }
        }
    }
    Ok(exposition)
}
