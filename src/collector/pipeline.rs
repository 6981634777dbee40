//! From a batch to every sink: admission first, then commit to all or to none.

use std::sync::Arc;

use super::{
    batch::{Accepted, Batch, Refused},
    stats::Stats,
};

/// The way from the receivers to the sinks. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stats: Arc<Stats>,
}

impl Pipeline {
    /// Takes a batch into every sink, or into none.
    ///
    /// # Errors
    /// [`Refused`] where a sink has no room: the sender may try again.
    pub fn accept(&self, _batch: Batch) -> Result<Accepted, Refused> {
        unimplemented!()
    }

    /// The collector's counts of itself.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }
}
