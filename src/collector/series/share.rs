//! The shares that `StatsD` and OTLP have of the series table: neither can take the last quarter of its room from the
//! other.

use crate::collector::wire::Receiver;

/// How many series one of the two can have at most, where there is the other.
const fn most(max_series: usize) -> usize {
    // At least one is left for the other where there are two.
    let quarter = max_series / 4;
    max_series - if quarter == 0 && max_series > 1 { 1 } else { quarter }
}

/// What each of the two has of something that is bounded.
#[derive(Debug)]
pub(super) struct Shares {
    limit: usize,
    /// The most for one of the two.
    most: usize,
    held: [usize; 2],
}

impl Shares {
    /// Of `limit` in all; a share for `StatsD` only where it is `shared`.
    pub(super) const fn new(limit: usize, shared: bool) -> Self {
        let most = if shared { most(limit) } else { limit };
        Self { limit, most, held: [0; 2] }
    }

    /// Whether there is room for one more, once `leaving` of the same receiver have left.
    pub(super) fn has_room(&self, receiver: Receiver, leaving: usize) -> bool {
        let own = self.held[receiver as usize].saturating_sub(leaving);
        own < self.most && own + self.held[1 - receiver as usize] < self.limit
    }

    /// How many the receiver can have beside those of the other.
    pub(super) fn room(&self, receiver: Receiver) -> usize {
        self.most.min(self.limit.saturating_sub(self.held[1 - receiver as usize]))
    }

    pub(super) fn add(&mut self, receiver: Receiver) {
        self.held[receiver as usize] += 1;
    }

    pub(super) fn remove(&mut self, receiver: Receiver) {
        let held = &mut self.held[receiver as usize];
        *held = held.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_takes_the_last_quarter_from_the_other() {
        for (limit, shared, expected) in
            [(100, true, 75), (3, true, 2), (4, true, 3), (1, true, 1), (100, false, 100)]
        {
            let mut shares = Shares::new(limit, shared);
            let mut fill = |receiver| {
                let mut added = 0;
                while shares.has_room(receiver, 0) {
                    shares.add(receiver);
                    added += 1;
                }
                added
            };
            assert_eq!(fill(Receiver::Statsd), expected, "{limit}");
            assert_eq!(fill(Receiver::Otlp), limit - expected, "{limit}");
            shares.remove(Receiver::Statsd);
            assert!(shares.has_room(Receiver::Statsd, 0));
        }
        let mut full = Shares::new(4, true);
        (0..3).for_each(|_| full.add(Receiver::Statsd));
        assert!(!full.has_room(Receiver::Statsd, 0) && full.has_room(Receiver::Statsd, 1));
    }
}
