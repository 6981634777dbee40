//! How `StatsD` is read, and how long its series stay.

use std::time::Duration;

use super::flags;
use super::invalid::Fault;
use super::reader::Reader;
use super::values;

/// How long a series of `StatsD` stays that nobody sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsdExpiry {
    /// Counters, timers, distributions and sets.
    pub series: Duration,
    /// Gauges, which hold until they are set again.
    pub gauges: Duration,
}

impl Default for StatsdExpiry {
    fn default() -> Self {
        Self { series: Duration::from_secs(300), gauges: Duration::from_secs(24 * 3600) }
    }
}

/// Whose way of writing tags in a name is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsdTags {
    /// `name,key=value`
    pub influxdb: bool,
    /// `name;key=value`
    pub graphite: bool,
    /// `name#key=value`
    pub librato: bool,
    /// `name[key=value]`
    pub signalfx: bool,
}

impl StatsdTags {
    /// Everyone's.
    pub const ALL: Self = Self { influxdb: true, graphite: true, librato: true, signalfx: true };
    /// Nobody's: a name is as it was sent.
    pub const OFF: Self = Self { influxdb: false, graphite: false, librato: false, signalfx: false };

    fn parse(text: &str) -> Result<Self, Fault> {
        const WORDS: &str = "influxdb, graphite, librato and signalfx";
        if text == "off" {
            return Ok(Self::OFF);
        }
        let mut tags = Self::OFF;
        for word in text.split(',') {
            let dialect = match word.trim() {
                "influxdb" => &mut tags.influxdb,
                "graphite" => &mut tags.graphite,
                "librato" => &mut tags.librato,
                "signalfx" => &mut tags.signalfx,
                _ => {
                    return Err(Fault::new(
                        "unknown",
                        format!("give some of {WORDS} with commas between, or off"),
                    ));
                }
            };
            *dialect = true;
        }
        Ok(tags)
    }
}

impl Reader<'_> {
    pub(super) fn statsd_expiry(&mut self) -> Option<StatsdExpiry> {
        let given = self.read_if_given(&flags::STATSD_EXPIRY, |given| {
            let expiry = values::time(given.text, Duration::from_secs(1)..=values::TEN_YEARS)?;
            Ok(StatsdExpiry { series: expiry, gauges: expiry })
        });
        given.map(Option::unwrap_or_default)
    }

    pub(super) fn statsd_tags(&mut self) -> Option<StatsdTags> {
        self.read(&flags::STATSD_TAGS, |given| StatsdTags::parse(given.text))
    }
}
