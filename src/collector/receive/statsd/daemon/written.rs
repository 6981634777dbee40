//! The daemon's lines and their names.

use std::fmt::Display;

use super::super::number;
use crate::config::StatsdNames;

/// Where each kind of value is written.
pub(super) struct Names {
    pub(super) rate: &'static str,
    pub(super) rate_part: &'static str,
    pub(super) count: &'static str,
    pub(super) count_part: &'static str,
    pub(super) timers: &'static str,
    pub(super) gauges: &'static str,
    pub(super) sets: &'static str,
    pub(super) own: &'static str,
}

impl Names {
    pub(super) const fn of(names: StatsdNames) -> Self {
        match names {
            StatsdNames::Legacy => Self {
                rate: "stats.",
                rate_part: "",
                count: "stats_counts.",
                count_part: "",
                timers: "stats.timers.",
                gauges: "stats.gauges.",
                sets: "stats.sets.",
                own: "",
            },
            StatsdNames::New => Self {
                rate: "stats.counters.",
                rate_part: "rate",
                count: "stats.counters.",
                count_part: "count",
                timers: "stats.timers.",
                gauges: "stats.gauges.",
                sets: "stats.sets.",
                own: "stats.",
            },
        }
    }
}

pub(super) struct Writer {
    pub(super) text: String,
    pub(super) points: u64,
    pub(super) seconds: u64,
}

impl Writer {
    /// One line; the tags of the key come behind its part.
    pub(super) fn line(&mut self, prefix: &str, key: &str, part: impl Display, value: f64) {
        use std::fmt::Write as _;
        if !value.is_finite() {
            return;
        }
        let (name, tags) = key.find(';').map_or((key, ""), |at| key.split_at(at));
        let seconds = self.seconds;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{prefix}{name}");
        let before = self.text.len();
        let _ = write!(self.text, ".{part}");
        if self.text.len() == before + 1 {
            self.text.truncate(before);
        }
        let _ = writeln!(self.text, "{tags} {} {seconds}", number::shown(value));
        self.points += 1;
    }
}
