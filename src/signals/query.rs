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
}

impl Prometheus<'_> {
    pub(super) fn rate(&self, instrument: Instrument, part: &str) -> String {
        self.rate_of(instrument, part, &[])
    }

    pub(super) fn over_time(&self, function: &str, instrument: Instrument, wanted: &[Wanted<'_>]) -> String {
        let series = self.series(instrument, "", wanted);
        format!("sum({function}_over_time({series}[{}]))", self.window())
    }

    pub(super) fn quantile(&self, quantile: f64, instrument: Instrument) -> String {
        let buckets = self.series(instrument, "_bucket", &[]);
        format!("histogram_quantile({quantile}, sum by (le) (rate({buckets}[{}])))", self.window())
    }

    /// The share of a histogram's values that are not above a bound of its buckets.
    pub(super) fn within(&self, instrument: Instrument, bound: f64) -> String {
        // Prometheus 3 stores the bound 1 as "1.0", older ones as it is written.
        let le = match bound.fract() == 0.0 {
            true => format!("le=~\"{bound}|{bound}[.]0\""),
            false => format!("le=\"{bound}\""),
        };
        let buckets = format!("{}_bucket{{{},{le}}}", instrument.family(), self.job());
        let all = self.rate(instrument, "_count");
        format!("sum(rate({buckets}[{}])) / ({all} > 0)", self.window())
    }

    /// The share of what is wanted: 0 where there is none of it, nothing where there is nothing at all.
    pub(super) fn share(&self, part: (Instrument, &str, &[Wanted<'_>]), all: (Instrument, &str)) -> String {
        let (part, all) = (self.rate_of(part.0, part.1, part.2), self.rate(all.0, all.1));
        format!("({part} or vector(0)) / ({all} > 0)")
    }

    /// The mean of a histogram's values.
    pub(super) fn mean(&self, instrument: Instrument) -> String {
        format!("{} / ({} > 0)", self.rate(instrument, "_sum"), self.rate(instrument, "_count"))
    }

    fn rate_of(&self, instrument: Instrument, part: &str, wanted: &[Wanted<'_>]) -> String {
        format!("sum(rate({}[{}]))", self.series(instrument, part, wanted), self.window())
    }

    fn series(&self, instrument: Instrument, part: &str, wanted: &[Wanted<'_>]) -> String {
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
        // What a label's value escapes is what Rust's quoting of these three escapes.
        let job = self.scope.job.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("job=\"{job}\"")
    }

    fn window(&self) -> String {
        time(self.scope.window, "m")
    }
}

/// Graphite's targets. Each gives one series, of one value for each window; the last window still fills, so that a rate
/// is too low there, and a share is not.
///
/// Cumulative series are thinned out to their last value of each window before their rate is taken: `perSecond` alone
/// gives nothing where points are further apart than Graphite's own step. They are added up first, so that what a new
/// series begins with counts: the rate of that series alone would leave its first value out.
pub(super) struct Graphite<'a> {
    pub(super) scope: &'a Scope,
}

impl Graphite<'_> {
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
    pub(super) fn share(&self, part: (Instrument, &str, &[Wanted<'_>]), all: (Instrument, &str)) -> String {
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
        let window = time(self.scope.window, "min");
        format!("summarize(seriesByTag({}),'{window}','{function}')", expressions.join(","))
    }
}

/// As a string of a target.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    format!("{quote}{text}{quote}")
}

/// Whole minutes where it is some, else seconds.
fn time(time: Duration, minutes: &str) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{}{minutes}", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
