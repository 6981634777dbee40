//! What is said of refusals: why, and in the log once for each sender and reason.
//!
//! It must not grow with what senders choose.

use std::collections::{HashMap, HashSet};

use super::{batch::Signal, wire::Point};

/// Senders that are remembered for each reason; of further ones only the counts tell.
const MOST_SENDERS: usize = 1_000;
/// Characters of such a text that are remembered, and shown.
const NAME_LENGTH: usize = 80;
const NANOSECONDS_A_YEAR: u64 = 31_557_600_000_000_000;

/// The refusals that were named in the log.
#[derive(Debug, Default)]
pub(super) struct Named(HashMap<(Signal, &'static str), HashSet<String>>);

impl Named {
    /// Whether a refusal of this sender for this reason is to be named: it was not before.
    pub(super) fn is_first(&mut self, signal: Signal, reason: &'static str, sender: &str) -> bool {
        let sender = shortened(sender);
        let senders = self.0.entry((signal, reason)).or_default();
        senders.len() < MOST_SENDERS && !senders.contains(sender) && senders.insert(sender.to_owned())
    }
}

/// The beginning of a text that a sender chose, for an answer or a log line.
pub(super) fn shortened(text: &str) -> &str {
    text.char_indices().nth(NAME_LENGTH).map_or(text, |(end, _)| &text[..end])
}

/// What a sender can do about points that were refused for good.
pub(super) fn explain(reason: &str) -> &str {
    match reason {
        "max_series" => "the limit of --max-series is reached; raise it, or send fewer attribute values",
        "spool_state" => {
            "what the spool keeps of series, to go on from after a restart, has no room for further ones; raise \
             --spool-limit where its volume is larger, or send fewer attribute values"
        }
        "no_name" => "a metric needs a name",
        "no_data" => "a metric needs a gauge, sum, histogram or summary",
        "no_temporality" => "a sum or histogram needs aggregation_temporality CUMULATIVE or DELTA",
        "malformed_point" => {
            "a number needs a value; a histogram rising bounds and one bucket count more than bounds; an \
             exponential histogram a scale from -10 to 20; a summary quantiles from 0 to 1"
        }
        "not_finite" => "a delta that is NaN or infinite: added to a total, it would spoil it for good",
        "negative_delta" => "a delta below 0 of a sum that is monotonic; send it as one that is not",
        "overflow" => {
            "a delta above 2^53, by value, sum or count, which would leave no room for those after it, or one with \
             which the total would overflow"
        }
        "count_mismatch" => {
            "a delta of a histogram whose count is not that of its buckets, or that has a sum of no values"
        }
        "no_sum" => "a delta of a histogram without a sum, where those before had one",
        "too_long" => {
            "the name, or the attributes of the series or its resource, are longer than what one series may have; of a \
             histogram they stand in the line of each bucket"
        }
        "timestamp" => "a time that Graphite cannot write: 0, negative, or beyond the year 2106",
        "timestamp_ahead" => "a time more than 10 minutes ahead of the collector's clock",
        "timestamp_old" => {
            "a time older than --max-age; times are nanoseconds since 1970, and in another unit or by a clock since \
             the start they lie in 1970"
        }
        "type_conflict" => "the name has another type already; give one of the two another name",
        "too_many_buckets" => "a histogram or summary may have 1024 buckets or quantiles",
        other => other,
    }
}

/// What of a point the log shows beside its reason; `now` is in nanoseconds since 1970.
pub(super) fn shown(reason: &str, point: &Point<'_>, now: u64) -> String {
    match reason {
        "timestamp" | "timestamp_ahead" | "timestamp_old" => {
            let unit = unit(point.time, now).map(|unit| format!(", which would be now in {unit}"));
            format!(", with the time {}{}", point.time, unit.unwrap_or_default())
        }
        "not_finite" | "negative_delta" | "overflow" | "count_mismatch" => {
            format!(", with {}", point.content.brief())
        }
        _ => String::new(),
    }
}

/// The unit in which a time is within ten years of now.
fn unit(time: u64, now: u64) -> Option<&'static str> {
    let units = [(1_000, "microseconds"), (1_000_000, "milliseconds"), (1_000_000_000, "seconds")];
    let near = |factor: u64| {
        time.checked_mul(factor).is_some_and(|time| time.abs_diff(now) < 10 * NANOSECONDS_A_YEAR)
    };
    units.into_iter().find(|(factor, _)| near(*factor)).map(|(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sender_is_named_once_for_a_reason_within_bounds() {
        let mut named = Named::default();
        assert!(named.is_first(Signal::Metrics, "overflow", "shop"));
        assert!(!named.is_first(Signal::Metrics, "overflow", "shop"));
        assert!(
            named.is_first(Signal::Metrics, "no_sum", "shop")
                && named.is_first(Signal::Logs, "overflow", "shop")
        );
        let first =
            (0..2 * MOST_SENDERS).filter(|i| named.is_first(Signal::Traces, "rejected", &i.to_string()));
        assert_eq!(first.count(), MOST_SENDERS);
    }

    #[test]
    fn a_time_in_another_unit_is_known_by_what_it_would_be() {
        let now = 1_795_000_000_000_000_000;
        for (time, expected) in [
            (1_794_000_000, Some("seconds")),
            (1_794_000_000_000, Some("milliseconds")),
            (1_794_000_000_000_000, Some("microseconds")),
            (123_456_789_000, None),
            (now, None),
            (u64::MAX, None),
        ] {
            assert_eq!(unit(time, now), expected, "{time}");
        }
    }
}
