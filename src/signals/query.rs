//! How the two are asked: Prometheus in its query language, Graphite by render targets over tagged series.
//!
//! It must not know what a query is for.

use std::time::Duration;

use super::{Instrument, Scope};
use crate::naming::{graphite, prometheus};

/// An attribute, and what its value must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    key: &'a str,
    value: &'a str,
    /// The value is a regular expression for the whole of it, without quotes and backslashes.
    pattern: bool,
}

impl<'a> Wanted<'a> {
    pub(super) const fn is(key: &'a str, value: &'a str) -> Self {
        Self { key, value, pattern: false }
    }

    pub(super) const fn like(key: &'a str, value: &'a str) -> Self {
        Self { key, value, pattern: true }
    }
}

/// Prometheus's queries. Each gives one value without labels.
pub(super) struct Prometheus<'a> {
    pub(super) scope: &'a Scope,
    /// What a range selector has in its brackets.
    pub(super) range: String,
}

/// A counter or a part of a histogram, of which only some series are wanted.
pub(super) type Part<'a> = (Instrument, &'a str, &'a [Wanted<'a>]);

impl<'a> Prometheus<'a> {
    /// Asks over the window of the scope.
    pub(super) fn new(scope: &'a Scope) -> Self {
        Self { scope, range: time(scope.window) }
    }

    pub(super) fn rate(&self, instrument: Instrument, part: &str) -> String {
        self.rate_of(instrument, part, &[])
    }

    pub(super) fn over_time(&self, function: &str, instrument: Instrument, wanted: &[Wanted<'_>]) -> String {
        let series = self.series(instrument, "", wanted);
        format!("sum({function}_over_time({series}[{}]))", self.range)
    }

    pub(super) fn quantile(&self, quantile: f64, instrument: Instrument) -> String {
        let buckets = self.series(instrument, "_bucket", &[]);
        format!("histogram_quantile({quantile}, sum by (le) (rate({buckets}[{}])))", self.range)
    }

    /// The share of a histogram's values that are not above a bound of its buckets.
    pub(super) fn within(&self, instrument: Instrument, bound: f64) -> String {
        let buckets = self.buckets(instrument, bound);
        let all = self.rate(instrument, "_count");
        format!("sum(rate({buckets}[{}])) / ({all} > 0)", self.range)
    }

    /// How many of a histogram's values are above a bound of its buckets.
    pub(super) fn above(&self, instrument: Instrument, bound: f64) -> String {
        let (buckets, range) = (self.buckets(instrument, bound), &self.range);
        let all = self.series(instrument, "_count", &[]);
        format!("sum(increase({all}[{range}])) - sum(increase({buckets}[{range}]))")
    }

    /// By how much a counter grew: 0 where there is none.
    pub(super) fn increase(&self, (instrument, part, wanted): Part<'_>) -> String {
        format!("sum(increase({}[{}]))", self.series(instrument, part, wanted), self.range)
    }

    fn buckets(&self, instrument: Instrument, bound: f64) -> String {
        // Prometheus 3 stores the bound 1 as "1.0", older ones as it is written.
        let le = match bound.fract() == 0.0 {
            true => format!("le=~\"{bound}|{bound}[.]0\""),
            false => format!("le=\"{bound}\""),
        };
        format!("{}_bucket{{{},{le}}}", instrument.family(), self.job())
    }

    /// The share of what is wanted: 0 where there is none of it, nothing where there is nothing at all.
    pub(super) fn share(&self, part: Part<'_>, all: (Instrument, &str)) -> String {
        let (part, all) = (self.rate_of(part.0, part.1, part.2), self.rate(all.0, all.1));
        format!("({part} or vector(0)) / ({all} > 0)")
    }

    /// The mean of a histogram's values.
    pub(super) fn mean(&self, instrument: Instrument) -> String {
        format!("{} / ({} > 0)", self.rate(instrument, "_sum"), self.rate(instrument, "_count"))
    }

    fn rate_of(&self, instrument: Instrument, part: &str, wanted: &[Wanted<'_>]) -> String {
        format!("sum(rate({}[{}]))", self.series(instrument, part, wanted), self.range)
    }

    /// The series themselves.
    pub(super) fn series(&self, instrument: Instrument, part: &str, wanted: &[Wanted<'_>]) -> String {
        let wanted: String = wanted
            .iter()
            .map(|Wanted { key, value, pattern }| {
                let operator = if *pattern { "=~" } else { "=" };
                format!(",{}{operator}\"{value}\"", prometheus::label_name(key))
            })
            .collect();
        format!("{}{part}{{{}{wanted}}}", instrument.family(), self.job())
    }

    fn job(&self) -> String {
        job(&self.scope.job)
    }
}

/// The matcher of one job, as it stands between the braces of a selector.
#[must_use]
pub fn job(job: &str) -> String {
    let job = job.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("job=\"{job}\"")
}

/// Graphite's targets. Each gives one series, of one value for each window; the last window still fills, so that a rate
/// is too low there, and a share is not.
///
/// Cumulative series are thinned out to their last value of each window before their rate is taken: `perSecond` alone
/// gives nothing where points are further apart than Graphite's own step. They are added up first, so that what a new
/// series begins with counts: the rate of that series alone would leave its first value out.
pub(super) struct Graphite<'a> {
    pub(super) scope: &'a Scope,
    /// What `summarize` takes as the length of an interval.
    pub(super) interval: String,
}

impl<'a> Graphite<'a> {
    /// Asks over the window of the scope.
    pub(super) fn new(scope: &'a Scope) -> Self {
        Self { scope, interval: whole(scope.window) }
    }

    pub(super) fn rate(&self, instrument: Instrument, part: &str) -> String {
        format!("perSecond({})", self.total(instrument, part, &[]))
    }

    pub(super) fn over_time(&self, function: &str, instrument: Instrument, wanted: &[Wanted<'_>]) -> String {
        format!("sumSeries({})", self.summary(function, instrument, "", wanted))
    }

    /// The share of a histogram's values that are not above a bound of its buckets.
    pub(super) fn within(&self, instrument: Instrument, bound: f64) -> String {
        let within = self.total(instrument, ".bucket", &[Wanted::is("le", &bound.to_string())]);
        format!("divideSeries(perSecond({within}),{})", self.rate(instrument, ".count"))
    }

    /// The share of what is wanted: 0 where there is none of it, nothing where there is nothing at all.
    pub(super) fn share(&self, part: Part<'_>, all: (Instrument, &str)) -> String {
        let total = self.total(all.0, all.1, &[]);
        // Before its first value the part is 0, and not unknown, so that this value counts.
        let part = format!("fallbackSeries({},scale({total},0))", self.total(part.0, part.1, part.2));
        let part = format!("transformNull(keepLastValue({part}),0)");
        format!("divideSeries(perSecond({part}),perSecond({total}))")
    }

    /// The mean of a histogram's values.
    pub(super) fn mean(&self, instrument: Instrument) -> String {
        format!("divideSeries({},{})", self.rate(instrument, ".sum"), self.rate(instrument, ".count"))
    }

    fn total(&self, instrument: Instrument, part: &str, wanted: &[Wanted<'_>]) -> String {
        format!("sumSeries({})", self.summary("last", instrument, part, wanted))
    }

    fn summary(&self, function: &str, instrument: Instrument, part: &str, wanted: &[Wanted<'_>]) -> String {
        let name = format!("name={}{part}", graphite::name(instrument.name));
        let service = Some(&self.scope.service).filter(|service| !service.is_empty());
        let service = service.map(|service| format!("service.name={}", graphite::value(service)));
        let wanted = wanted.iter().map(|Wanted { key, value, pattern }| match pattern {
            true => format!("{key}=~^{value}$"),
            false => format!("{key}={value}"),
        });
        let expressions: Vec<_> =
            [Some(name), service].into_iter().flatten().chain(wanted).map(|text| quoted(&text)).collect();
        format!("summarize(seriesByTag({}),'{}','{function}')", expressions.join(","), self.interval)
    }
}

/// As a string of a target.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    format!("{quote}{text}{quote}")
}

/// A duration as Prometheus writes it: in the largest unit of which it is a whole number.
#[must_use]
pub fn time(time: Duration) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let milliseconds = time.as_millis();
    let unit = UNITS.into_iter().find(|(size, _)| milliseconds > 0 && milliseconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{milliseconds}ms"), |(size, unit)| format!("{}{unit}", milliseconds / size))
}

/// A duration as Graphite's functions take it: whole minutes where it is some, else seconds.
fn whole(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{}min", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
