//! Counts of what was taken and refused, gathered here and published once for many datagrams.
//!
//! It must not allocate nor lock between two publications.

use super::super::super::{
    batch::Signal,
    stats::{Event, Stats},
};

/// The receiver's name in the collector's counts.
pub(super) const PLACE: &str = "statsd";

/// Why a value, or a whole line where its values cannot be separated, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Not of the form `NAME:VALUE|TYPE`, or with a section after it that means nothing here.
    MalformedLine,
    /// Not UTF-8.
    NotUtf8,
    /// Nothing before the first colon.
    EmptyName,
    /// Not a finite number, a timer below zero, an empty value of a set.
    BadValue,
    /// Not one of `c`, `m`, `g`, `ms`, `h`, `d`, `s`.
    BadType,
    /// Not above 0 and up to 1.
    BadSampleRate,
    /// A tag without a key.
    BadTag,
    /// Name or tags are longer than those of a series may be.
    TooLong,
    /// An event or a service check of `DogStatsD`.
    Unsupported,
    /// A new series where there are already as many as there may be.
    MaxSeries,
    /// A new value of a set where there are already as many as one interval may have.
    MaxSetValues,
    /// It would swallow small values that come after it (above 2⁵³ with its sample rate), or lead to no finite number.
    Overflow,
    /// Another value of a gauge for a second of its own where there are already as many as an interval may have.
    MaxPoints,
    /// For second 0.
    Timestamp,
    /// For a second more than ten minutes ahead.
    TimestampAhead,
    /// For a second before the oldest that Graphite gets.
    TimestampOld,
}

impl Reason {
    const ALL: [Self; 16] = [
        Self::MalformedLine,
        Self::NotUtf8,
        Self::EmptyName,
        Self::BadValue,
        Self::BadType,
        Self::BadSampleRate,
        Self::BadTag,
        Self::TooLong,
        Self::Unsupported,
        Self::MaxSeries,
        Self::MaxSetValues,
        Self::Overflow,
        Self::MaxPoints,
        Self::Timestamp,
        Self::TimestampAhead,
        Self::TimestampOld,
    ];

    /// The reason in the collector's counts.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedLine => "malformed_line",
            Self::NotUtf8 => "not_utf8",
            Self::EmptyName => "empty_name",
            Self::BadValue => "bad_value",
            Self::BadType => "bad_type",
            Self::BadSampleRate => "bad_sample_rate",
            Self::BadTag => "bad_tag",
            Self::TooLong => "too_long",
            Self::Unsupported => "unsupported",
            Self::MaxSeries => "max_series",
            Self::MaxSetValues => "max_set_values",
            Self::Overflow => "overflow",
            Self::MaxPoints => "max_points",
            Self::Timestamp => "timestamp",
            Self::TimestampAhead => "timestamp_ahead",
            Self::TimestampOld => "timestamp_old",
        }
    }
}

impl Reason {
    /// What its sender, or whoever runs the collector, can do.
    const fn remedy(self) -> &'static str {
        match self {
            Self::MalformedLine => "send NAME:VALUE|TYPE, and |@RATE and |#KEY:VALUE behind it",
            Self::NotUtf8 => "send UTF-8",
            Self::EmptyName => "give it a name",
            Self::BadValue => "send a finite number, of a timer one that is not negative, of a set any text",
            Self::BadType => "send one of the types c, g, ms, h, d, s, m",
            Self::BadSampleRate => "send a rate above 0 and up to 1",
            Self::BadTag => "give the tag a key",
            Self::TooLong => "send up to 512 bytes of name and 2048 of tags",
            Self::Unsupported => {
                "events and service checks have no place here; switch them off at the sender"
            }
            Self::MaxSeries => "raise --max-series, lower --statsd-expiry, or send fewer names and tags",
            Self::MaxSetValues => "send fewer distinct values, or lower --statsd-flush",
            Self::Overflow => "send values up to 2^53, or a larger unit",
            Self::MaxPoints => "send fewer timestamps, or lower --statsd-flush",
            Self::Timestamp | Self::TimestampAhead => "send seconds since 1970, and set the sender's clock",
            Self::TimestampOld => "send newer values, or raise --max-age",
        }
    }
}

/// Characters of a line that go into the log.
const SHOWN: usize = 120;

/// What happened since the last publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    accepted: u64,
    refused: [u64; Reason::ALL.len()],
    /// The reasons that were ever logged, and those of the line in hand that are to be, as bits.
    logged: u32,
    unlogged: u32,
    /// A line for each reason that is to be logged.
    examples: Vec<(Reason, String)>,
}

impl Tally {
    /// One value was added to its series.
    pub(super) fn accept(&mut self) {
        self.accepted += 1;
    }

    /// One value was added or refused.
    pub(super) fn note(&mut self, outcome: Result<(), Reason>) {
        match outcome {
            Ok(()) => self.accept(),
            Err(reason) => self.refuse(reason, 1),
        }
    }

    /// Values were refused.
    pub(super) fn refuse(&mut self, reason: Reason, values: u64) {
        self.refused[reason as usize] += values;
        self.unlogged |= (1 << reason as u32) & !self.logged;
    }

    /// A line was read to its end: it is the example of each reason that it is the first for.
    pub(super) fn end_line(&mut self, line: &[u8]) {
        if self.unlogged == 0 {
            return;
        }
        for reason in Reason::ALL.into_iter().filter(|reason| self.unlogged & (1 << *reason as u32) != 0) {
            let shown = String::from_utf8_lossy(line).chars().take(SHOWN).collect();
            self.examples.push((reason, shown));
        }
        self.logged |= std::mem::take(&mut self.unlogged);
    }

    /// Adds everything to `stats`, logs what was refused for the first time for its reason, and starts again from zero.
    pub(super) fn publish(&mut self, stats: &Stats) {
        if self.accepted > 0 {
            stats.add(Event::Accepted, PLACE, Signal::Metrics, "", self.accepted);
        }
        for (reason, values) in Reason::ALL.into_iter().zip(self.refused) {
            if values > 0 {
                stats.add(Event::Refused, PLACE, Signal::Metrics, reason.as_str(), values);
            }
        }
        for (reason, line) in self.examples.drain(..) {
            tracing::warn!(
                reason = reason.as_str(),
                line,
                "refused a line of StatsD, or a value of it: {}; further ones are counted only",
                reason.remedy()
            );
        }
        *self = Self { logged: self.logged, ..Self::default() };
    }

    #[cfg(test)]
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    #[cfg(test)]
    pub(super) fn refused(&self) -> Vec<(&'static str, u64)> {
        Reason::ALL
            .into_iter()
            .zip(self.refused)
            .filter(|(_, values)| *values > 0)
            .map(|(reason, values)| (reason.as_str(), values))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_published_under_its_own_name_and_once() {
        let mut tally = Tally::default();
        for (values, reason) in (1..).zip(Reason::ALL) {
            tally.refuse(reason, values);
        }
        tally.accept();
        let stats = Stats::default();
        tally.publish(&stats);
        tally.publish(&stats);
        let counts = stats.snapshot();
        for (values, reason) in (1..).zip(Reason::ALL) {
            let count = counts.iter().find(|(count, _)| count.reason == reason.as_str());
            assert_eq!(count.map(|(count, values)| (count.event, *values)), Some((Event::Refused, values)));
        }
        assert_eq!(counts.len(), Reason::ALL.len() + 1, "{counts:?}");
        assert!(counts.iter().any(|(count, values)| count.event == Event::Accepted && *values == 1));
    }
}
