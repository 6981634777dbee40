//! Reading bodies within bounds of size, time and memory held at once.
//!
//! It must not know what is in them.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{Limits, Refusal};

mod room;

pub(super) use room::{Room, Share};

/// How much of a body that was refused is still read and thrown away, so that an HTTP/1 client that has not
/// finished sending gets to read the answer instead of a reset connection; and for how long.
const DISCARDED_BYTES: usize = 64 * 1024 * 1024;
const DISCARDED_TIME: Duration = Duration::from_secs(2);

/// Reads a body of at most the largest allowed size and `extra` bytes of framing.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::NoRoom`], [`Refusal::TooSlow`], or [`Refusal::Aborted`] where the
/// client went away. What was not read is left in `body`.
pub(super) async fn read(
    body: &mut Body,
    extra: usize,
    limits: &Limits,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    timeout(limits.body_time, read_all(body, extra, limits.body, share))
        .await
        .unwrap_or(Err(Refusal::TooSlow(limits.body_time)))
}

async fn read_all(body: &mut Body, extra: usize, limit: usize, share: &mut Share) -> Result<Bytes, Refusal> {
    let announced =
        body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    let mut whole = Vec::new();
    share.begins_reading();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            gave_way = share.let_go() => return Err(gave_way),
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::Aborted(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > limit + extra {
            return Err(Refusal::TooLarge { what: "the body", limit });
        }
        let more = more(&whole, data.len(), announced);
        share.grow_reading(more, data.len()).await?;
        whole.reserve_exact(more + whole.capacity() - whole.len());
        whole.extend_from_slice(data);
    }
    share.ends_reading()?;
    Ok(whole.into())
}

/// By how much the room for a body grows for `arrived` bytes more: by a quarter of what is there, so that it is seldom
/// copied, but never for its announced length alone.
fn more(whole: &Vec<u8>, arrived: usize, announced: usize) -> usize {
    let needed = (whole.len() + arrived).saturating_sub(whole.capacity());
    if needed == 0 {
        return 0;
    }
    let announced = announced.saturating_sub(whole.len() + arrived);
    needed + announced.min(whole.len() / 4)
}

/// Reads on and throws away, within bounds.
pub(super) async fn discard(mut body: Body) {
    let mut left = DISCARDED_BYTES;
    let discarding = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    // Whether it came to an end makes no difference: what is left closes the connection.
    let _ = timeout(DISCARDED_TIME, discarding).await;
}
