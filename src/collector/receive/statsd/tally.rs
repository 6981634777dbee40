//! Counts of what was taken and refused, gathered here and published once for many datagrams.
//!
//! It must not allocate nor lock between two publications.

use super::super::super::{
    batch::Signal,
    stats::{Event, Stats},
};

/// The receiver's name in the collector's counts.
pub(super) const PLACE: &str = "statsd";

/// Why a value, or a whole line where none of its values can be told, was refused.
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
    /// Not one of `c`, `g`, `ms`, `h`, `d`, `s`.
    BadType,
    /// Not above 0 and up to 1.
    BadSampleRate,
    /// A tag without a key.
    BadTag,
    /// Name and tags are longer than what is kept for one series.
    TooLong,
    /// An event or a service check of `DogStatsD`.
    Unsupported,
    /// The name is known as another type.
    TypeConflict,
    /// A new series where there are already as many as are kept.
    MaxSeries,
    /// A new value of a set where there are already as many as are kept for one interval.
    MaxSetValues,
    /// The total would be beyond what a double can hold.
    Overflow,
}

impl Reason {
    const ALL: [Self; 13] = [
        Self::MalformedLine,
        Self::NotUtf8,
        Self::EmptyName,
        Self::BadValue,
        Self::BadType,
        Self::BadSampleRate,
        Self::BadTag,
        Self::TooLong,
        Self::Unsupported,
        Self::TypeConflict,
        Self::MaxSeries,
        Self::MaxSetValues,
        Self::Overflow,
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
            Self::TypeConflict => "type_conflict",
            Self::MaxSeries => "max_series",
            Self::MaxSetValues => "max_set_values",
            Self::Overflow => "overflow",
        }
    }
}

/// What happened since the last publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    accepted: u64,
    refused: [u64; Reason::ALL.len()],
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
    }

    /// Adds everything to `stats`, and starts again from zero.
    pub(super) fn publish(&mut self, stats: &Stats) {
        if self.accepted > 0 {
            stats.add(Event::Accepted, PLACE, Signal::Metrics, "", self.accepted);
        }
        for (reason, values) in Reason::ALL.into_iter().zip(self.refused) {
            if values > 0 {
                stats.add(Event::Refused, PLACE, Signal::Metrics, reason.as_str(), values);
            }
        }
        *self = Self::default();
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
