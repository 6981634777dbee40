//! How long a connection may take for each of its steps.
//!
//! Each step has a bound of its own, and none of them rests on what a library does by itself.

use std::time::Duration;

/// The bounds of a connection. [`Bounds::default`] are those of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the connection, or from the end of its TLS handshake, to the first byte.
    pub first_byte: Duration,
    /// For a TLS handshake, from the connection to its end.
    pub handshake: Duration,
    /// For the head of an HTTP/1 request, and for the preface of HTTP/2, from the first byte to the last.
    pub head: Duration,
    /// For a request's body, from when the handler waits for it.
    pub body: Duration,
    /// Without a request, after the last one or after the preface of HTTP/2. Longer than the usual interval between two
    /// exports, which is 60 s, so that a sender keeps its connection.
    pub idle: Duration,
    /// For an answer of which the client takes nothing.
    pub stalled: Duration,
    /// Without a frame of HTTP/2 from the client, until a PING is sent.
    pub ping: Duration,
    /// For the answer to that PING. It cannot come in the middle of a head or of another frame, so it bounds these too.
    pub pong: Duration,
    /// For an idle client to close its connection, after it was asked to (GOAWAY in HTTP/2). A request that it makes
    /// meanwhile is answered.
    pub parting: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            handshake: Duration::from_secs(30),
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(150),
            stalled: Duration::from_secs(60),
            ping: Duration::from_secs(20),
            pong: Duration::from_secs(20),
            parting: Duration::from_secs(5),
        }
    }
}
