//! How a request ended, and the word for what went wrong with it.
//!
//! It must not know who counts it.

use std::borrow::Cow;

use ::http::StatusCode;

/// The way in which a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The whole response was handed on.
    Complete,
    /// Dropped before that: the client went away, or a time-out or a shutdown outside of the layer did it.
    Cancelled,
    /// The handler or the response's body panicked.
    Panic,
    /// The inner service returned an error.
    HandlerError,
    /// The response's body returned an error.
    BodyError,
}

/// What the metrics of a request are told apart by, besides what was known at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// None where the request ended before a response was made.
    pub(super) status: Option<StatusCode>,
    pub(super) ending: Ending,
}

impl Outcome {
    /// `error.type`: how the request ended where it did not end well, else a status of 500 and above.
    pub(super) fn error_type(&self) -> Option<Cow<'static, str>> {
        let ending = match self.ending {
            Ending::Complete => {
                let status = self.status.filter(StatusCode::is_server_error)?;
                return Some(Cow::Owned(status.as_str().to_owned()));
            }
            Ending::Cancelled => "cancelled",
            Ending::Panic => "panic",
            Ending::HandlerError => "handler_error",
            Ending::BodyError => "body_error",
        };
        Some(Cow::Borrowed(ending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_type(status: Option<u16>, ending: Ending) -> Option<String> {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        Outcome { status, ending }.error_type().map(Cow::into_owned)
    }

    #[test]
    fn only_a_server_error_or_a_bad_end_has_an_error_type() {
        for fine in [101, 200, 304, 404, 499] {
            assert_eq!(error_type(Some(fine), Ending::Complete), None);
        }
        assert_eq!(error_type(Some(500), Ending::Complete).as_deref(), Some("500"));
        assert_eq!(error_type(Some(599), Ending::Complete).as_deref(), Some("599"));
        assert_eq!(error_type(None, Ending::Cancelled).as_deref(), Some("cancelled"));
        assert_eq!(error_type(Some(500), Ending::BodyError).as_deref(), Some("body_error"));
    }
}
