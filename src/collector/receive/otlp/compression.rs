//! The compressions that bodies may have, and undoing them within bounds of size and memory.
//!
//! It must not take memory because a body says that it needs it: a window is measured before it is made.

use std::io::Read as _;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::GzDecoder};
use zstd::{
    stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer},
    zstd_safe::DParameter,
};

use super::{Refusal, body::Share};

const STEP: usize = 32 * 1024;
/// The largest window of zstd, as a power of two: 32 MiB, which is what the Collector's highest level has.
const WINDOW_LOG: u32 = 25;
/// A body may have so many members of gzip or frames of zstd, and another for each so many bytes that it becomes: to begin
/// one costs more than a sender pays for it.
const MOST_MEMBERS: usize = 1024;
const BYTES_A_MEMBER: usize = 1024;
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
const MALFORMED_ZSTD: &str = "the body is not zstd";

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Compression {
    /// Not at all.
    None,
    Gzip,
    /// What HTTP and gRPC call `deflate` (RFC 9110, 8.4.1.2), and the Collector `zlib` too.
    Zlib,
    Zstd,
}

impl Compression {
    /// Those that a client may choose, as in `Accept-Encoding`.
    pub(in super::super) const NAMES: &'static str = "gzip, deflate, zstd";

    /// The one of that name in lower case.
    ///
    /// # Errors
    /// [`Refusal::ContentEncoding`] for any other.
    pub(in super::super) fn of(name: &str) -> Result<Self, Refusal> {
        match name {
            "" | "identity" => Ok(Self::None),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" | "zlib" => Ok(Self::Zlib),
            "zstd" => Ok(Self::Zstd),
            other => Err(Refusal::ContentEncoding(other.to_owned())),
        }
    }

    /// Undoes it, to at most `limit` bytes; never more than that, and a step, is made.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::TooLarge`] or [`Refusal::NoRoom`].
    pub(super) fn undo(self, body: Bytes, limit: usize, share: &mut Share) -> Result<Bytes, Refusal> {
        let mut plain = Plain { whole: Vec::new(), members: 0, limit, share };
        match self {
            Self::None => return Ok(body),
            Self::Gzip => gzip(&body, &mut plain)?,
            Self::Zlib => zlib(&body, &mut plain)?,
            Self::Zstd => zstd(&body, &mut plain)?,
        }
        Ok(plain.whole.into())
    }
}

/// What was compressed, as far as it is known.
struct Plain<'a> {
    whole: Vec<u8>,
    members: usize,
    limit: usize,
    share: &'a mut Share,
}

impl Plain<'_> {
    fn add(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.measure(bytes.len() as u64)?;
        self.share.grow(bytes.len())?;
        self.whole.extend_from_slice(bytes);
        Ok(())
    }

    /// Another member or frame begins.
    fn begin_member(&mut self) -> Result<(), Refusal> {
        self.members += 1;
        if self.members > MOST_MEMBERS + self.whole.len() / BYTES_A_MEMBER {
            let what = format!(
                "the body has more than {MOST_MEMBERS} compressed members or frames with hardly anything in them"
            );
            return Err(Refusal::Malformed(what));
        }
        Ok(())
    }

    /// The refusal where so many bytes more are too many.
    fn measure(&self, bytes: u64) -> Result<(), Refusal> {
        match (self.whole.len() as u64).saturating_add(bytes) > self.limit as u64 {
            true => Err(Refusal::TooLarge { what: "the decompressed body", limit: self.limit }),
            false => Ok(()),
        }
    }
}

fn gzip(body: &[u8], plain: &mut Plain<'_>) -> Result<(), Refusal> {
    let mut step = vec![0; STEP];
    plain.begin_member()?;
    let mut decoder = GzDecoder::new(body);
    loop {
        match decoder.read(&mut step) {
            Ok(0) if decoder.get_ref().is_empty() => return Ok(()),
            Ok(0) => {
                plain.begin_member()?;
                decoder = GzDecoder::new(decoder.into_inner());
            }
            Ok(length) => plain.add(&step[..length])?,
            Err(error) => return Err(Refusal::Malformed(format!("the body is not gzip: {error}"))),
        }
    }
}

fn zlib(body: &[u8], plain: &mut Plain<'_>) -> Result<(), Refusal> {
    let malformed = |reason: &str| {
        Refusal::Malformed(format!(
            "the body is not zlib, which is what deflate means in HTTP and gRPC: {reason}"
        ))
    };
    let mut decoder = Decompress::new(true);
    let mut step = vec![0; STEP];
    loop {
        let (read, made) = (decoder.total_in(), decoder.total_out());
        let rest = usize::try_from(read).ok().and_then(|read| body.get(read..)).unwrap_or_default();
        let status = decoder.decompress(rest, &mut step, FlushDecompress::None);
        let status = status.map_err(|error| malformed(&error.to_string()))?;
        let made = usize::try_from(decoder.total_out() - made).unwrap_or(STEP);
        plain.add(&step[..made])?;
        match status {
            Status::StreamEnd if decoder.total_in() == body.len() as u64 => return Ok(()),
            Status::StreamEnd => return Err(malformed("something follows its end")),
            _ if made == 0 && decoder.total_in() == read => return Err(malformed("it ends early")),
            Status::Ok | Status::BufError => {}
        }
    }
}

fn zstd(body: &[u8], plain: &mut Plain<'_>) -> Result<(), Refusal> {
    let malformed = |error: std::io::Error| Refusal::Malformed(format!("{MALFORMED_ZSTD}: {error}"));
    let mut decoder = Decoder::new().map_err(malformed)?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(malformed)?;
    let mut step = vec![0; STEP];
    let mut rest = body;
    // Also an empty body has to say that it is one.
    loop {
        if let Some(length) = skippable(rest) {
            rest = rest
                .get(length..)
                .ok_or_else(|| Refusal::Malformed(format!("{MALFORMED_ZSTD}: it ends early")))?;
        } else {
            let frame = Frame::of(rest).ok_or_else(|| {
                Refusal::Malformed(format!("{MALFORMED_ZSTD}: no frame begins where one should"))
            })?;
            plain.begin_member()?;
            rest = frame.undo(&mut decoder, rest, &mut step, plain)?;
            decoder.reinit().map_err(malformed)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// What a frame of zstd says of itself (RFC 8878, 3.1.1.1).
struct Frame {
    window: u64,
    content: Option<u64>,
}

impl Frame {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (descriptor, rest) = bytes.strip_prefix(&ZSTD_MAGIC)?.split_first()?;
        let is_single_segment = descriptor & 0x20 != 0;
        let (window, rest) = match rest.split_first()? {
            (window, rest) if !is_single_segment => (Some(*window), rest),
            _ => (None, rest),
        };
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let length = match descriptor >> 6 {
            0 => usize::from(is_single_segment),
            flag => 1 << flag,
        };
        let content = rest.get(dictionary..dictionary + length)?;
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(content);
        let content = u64::from_le_bytes(bytes) + if length == 2 { 256 } else { 0 };
        let content = (length > 0).then_some(content);
        let window = match window {
            Some(window) => {
                let base = 1_u64 << (10 + (window >> 3));
                base + base / 8 * u64::from(window & 7)
            }
            None => content?,
        };
        Some(Self { window, content })
    }

    /// Decompresses it; the answer is what follows it.
    fn undo<'b>(
        &self,
        decoder: &mut Decoder<'_>,
        bytes: &'b [u8],
        step: &mut [u8],
        plain: &mut Plain<'_>,
    ) -> Result<&'b [u8], Refusal> {
        plain.measure(self.content.unwrap_or(0))?;
        if self.window > 1 << WINDOW_LOG {
            let what = format!(
                "zstd with a window of {} bytes, of which there may be {}: set a lower level of compression",
                self.window,
                1 << WINDOW_LOG
            );
            return Err(Refusal::Malformed(what));
        }
        // No more of a window is used than there is to be in it.
        let mut window = plain.share.another();
        window.grow(usize::try_from(self.window).unwrap_or(plain.limit).min(plain.limit))?;
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut *step);
            let read = input.pos();
            let left = decoder.run(&mut input, &mut output);
            let left = left.map_err(|error| Refusal::Malformed(format!("{MALFORMED_ZSTD}: {error}")))?;
            let made = output.pos();
            plain.add(&step[..made])?;
            if left == 0 {
                return Ok(&bytes[input.pos()..]);
            }
            if made == 0 && input.pos() == read {
                return Err(Refusal::Malformed(format!("{MALFORMED_ZSTD}: it ends early")));
            }
        }
    }
}

/// The length of a frame that is to be skipped, where one begins here.
fn skippable(bytes: &[u8]) -> Option<usize> {
    let ([0x50..=0x5F, 0x2A, 0x4D, 0x18, length @ ..], _) = bytes.split_first_chunk::<8>()? else {
        return None;
    };
    usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(8)
}
