//! What the clients have seen so far, in numbers that a person reads.
//!
//! Durations are counted in buckets, each a little wider than the one before it, so that a quantile is exact to
//! [`GROWTH`] however many there are. It must not grow with what it counts.

use std::time::Duration;

/// The upper bound of the first bucket, in seconds.
const FIRST: f64 = 1e-4;
/// By how much each bound is above the one before it.
const GROWTH: f64 = 1.02;
/// Enough for a duration of more than 30 s, which no request takes.
const BUCKETS: usize = 640;

/// Counts since the clients began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Requests of the load that were sent.
    pub sent: u64,
    /// Those that had no answer, or one that is none of success.
    pub failed: u64,
    /// Those that could not be sent, since too many were on their way.
    pub missed: u64,
    /// How long those took that ended.
    pub durations: Durations,
    /// Checks of the probe that a page did not pass, by the page.
    pub failures: Vec<(&'static str, u64)>,
}

impl Tally {
    /// What came after an earlier tally of the same clients.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let failures = self.failures.iter().zip(&earlier.failures);
        Self {
            sent: self.sent - earlier.sent,
            failed: self.failed - earlier.failed,
            missed: self.missed - earlier.missed,
            durations: self.durations.since(&earlier.durations),
            failures: failures.map(|((page, now), (_, before))| (*page, now - before)).collect(),
        }
    }
}

/// Durations by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations(Box<[u64]>);

impl Default for Durations {
    fn default() -> Self {
        Self(vec![0; BUCKETS].into())
    }
}

impl Durations {
    pub(super) fn add(&mut self, seconds: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float stays within the integer's range"
        )]
        let bucket = ((seconds / FIRST).ln() / GROWTH.ln()).ceil() as usize;
        self.0[bucket.min(BUCKETS - 1)] += 1;
    }

    /// The duration that this share of all, 0 to 1, does not exceed; `None` where there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.0.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let rank = share * all as f64;
        let mut below = 0;
        let bucket = self.0.iter().position(|count| {
            below += count;
            #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
            let reached = below > 0 && below as f64 >= rank;
            reached
        })?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most BUCKETS")]
        let bound = FIRST * GROWTH.powi(bucket as i32);
        Some(Duration::from_secs_f64(bound))
    }

    fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().zip(&earlier.0).map(|(now, before)| now - before).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(seconds: &[f64]) -> Durations {
        let mut durations = Durations::default();
        seconds.iter().for_each(|seconds| durations.add(*seconds));
        durations
    }

    #[test]
    fn quantiles_are_exact_to_a_bucket() {
        assert_eq!(Durations::default().quantile(0.5), None);
        for seconds in [0.0002, 0.003, 0.25, 1.0, 29.9] {
            let quantile = durations(&[seconds]).quantile(0.5).unwrap().as_secs_f64();
            assert!((seconds..=seconds * GROWTH).contains(&quantile), "{seconds}: {quantile}");
        }
        let mixed = durations(&[&[0.001; 98][..], &[1.0; 2]].concat());
        assert!(mixed.quantile(0.5).unwrap() < Duration::from_millis(2));
        assert!(mixed.quantile(0.99).unwrap() >= Duration::from_secs(1));
    }

    #[test]
    fn no_duration_is_too_short_or_too_long() {
        let all = durations(&[-1.0, 0.0, f64::MIN_POSITIVE, 1e300, f64::INFINITY]);
        assert_eq!(all.0.iter().sum::<u64>(), 5);
    }

    #[test]
    fn a_difference_is_what_came_between() {
        let earlier = durations(&[0.5]);
        let mut later = earlier.clone();
        later.add(0.002);
        assert!(later.since(&earlier).quantile(1.0).unwrap() < Duration::from_millis(3));
    }
}
