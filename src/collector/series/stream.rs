//! One series: its path, what it stands at, and the lines that its points become.

use std::{borrow::Cow, num::NonZeroU32, sync::Arc, time::Instant};

use super::{
    Applied,
    beginning::{self, Written},
    identity::Descriptor,
    kept::Kept,
    paths::{Membership, Paths},
    point,
    state::{self, State, Taken},
    times::Times,
};
use crate::{
    collector::export::graphite::lines::{Beside, Rendered, Writer, part_path},
    collector::wire::{Content, Point},
    exposition::family::{Kind, Labels, Origin, Value},
    naming::graphite::{Path, Style},
};

/// Bytes of carbon lines that one request may become. Its size on the wire is no bound of them: each bucket
/// of a histogram repeats the path.
pub(super) const MAX_LINES: usize = 256 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) descriptor: Arc<Descriptor>,
    pub(super) labels: Labels,
    /// What distinguishes it from others with the same labels.
    pub(super) origin: Arc<Origin>,
    /// Its path in Graphite, if it has one.
    pub(super) path: Option<Path>,
    pub(super) state: State,
    pub(super) heard: Instant,
    /// Who else has that path.
    pub(super) shares: Membership,
    /// A point of it was taken in.
    pub(super) begun: bool,
    /// The second of its line of zero, if it has one.
    pub(super) beginning: Option<NonZeroU32>,
    /// What its total is kept under; in a box, since only deltas with a spool have it.
    pub(super) identity: Option<Box<u128>>,
}

impl Stream {
    /// Whether it has a value: it has begun and not ended.
    pub(super) fn is_live(&self) -> bool {
        self.state.time().is_some()
    }

    /// The path by which series that share one are found.
    pub(super) fn shared_path(&self) -> Option<String> {
        let part = match self.descriptor.kind() {
            Kind::Counter | Kind::Gauge => "",
            Kind::Histogram | Kind::Summary => ".count",
        };
        self.path.as_ref().map(|path| part_path(path, part))
    }

    /// Whether a point could be the first of the stream, or the first after a reset.
    pub(super) fn may_begin(&self, point: &Point<'_>, delta: bool) -> bool {
        !self.begun || (!delta && self.state.may_be_reset(point.start))
    }

    /// Takes a point in, and writes its lines where they are wanted; says whether it was added to what was counted
    /// before.
    ///
    /// # Errors
    /// The reason why it is refused; nothing has changed then.
    pub(super) fn take(
        &mut self,
        ready: Ready,
        point: &Point<'_>,
        form: Form<'_>,
        applied: &mut Applied,
    ) -> Result<bool, &'static str> {
        // The Collector's exporter wrote what it was given.
        let as_sent = (form.rendered.style() == Style::CarbonExporter).then(|| ready.value.clone());
        let taken = self.state.take(ready.value, point, ready.delta, form.horizon)?;
        let added = taken.added;
        self.write(taken, as_sent, &ready.beside, point, form, applied);
        Ok(added)
    }

    /// Writes the lines of a point that was taken in.
    fn write(
        &mut self,
        taken: Taken,
        as_sent: Option<Value>,
        beside: &Beside,
        point: &Point<'_>,
        form: Form<'_>,
        applied: &mut Applied,
    ) {
        let Form { most_bytes, times, rendered, beginnings, kept, .. } = form;
        let style = rendered.style();
        let begins = !std::mem::replace(&mut self.begun, true) || taken.reset;
        let Some(path) = self.path.as_ref().filter(|_| most_bytes > 0) else { return };
        let mut unwritten = |reason| *applied.unwritten.entry(reason).or_default() += 1;
        if as_sent.is_some() && matches!(point.content, Content::Exponential(_)) {
            return unwritten("exponential_histogram");
        }
        if applied.lines.len() + most_bytes > MAX_LINES {
            return unwritten("too_many_lines");
        }
        let (value, time) = match (as_sent.or(taken.own), self.state.value(), self.state.time()) {
            (Some(own), _, _) => (Cow::Owned(own), point.time),
            (None, Some(newest), Some(time)) => (newest, time),
            (None, _, _) => return,
        };
        let second = match times.second(time) {
            Ok(second) => second,
            Err(reason) => return unwritten(reason),
        };
        let grows = matches!(self.descriptor.kind(), Kind::Counter | Kind::Histogram);
        if grows && style != Style::CarbonExporter {
            let zero = beginning::zero_second(begins, point.start, time, times.oldest);
            if let Some(second) = zero {
                let known = beginnings.knows(path.as_str(), second);
                let earlier = std::mem::replace(&mut self.beginning, NonZeroU32::new(second));
                if let Some(earlier) = earlier {
                    beginnings.remember(beginning::identity(path.as_str(), earlier.get()), self.heard);
                }
                if !known {
                    if let Some(kept) = kept {
                        kept.begin(beginning::identity(path.as_str(), second), &mut applied.state);
                    }
                    Writer::new(path, second, rendered, &mut applied.lines).write_zero(&value);
                }
            }
        }
        let before = applied.lines.len();
        let mut writer = Writer::new(path, second, rendered, &mut applied.lines);
        writer.write(&value, beside);
        let skipped = writer.skipped;
        if skipped > 0 {
            *applied.unwritten.entry("not_a_number").or_default() += skipped;
        }
        applied.points += u64::from(applied.lines.len() > before);
    }
}

/// In which form, and within which bounds, lines are written.
#[derive(Debug)]
pub(super) struct Form<'a> {
    /// None where no lines are wanted.
    pub(super) most_bytes: usize,
    pub(super) horizon: u64,
    pub(super) times: Times,
    pub(super) rendered: &'a mut Rendered,
    pub(super) beginnings: &'a mut Written,
    pub(super) kept: Option<&'a mut Kept>,
}

/// A point's own value, and what is to be written beside it.
#[derive(Debug)]
pub(super) struct Ready {
    value: Value,
    beside: Beside,
    delta: bool,
}

impl Ready {
    pub(super) fn of(stream: &Stream, point: &Point<'_>, delta: bool, bounds: &Arc<[f64]>) -> Self {
        Self { value: state::value(point, bounds, stream.state.bounds()), beside: Beside::default(), delta }
    }

    pub(super) fn beside(&mut self, stream: &mut Stream, point: &Point<'_>, quantiles: &[f64]) {
        let (min, max) = point::extremes(point);
        let quantiles = stream.state.quantiles(&self.value, point, self.delta, quantiles);
        self.beside = Beside { min, max, quantiles };
    }
}

/// A stream that is no longer in the table leaves its path and its type.
pub(super) fn forget(stream: &Stream, paths: &mut Paths) {
    if stream.is_live() {
        stream.descriptor.named.remove_live();
    }
    if let Some(path) = stream.shared_path() {
        paths.leave(&path, stream.shares);
    }
}
