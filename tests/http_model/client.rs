//! What a client does with the answer to a request, whatever the protocol: reads it, waits at the request's place,
//! goes away, and holds what it saw against the model.

use std::{io, time::Duration};

use crate::{
    exchange::{Exchange, Place, Play, Reading, Seen, Then, Version},
    trial::Trial,
};

/// What any single wait may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits `future` for [`PATIENCE`] at most.
pub(crate) async fn within<F: Future>(what: impl std::fmt::Debug, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not in time: {what:?}"),
    }
}

/// The next piece of a body.
pub(crate) enum Piece {
    Bytes(usize),
    End,
}

/// The answer to one request, as it comes. An error means that no more of it will come.
pub(crate) trait Answer: Send {
    /// The status code; asked for once, and first.
    fn status(&mut self, method: &str) -> impl Future<Output = io::Result<u16>> + Send;
    fn piece(&mut self) -> impl Future<Output = io::Result<Piece>> + Send;
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) exchange: Exchange,
    pub(crate) version: Version,
    pub(crate) seen: Seen,
}

impl Sent {
    /// Goes with the request to where its client goes away, if it does, or else to the end of its answer.
    pub(crate) async fn follow(&self, trial: &Trial, answer: &mut impl Answer) {
        let (method, gate) = (self.exchange.method, trial.stage.gate(self.id));
        let mut read = Read::default();
        match self.exchange.play {
            Play::Held { place, then } => {
                within(self, gate.reached()).await;
                match place {
                    Place::Handler => {}
                    Place::Head => read.status(within(self, answer.status(method)).await),
                    Place::Stream | Place::Sized => {
                        read.status(within(self, answer.status(method)).await);
                        while read.result.is_ok() && read.bytes == 0 {
                            read.piece(within(self, answer.piece()).await);
                        }
                    }
                }
                assert!(!trial.recorded.has_ended(self.id), "{self:?} has ended where it waits");
                match then {
                    Then::Opens => gate.open(),
                    Then::Stays { .. } => trial.waits(gate),
                    Then::Leaves(_) => return assert!(read.result.is_ok(), "{self:?} saw {read:?}"),
                }
            }
            Play::Upload { reading: Reading::Left(_), .. } => {
                within(self, gate.reached()).await;
                return assert!(!trial.recorded.has_ended(self.id), "{self:?} has ended where it waits");
            }
            _ => {}
        }
        if read.status.is_none() {
            read.status(within(self, answer.status(method)).await);
        }
        while read.result.is_ok() && !read.ended {
            read.piece(within(self, answer.piece()).await);
        }
        self.compare(&read);
    }

    fn compare(&self, read: &Read) {
        match self.seen {
            Seen::Answer { status, bytes } => {
                assert!(read.ended, "{self:?} saw {read:?}");
                assert_eq!((read.status, read.bytes), (Some(status), bytes), "{self:?} saw {read:?}");
            }
            // Without a length, a body of HTTP/1.0 looks whole wherever it ends.
            Seen::Broken => {
                assert!(self.version == Version::Http10 || !read.ended, "{self:?} saw {read:?}");
            }
            Seen::Unseen => {}
        }
    }
}

/// What has come of an answer.
#[derive(Debug)]
struct Read {
    status: Option<u16>,
    bytes: u64,
    ended: bool,
    result: io::Result<()>,
}

impl Default for Read {
    fn default() -> Self {
        Self { status: None, bytes: 0, ended: false, result: Ok(()) }
    }
}

impl Read {
    fn status(&mut self, status: io::Result<u16>) {
        match status {
            Ok(status) => self.status = Some(status),
            Err(error) => self.result = Err(error),
        }
    }

    fn piece(&mut self, piece: io::Result<Piece>) {
        match piece {
            Ok(Piece::Bytes(bytes)) => self.bytes += bytes as u64,
            Ok(Piece::End) => self.ended = true,
            Err(error) => self.result = Err(error),
        }
    }
}
