//! Reading bodies within bounds of size, time and memory held at once.
//!
//! It must not know what is in them.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Limits, Refusal};

/// Room is taken in units of this many bytes.
const UNIT: usize = 4096;
/// The most room that a body gets because its sender says that it is that long.
const RESERVED: usize = 1024 * 1024;
/// When to try again where the bodies of others take all the room: they are read within this, most times.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How much of a body that was refused is still read and thrown away, so that an HTTP/1 client that has not
/// finished sending gets to read the answer instead of a reset connection; and for how long.
const DISCARDED_BYTES: usize = 64 * 1024 * 1024;
const DISCARDED_TIME: Duration = Duration::from_secs(2);

/// Memory that all requests of a receiver share.
#[derive(Clone, Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS))) }
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { room: self.clone(), held: None, bytes: 0 }
    }
}

/// What one request holds of a [`Room`], given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Room,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Share {
    /// A share of nothing yet, of the same room.
    pub(super) fn another(&self) -> Self {
        self.room.share()
    }

    /// Takes room for `bytes` more.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`] where others hold it.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        let units =
            self.bytes.div_ceil(UNIT) - self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if units == 0 {
            return Ok(());
        }
        let more = u32::try_from(units)
            .ok()
            .and_then(|units| Arc::clone(&self.room.units).try_acquire_many_owned(units).ok())
            .ok_or_else(|| Refusal::NoRoom {
                message: "the receiver holds as many requests as it has memory for".to_owned(),
                retry_after: RETRY_AFTER,
                items: 1,
            })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

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
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Vec::with_capacity(announced.min(RESERVED));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Aborted(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > limit + extra {
            return Err(Refusal::TooLarge { what: "the body", limit });
        }
        share.grow(data.len())?;
        whole.extend_from_slice(data);
    }
    Ok(whole.into())
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
