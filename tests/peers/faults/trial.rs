//! A service under load that faults are begun and ended in, watched by a real Prometheus and a real Graphite.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::super::graphite::Graphite;
use super::super::process::{PATIENCE, eventually};
use super::super::product::Product;
use super::super::prometheus::Scraping;
use super::super::web;
use super::views::{Flaw, Reading, Seen, View, Window};

/// What a window has at least: some two seconds of requests.
const WINDOW: [(&str, f64); 1] = [("requests", 100.0)];

/// The peers of all tests that run now: the last one of those ends them.
static PEERS: Mutex<Weak<Peers>> = Mutex::new(Weak::new());

struct Peers {
    prometheus: Scraping,
    graphite: Graphite,
}

impl Peers {
    fn shared() -> Arc<Self> {
        let mut known = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let peers = Arc::new(Self { prometheus: Scraping::start(), graphite: Graphite::start() });
            *known = Arc::downgrade(&peers);
            peers
        })
    }
}

/// A service of its own name, with load, probe and an embedded collector that feeds Graphite.
pub(super) struct Trial {
    name: &'static str,
    // Before the peers that it pushes to.
    product: Product,
    peers: Arc<Peers>,
}

impl Trial {
    /// Starts a service; returns once all views show that it is under way.
    pub(super) fn start(name: &'static str, flags: &[&str]) -> Self {
        let peers = Peers::shared();
        let carbon = peers.graphite.lines();
        let product = Product::serve_in(
            &[("OTEL_SERVICE_NAME", name), ("OTEL_METRIC_EXPORT_INTERVAL", "1000")],
            &[&["--graphite", &carbon, "--database-work", "0.01"][..], flags].concat(),
        );
        let trial = Self { name, product, peers };
        let prometheus = &trial.peers.prometheus;
        prometheus.pulls(trial.product.address("service"), &trial.seen().job(View::Pulled));
        prometheus.pulls_what_was_pushed(trial.product.address("exposition"), &format!("{name}-collector"));
        for view in View::ALL {
            eventually(&format!("{view:?} to show {name}"), PATIENCE, || {
                trial.seen().reading_of(view, &["uptime", "requests"]).map(drop)
            });
        }
        trial
    }

    pub(super) fn seen(&self) -> Seen<'_> {
        let Peers { prometheus, graphite } = &*self.peers;
        Seen { prometheus: prometheus.api(), graphite, name: self.name }
    }

    /// Begins a fault by the console, and waits until these views show that it is on.
    pub(super) fn begin(&self, fault: &str, body: &str, views: &[View]) {
        let told = web::put(&self.product.url("console", &format!("/api/faults/{fault}")), body)
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        assert!(told.contains(&format!("\"name\": \"{fault}\"")), "{told}");
        self.shows(fault, 1.0, views);
    }

    /// Ends a fault by the console, and waits until all views show that it is off.
    pub(super) fn end(&self, fault: &str) {
        web::delete(&self.product.url("console", &format!("/api/faults/{fault}")))
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        self.shows(fault, 0.0, &View::ALL);
    }

    fn shows(&self, fault: &str, on: f64, views: &[View]) {
        const GAUGE: (&str, &str) = ("pushpull_fault_active", "pushpull.fault.active");
        for view in views {
            eventually(&format!("{view:?} to show {fault} as {on}"), PATIENCE, || {
                // Of a view that shows nothing, nothing is known.
                self.seen().reading_of(*view, &["uptime"])?;
                let shown = self.seen().newest(*view, GAUGE, &[("fault", fault)])?;
                if shown == on { Ok(()) } else { Err(shown.to_string()) }
            });
        }
    }

    /// Sets the load by the console.
    pub(super) fn load(&self, rps: u32) {
        web::put(&self.product.url("console", "/api/load"), &format!("{{\"rps\":{rps}}}"))
            .unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    /// What happens from now on until each view has seen enough of each of these figures.
    pub(super) fn windows(&self, views: &[View], least: &[(&str, f64)]) -> Vec<Window> {
        let figures: Vec<_> = least.iter().map(|(figure, _)| *figure).chain(["uptime"]).collect();
        let begun: Vec<_> = views.iter().map(|view| (*view, self.reading(*view))).collect();
        let ended = |(view, begun): (View, Reading)| {
            eventually(&format!("{view:?} to show {least:?} more"), 2 * PATIENCE, || {
                let shown = self.seen().reading_of(view, &figures)?;
                let enough = least.iter().all(|(figure, least)| shown[figure] >= begun[figure] + least);
                if enough { Ok(()) } else { Err(format!("{shown:?}")) }
            });
            Window::between(view, &begun, &self.reading(view))
        };
        begun.into_iter().map(ended).collect()
    }

    /// What a view shows now.
    pub(super) fn reading(&self, view: View) -> Reading {
        eventually(&format!("a reading of {view:?}"), PATIENCE, || self.seen().reading(view))
    }

    /// Holds that all that is recorded in the next window of each of these views is as it should be, and that it comes
    /// as quickly as it should in that window or, on a busy machine, in a later one.
    pub(super) fn holds(&self, views: &[View], check: impl Fn(&Window) -> Result<(), Flaw>) {
        self.holds_after(&WINDOW, views, check);
    }

    /// The same in windows that are as long as it takes for each of these figures to grow by so much.
    pub(super) fn holds_after(
        &self,
        least: &[(&str, f64)],
        views: &[View],
        check: impl Fn(&Window) -> Result<(), Flaw>,
    ) {
        eventually(&format!("{} to be in time", self.name), 4 * PATIENCE, || {
            self.windows(views, least).iter().try_for_each(|window| match check(window) {
                Ok(()) => Ok(()),
                Err(Flaw::Time(flaw)) => Err(flaw),
                Err(Flaw::Count(flaw)) => panic!("{}: {flaw}", self.name),
            })
        });
    }

    /// Holds that all is soon as it should be in a window of each view.
    pub(super) fn comes_back(&self, check: impl Fn(&Window) -> Result<(), Flaw>) {
        eventually(&format!("{} to be well again", self.name), 4 * PATIENCE, || {
            let windows = self.windows(&View::ALL, &WINDOW);
            windows.iter().try_for_each(&check).map_err(|flaw| flaw.to_string())
        });
    }

    /// Waits until each view has the series of these figures: Graphite finds a new one late.
    pub(super) fn moves(&self, figures: &[&str]) {
        for view in View::ALL {
            eventually(&format!("{figures:?} to move in {view:?}"), PATIENCE, || {
                let shown = self.seen().reading_of(view, &[&["uptime"], figures].concat())?;
                if figures.iter().all(|figure| shown[figure] > 0.0) {
                    Ok(())
                } else {
                    Err(format!("{shown:?}"))
                }
            });
        }
    }

    /// Waits until a gauge is within a range in each view.
    pub(super) fn reaches(&self, gauge: (&str, &str), expected: std::ops::RangeInclusive<f64>) {
        for view in View::ALL {
            eventually(&format!("{} to be within {expected:?} in {view:?}", gauge.1), PATIENCE, || {
                let shown = self.seen().newest(view, gauge, &[])?;
                if expected.contains(&shown) { Ok(()) } else { Err(shown.to_string()) }
            });
        }
    }

    /// Ends the load, and holds that all views come to the same totals, to the bit.
    pub(super) fn all_views_agree(&self) {
        const TOTALS: [&str; 6] =
            ["requests", "answers", "answers 5xx", "/ time", "/database time", "operations time"];
        self.load(0);
        eventually("all views to show the same totals", PATIENCE, || {
            let [pulled, pushed, graphite] = View::ALL.map(|view| self.seen().reading(view));
            let (pulled, pushed, graphite) = (pulled?, pushed?, graphite?);
            for total in TOTALS {
                if pulled[total] != pushed[total] || pulled[total] != graphite[total] {
                    return Err(format!("{total}: {pulled:?}, {pushed:?}, {graphite:?}"));
                }
            }
            Ok(())
        });
    }

    /// Ends the service as an operator would.
    pub(super) fn stop(mut self) {
        self.product.stop();
    }
}
