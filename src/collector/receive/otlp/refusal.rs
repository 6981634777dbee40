//! Why a request is refused, and as which code.
//!
//! It must not know a transport: each receiver maps a refusal to its own answer.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Characters of a reason that are sent back; it may quote the request.
const REASON_LENGTH: usize = 500;

/// Why a request was not taken. The text is for the sender.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Refusal {
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    #[error("{what} is larger than {limit} bytes; send smaller batches")]
    TooLarge { what: &'static str, limit: usize },
    #[error("{0}")]
    ContentType(String),
    #[error("the encoding {0:?} is not supported: set the sender's compression to gzip, zstd or none")]
    ContentEncoding(String),
    #[error("{message}")]
    NoRoom { message: String, retry_after: Duration, items: u64 },
    #[error("the body was not sent within {0:?}")]
    TooSlow(Duration),
    #[error("the body ended early: {0}")]
    Aborted(String),
    #[error("the request could not be handled")]
    Internal,
}

impl Refusal {
    /// The reason it is counted under.
    pub(in super::super) const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::ContentType(_) => "content_type",
            Self::ContentEncoding(_) => "content_encoding",
            Self::NoRoom { .. } => "no_room",
            Self::TooSlow(_) => "too_slow",
            Self::Aborted(_) => "aborted",
            Self::Internal => "internal",
        }
    }

    /// Its code in gRPC and in `google.rpc.Status` (OTLP specification, "Failures").
    pub(in super::super) const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) | Self::ContentType(_) => Code::InvalidArgument,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::ContentEncoding(_) => Code::Unimplemented,
            Self::NoRoom { .. } => Code::Unavailable,
            Self::TooSlow(_) => Code::DeadlineExceeded,
            Self::Aborted(_) => Code::Cancelled,
            Self::Internal => Code::Internal,
        }
    }

    /// When to send the request again, where that makes sense.
    pub(in super::super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoRoom { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Its text, of bounded length and without control characters.
    pub(in super::super) fn message(&self) -> String {
        let text = self.to_string();
        let mut message: String =
            text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(REASON_LENGTH).collect();
        if text.chars().nth(REASON_LENGTH).is_some() {
            message.push('…');
        }
        message
    }

    /// It as a gRPC status, with `RetryInfo` where the request may be sent again.
    pub(in super::super) fn status(&self) -> Status {
        match self.retry_after() {
            Some(delay) => Status::with_error_details(
                self.code(),
                self.message(),
                ErrorDetails::with_retry_info(Some(delay)),
            ),
            None => Status::new(self.code(), self.message()),
        }
    }

    /// Items that it refuses. Where the request could not be decoded they are not known: then it is one.
    pub(super) const fn items(&self) -> u64 {
        match self {
            Self::NoRoom { items, .. } => *items,
            _ => 1,
        }
    }
}

/// A refused request.
#[derive(Debug)]
pub(in super::super) struct Declined {
    pub(in super::super) refusal: Refusal,
    /// The service whose it is, as far as that was seen.
    pub(super) service: Option<String>,
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, service: None }
    }
}
