//! What a request looks at to know whether it is to go wrong: a load or two of its own, and no lock.
//!
//! It must not know how long a fault lasts, nor who asked for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use crate::service::TEXT;

/// The faults that are brought about by the routes themselves.
#[derive(Debug, Default)]
pub struct Switches {
    /// The bits of the share of requests that fail; those of 0.0 are 0.
    errors: AtomicU64,
    truncate: AtomicBool,
    scrape_refuse: AtomicBool,
}

/// The requests of one route while some of them fail.
///
/// Each route has its own, so that the share holds for each, whatever the order in which they come.
#[derive(Debug, Default)]
pub(in crate::service) struct Turns(AtomicU64);

impl Switches {
    pub(super) fn fail(&self, share: f64) {
        self.errors.store(share.to_bits(), Relaxed);
    }

    pub(super) fn truncate(&self, on: bool) {
        self.truncate.store(on, Relaxed);
    }

    pub(super) fn refuse_scrapes(&self, on: bool) {
        self.scrape_refuse.store(on, Relaxed);
    }

    pub(in crate::service) fn refuses_scrapes(&self) -> bool {
        self.scrape_refuse.load(Relaxed)
    }

    /// The text that a route answers with, at the end of its work, so that a fault here changes the answer and
    /// nothing else that is measured: 500 for the share that is to fail, the text without its second half while
    /// texts lack their end.
    pub(in crate::service) fn answer(&self, turns: &Turns, text: &'static str) -> Response {
        if self.fails(turns) {
            tracing::debug!(name: "fault.error", "request failed by the fault errors");
            let text = "This request fails by a fault that is on\n";
            return (StatusCode::INTERNAL_SERVER_ERROR, TEXT, text).into_response();
        }
        let shown = if self.truncate.load(Relaxed) { &text[..text.len() / 2] } else { text };
        (TEXT, shown).into_response()
    }

    /// Spread evenly: of a share of 0.25, it is every fourth.
    fn fails(&self, turns: &Turns) -> bool {
        let share = f64::from_bits(self.errors.load(Relaxed));
        if share == 0.0 {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "an hour's requests are far below 2^53")]
        let before = turns.0.fetch_add(1, Relaxed) as f64;
        ((before + 1.0) * share).floor() > (before * share).floor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_spread_evenly() {
        let switches = Switches::default();
        for (share, expected) in [(0.0, "........"), (0.25, "...x...x"), (0.5, ".x.x.x.x"), (1.0, "xxxxxxxx")]
        {
            switches.fail(share);
            let turns = Turns::default();
            let failed: String = (0..8).map(|_| if switches.fails(&turns) { 'x' } else { '.' }).collect();
            assert_eq!(failed, expected, "{share}");
        }
        for share in [0.1, 0.3, 0.7, 0.001] {
            switches.fail(share);
            let turns = Turns::default();
            let failed = (0..10_000).filter(|_| switches.fails(&turns)).count();
            assert_eq!(failed, (10_000.0 * share) as usize, "{share}");
        }
    }
}
