//! A client of HTTP/2, with prior knowledge: streams beside each other on one connection, some of them reset.

use std::{future::poll_fn, io, sync::Arc};

use axum::{
    body::Bytes,
    http::{Request, header::CONTENT_LENGTH},
};
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    client::{Answer, Piece, Sent, within},
    exchange::{Exchange, FRAME, Play, Reading, Version, Way},
    trial::Trial,
};

/// Makes the exchanges of one connection, one after the other or all at once.
pub(crate) async fn converse(trial: &Arc<Trial>, exchanges: &[Exchange], at_once: bool) {
    let mut connection = Connection::open(trial).await;
    let (mut running, mut left) = (JoinSet::new(), Vec::new());
    for exchange in exchanges {
        let exchange = exchange.clone().fitting(Version::Http2);
        let sent = trial.expect(exchange, Version::Http2, false);
        let mut stream = connection.send(&sent).await;
        let trial = Arc::clone(trial);
        running.spawn(async move {
            sent.follow(&trial, &mut stream).await;
            match sent.exchange.leaves() {
                Some(Way::Closes) => return Some(stream),
                Some(Way::Resets) => stream.upload.send_reset(Reason::CANCEL),
                Some(Way::LetsGo) | None => {}
            }
            None
        });
        if !at_once {
            left.extend(running.join_next().await.expect("one runs").unwrap());
        }
    }
    left.extend(running.join_all().await.into_iter().flatten());
    connection.end(left).await;
}

/// Begins all requests and resets them at once.
pub(crate) async fn abandon(trial: &Trial, count: u8, way: Way) {
    let mut connection = Connection::open(trial).await;
    let mut left = Vec::new();
    for _ in 0..count {
        let exchange = Exchange { method: "GET", play: Play::Abandoned };
        let sent = trial.expect(exchange, Version::Http2, false);
        let mut stream = connection.send(&sent).await;
        match way {
            Way::Closes => left.push(stream),
            Way::Resets => stream.upload.send_reset(Reason::CANCEL),
            Way::LetsGo => {}
        }
    }
    connection.end(left).await;
}

struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn open(trial: &Trial) -> Self {
        let (requests, connection) = h2::client::handshake(trial.connect().await).await.unwrap();
        Self { requests, driver: tokio::spawn(connection) }
    }

    /// Sends a request, as far as it is sent before the answer is there.
    async fn send(&mut self, sent: &Sent) -> Stream {
        let Exchange { method, play } = &sent.exchange;
        let uri = format!("http://test{}?id={}", sent.exchange.path(), sent.id);
        let mut request = Request::builder().method(*method).uri(uri);
        let (mut parts, mut ends, mut unread) = (0, true, false);
        if let Play::Upload { body, reading } = play {
            if body.announced {
                request = request.header(CONTENT_LENGTH, body.bytes());
            }
            ends = !matches!(reading, Reading::First | Reading::Left(_));
            unread = *reading == Reading::Nothing;
            parts = if ends { body.parts } else { 1 };
        }
        let request = request.body(()).unwrap();
        within("room for a stream", poll_fn(|cx| self.requests.poll_ready(cx))).await.unwrap();
        let (response, mut upload) = self.requests.send_request(request, ends && parts == 0).unwrap();
        for part in 1..=parts {
            let sent = upload.send_data(Bytes::from_static(FRAME.as_bytes()), ends && part == parts);
            // Where nobody reads it, the server may have answered by now and want no more.
            assert!(sent.is_ok() || unread, "{sent:?}");
        }
        Stream { response: Some(response), body: None, upload }
    }

    /// Closes the connection: cleanly, or with the streams `left` in the middle of what they do.
    async fn end(self, left: Vec<Stream>) {
        let Self { requests, driver } = self;
        drop(requests);
        if left.is_empty() {
            // The server may have been cut.
            let _ = within("the end of the connection", driver).await.unwrap();
        } else {
            driver.abort();
            assert!(driver.await.is_err(), "the connection ended before its client closed it");
        }
    }
}

/// A request and its answer.
struct Stream {
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    upload: SendStream<Bytes>,
}

impl Answer for Stream {
    async fn status(&mut self, _: &str) -> io::Result<u16> {
        let response = self.response.take().expect("asked for once");
        let response = response.await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        self.body = Some(response.into_body());
        Ok(status)
    }

    async fn piece(&mut self) -> io::Result<Piece> {
        let body = self.body.as_mut().expect("the status was asked for");
        match body.data().await {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
                Ok(Piece::Bytes(data.len()))
            }
            // The server asks for no more of a request whose answer is whole (RFC 9113, section 8.1).
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => Ok(Piece::End),
            Some(Err(error)) => Err(io::Error::other(error)),
            None => Ok(Piece::End),
        }
    }
}
