//! What a client asks for and does, and what must come of it: the model.
//!
//! It must know nothing of the layer's inside, and nothing that could only be learned by running it.

use std::ops::RangeInclusive;

/// The data of each frame that the application streams, and of each part that a client uploads.
pub(crate) const FRAME: &str = "frame";
const FRAME_BYTES: u64 = FRAME.len() as u64;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// One request and what its client does.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: &'static str,
    pub(crate) play: Play,
}

/// What the application does with a request; each has a path of its own.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// A body of known length.
    Whole { bytes: u32 },
    /// A body of unknown length, whose end is known by asking only.
    Streamed { frames: u8 },
    /// The same, whose size hint tells what is left of it.
    Hinted { frames: u8 },
    /// Two frames and trailers, whose end is known by asking only.
    Trailers,
    /// A status with a short text, or without one where the status has none.
    Status { code: u16 },
    /// A body that returns an error after some frames.
    BodyFails { after: u8 },
    /// A body that panics after some frames.
    BodyPanics { after: u8 },
    /// A handler that panics.
    HandlerPanics,
    /// A service that panics before it has a future.
    CallPanics,
    /// A service that returns an error below the layer; outside of the layer it becomes a response.
    HandlerFails,
    /// A time-out inside of the layer answers in place of the handler.
    LateInside { code: u16 },
    /// A time-out outside of the layer drops what the layer made.
    LateOutside,
    /// A limit outside of the layer drops the response's body after two of its frames.
    CutOutside,
    /// No route.
    Absent,
    /// A route for GET alone.
    OnlyGet,
    /// A route of a nested router.
    Nested,
    /// No route in a nested router that has no fallback.
    NestedAbsent,
    /// The fallback of a nested router.
    NestedFallback,
    /// A route of a router that is nested as a service.
    ServiceLeaf,
    /// The path at which a router is nested as a service.
    ServiceRoot,
    /// A request with a body.
    Upload { body: Upload, reading: Reading },
    /// A request that waits at a place until its client acts.
    Held { place: Place, then: Then },
    /// Nobody waits for the answer, and perhaps nobody sees the request.
    Abandoned,
}

/// The body of a request: parts of five bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload {
    pub(crate) parts: u8,
    /// Whether Content-Length says so at the start.
    pub(crate) announced: bool,
}

impl Upload {
    pub(crate) const fn bytes(self) -> u64 {
        self.parts as u64 * FRAME_BYTES
    }
}

/// How much of a request's body the handler reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Nothing,
    /// One part, and no more is sent before the answer is there.
    First,
    All,
    /// All it can get, of a client that leaves after the first part.
    Left(Way),
}

/// Where a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the handler, before there is a response.
    Handler,
    /// In the body, before its first frame.
    Head,
    /// In a body of unknown length, between two frames.
    Stream,
    /// In a body of two frames whose Content-Length is given, between them.
    Sized,
}

impl Place {
    /// The frames that the body has handed on there, and those that it has in all.
    const fn frames(self) -> (u64, u64) {
        match self {
            Self::Handler => (0, 1),
            Self::Head => (0, 2),
            Self::Stream | Self::Sized => (1, 2),
        }
    }
}

/// What the client does with a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Lets it go on, and reads to the end.
    Opens,
    /// Goes away.
    Leaves(Way),
    /// Reads on, through a stop of the server that drains it or cuts it.
    Stays { cut: bool },
}

/// How a client goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Closes the connection.
    Closes,
    /// Resets the connection (HTTP/1) or the stream (HTTP/2).
    Resets,
    /// Closes its own direction only (HTTP/1) or lets go of the stream (HTTP/2).
    LetsGo,
}

/// How a request ended, as its metrics and its span say it.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) status: Option<u16>,
    pub(crate) error_type: Option<&'static str>,
    /// Of the body that was handed on; without meaning where there is no status.
    pub(crate) response_bytes: RangeInclusive<u64>,
}

/// Whether a request gets as far as the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaches {
    Always,
    Perhaps,
    Never,
}

/// What the client must be able to tell of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Answer {
        status: u16,
        bytes: u64,
    },
    /// Not the whole of one.
    Broken,
    /// The client does not look.
    Unseen,
}

/// What must come of one request.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) method: &'static str,
    pub(crate) route: Option<&'static str>,
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) reaches: Reaches,
    /// One, but for what is truly a race.
    pub(crate) endings: Vec<Ending>,
    pub(crate) request_bytes: RangeInclusive<u64>,
    pub(crate) seen: Seen,
}

impl Ending {
    fn complete(status: u16, bytes: u64) -> Self {
        let error_type = match status {
            500 => Some("500"),
            503 => Some("503"),
            504 => Some("504"),
            _ => None,
        };
        assert!(status < 500 || error_type.is_some(), "the model has no word for {status}");
        Self { status: Some(status), error_type, response_bytes: bytes..=bytes }
    }

    fn failed(status: impl Into<Option<u16>>, error_type: &'static str, bytes: u64) -> Self {
        Self { status: status.into(), error_type: Some(error_type), response_bytes: bytes..=bytes }
    }
}

impl Exchange {
    /// Where the application plays it; all but the query.
    pub(crate) fn path(&self) -> String {
        match self.play {
            Play::Whole { bytes } => format!("/whole/{bytes}"),
            Play::Streamed { frames } => format!("/streamed/{frames}"),
            Play::Hinted { frames } => format!("/hinted/{frames}"),
            Play::Status { code } => format!("/status/{code}"),
            Play::BodyFails { after } => format!("/body-fails/{after}"),
            Play::BodyPanics { after } => format!("/body-panics/{after}"),
            Play::LateInside { code } => format!("/late-inside/{code}"),
            Play::Absent => "/absent/7".to_owned(),
            Play::Nested => "/nested/leaf/7".to_owned(),
            Play::NestedAbsent => "/nested/absent".to_owned(),
            Play::NestedFallback => "/nested/well/absent".to_owned(),
            Play::ServiceLeaf => "/service/leaf/7".to_owned(),
            Play::Abandoned => "/streamed/3".to_owned(),
            _ => self.route().expect("a path that is its own template").to_owned(),
        }
    }

    /// The template that must be told of it.
    fn route(&self) -> Option<&'static str> {
        Some(match self.play {
            Play::Whole { .. } => "/whole/{bytes}",
            Play::Streamed { .. } | Play::Abandoned => "/streamed/{frames}",
            Play::Hinted { .. } => "/hinted/{frames}",
            Play::Trailers => "/trailers",
            Play::Status { .. } => "/status/{code}",
            Play::BodyFails { .. } => "/body-fails/{after}",
            Play::BodyPanics { .. } => "/body-panics/{after}",
            Play::HandlerPanics => "/handler-panics",
            Play::CallPanics => "/call-panics",
            Play::HandlerFails => "/handler-fails",
            Play::LateInside { .. } => "/late-inside/{code}",
            Play::LateOutside => "/late-outside",
            Play::CutOutside => "/cut-outside",
            Play::OnlyGet => "/only-get",
            Play::Nested => "/nested/leaf/{id}",
            Play::ServiceRoot => "/service",
            // What a router that is a service matched is known inside of it only.
            Play::Absent | Play::NestedAbsent | Play::NestedFallback | Play::ServiceLeaf => return None,
            Play::Upload { reading, .. } => match reading {
                Reading::Nothing => "/upload/nothing",
                Reading::First => "/upload/first",
                Reading::All | Reading::Left(_) => "/upload/all",
            },
            Play::Held { place, .. } => match place {
                Place::Handler => "/held/handler",
                Place::Head => "/held/head",
                Place::Stream => "/held/stream",
                Place::Sized => "/held/sized",
            },
        })
    }

    /// The same with what cannot be together taken out: a response to HEAD has no body to wait in, there is no body of
    /// unknown length in a request of HTTP/1.0, and a client that leaves after the last part has sent all.
    pub(crate) fn fitting(mut self, version: Version) -> Self {
        let with_body = match &mut self.play {
            Play::Upload { body, reading } => {
                body.announced |= version == Version::Http10;
                if let Reading::Left(_) = reading {
                    body.parts = body.parts.max(2);
                }
                true
            }
            Play::Held { place, .. } => *place != Place::Handler,
            _ => false,
        };
        if with_body && self.method == "HEAD" {
            self.method = "POST";
        }
        self
    }

    /// Whether the client goes away before the answer is whole.
    pub(crate) fn leaves(&self) -> Option<Way> {
        match self.play {
            Play::Upload { reading: Reading::Left(way), .. } | Play::Held { then: Then::Leaves(way), .. } => {
                Some(way)
            }
            _ => None,
        }
    }

    /// Whether the connection must end with it in HTTP/1, so that nothing behind it reaches the application.
    pub(crate) fn ends_connection(&self) -> bool {
        let has_body = self.method != "HEAD";
        match self.play {
            Play::HandlerPanics | Play::CallPanics => true,
            Play::BodyFails { .. } | Play::BodyPanics { .. } | Play::CutOutside => has_body,
            Play::Upload { reading, .. } => reading != Reading::All,
            Play::Held { then, .. } => then != Then::Opens,
            _ => false,
        }
    }

    pub(crate) fn expected(&self, version: Version) -> Expected {
        let endings = self.endings();
        Expected {
            method: match self.method {
                "BREW" | "get" => "_OTHER",
                known => known,
            },
            route: self.route(),
            path: self.path(),
            version,
            reaches: if matches!(self.play, Play::Abandoned) { Reaches::Perhaps } else { Reaches::Always },
            request_bytes: match self.play {
                Play::Upload { body, reading } => {
                    let read = match reading {
                        Reading::Nothing => 0,
                        Reading::First | Reading::Left(_) => FRAME_BYTES,
                        Reading::All => body.bytes(),
                    };
                    read..=read
                }
                _ => 0..=0,
            },
            seen: self.seen(&endings),
            endings,
        }
    }

    fn endings(&self) -> Vec<Ending> {
        // The body of a response to HEAD is never asked for anything.
        let head = self.method == "HEAD";
        let complete = |status, bytes| Ending::complete(status, if head { 0 } else { bytes });
        let in_body = |error_type, frames| match head {
            true => Ending::complete(200, 0),
            false => Ending::failed(200, error_type, frames * FRAME_BYTES),
        };
        vec![match self.play {
            Play::Whole { bytes } => complete(200, bytes.into()),
            Play::Streamed { frames } | Play::Hinted { frames } => {
                complete(200, u64::from(frames) * FRAME_BYTES)
            }
            Play::Trailers => complete(200, 2 * FRAME_BYTES),
            Play::Status { code: code @ (204 | 304) } => complete(code, 0),
            Play::Status { code } => complete(code, FRAME_BYTES),
            Play::BodyFails { after } => in_body("body_error", after.into()),
            Play::BodyPanics { after } => in_body("panic", after.into()),
            Play::HandlerPanics | Play::CallPanics => Ending::failed(None, "panic", 0),
            Play::HandlerFails => Ending::failed(None, "handler_error", 0),
            Play::LateInside { code } => complete(code, 0),
            Play::LateOutside => Ending::failed(None, "cancelled", 0),
            Play::CutOutside => in_body("cancelled", 2),
            Play::Absent | Play::NestedAbsent => complete(404, 0),
            Play::NestedFallback => complete(404, FRAME_BYTES),
            Play::OnlyGet if !matches!(self.method, "GET" | "HEAD") => complete(405, 0),
            Play::OnlyGet | Play::Nested | Play::ServiceLeaf | Play::ServiceRoot => {
                complete(200, FRAME_BYTES)
            }
            Play::Upload { reading: Reading::Left(_), .. } => {
                // The handler's answer to the broken body meets a client that is gone.
                return vec![
                    Ending::complete(400, 0),
                    Ending::failed(400, "cancelled", 0),
                    Ending::failed(None, "cancelled", 0),
                ];
            }
            Play::Upload { .. } => complete(200, FRAME_BYTES),
            Play::Held { place, then } => {
                let (before, all) = place.frames();
                match then {
                    Then::Opens | Then::Stays { cut: false } => complete(200, all * FRAME_BYTES),
                    Then::Leaves(_) | Then::Stays { cut: true } => {
                        let status = (place != Place::Handler).then_some(200);
                        Ending::failed(status, "cancelled", before * FRAME_BYTES)
                    }
                }
            }
            Play::Abandoned => {
                let some =
                    Ending { response_bytes: 0..=3 * FRAME_BYTES, ..Ending::failed(200, "cancelled", 0) };
                return vec![complete(200, 3 * FRAME_BYTES), some, Ending::failed(None, "cancelled", 0)];
            }
        }]
    }

    fn seen(&self, endings: &[Ending]) -> Seen {
        let answer = |status| Seen::Answer { status, bytes: 0 };
        match self.play {
            Play::HandlerFails => answer(500),
            Play::LateOutside => answer(504),
            Play::Abandoned => Seen::Unseen,
            _ => match endings {
                [Ending { status: Some(status), error_type, response_bytes }]
                    if error_type.is_none_or(|word| word.starts_with('5')) =>
                {
                    Seen::Answer { status: *status, bytes: *response_bytes.end() }
                }
                _ => Seen::Broken,
            },
        }
    }
}
