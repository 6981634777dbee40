//! What each fault moves and what it leaves alone, as a real Prometheus (by pull and by push) and a real Graphite show it
//! of a service under load, before the fault, while it is on, and after it.

mod signals;
mod trial;
mod views;

use self::trial::Trial;
use self::views::{Flaw, View, Window};

/// Requests a second: one in ten is of the database.
const LOAD: [&str; 2] = ["--load", "60"];
/// With a probe, whose checks of both pages count as requests: 4 a second more.
const PROBED: [&str; 4] = ["--load", "60", "--probe", "500ms"];
/// A database that takes its time, so that one can see by how much that changes.
const DATABASE: [&str; 2] = ["--fault", "database-slow=200@3600"];

const PENDING: (&str, &str) =
    ("db_client_connection_pending_requests", "db.client.connection.pending_requests");

/// Traffic goes on as it is asked for, and is answered, whatever becomes of it.
fn traffic(window: &Window) -> Result<(), Flaw> {
    window.none(&["unanswered"])?;
    window.traffic(40.0..=90.0)
}

/// The page that needs no database is quick.
fn home(window: &Window) -> Result<(), Flaw> {
    window.none(&["/ answers 5xx"])?;
    window.mean("/ time", "/ answers", 0.0..=0.3)
}

/// The database answers in the time that it takes, and nobody waits for it.
fn database(window: &Window) -> Result<(), Flaw> {
    window.none(&["/database answers 5xx", "failures refused", "failures shed"])?;
    window.mean("/database time", "/database answers", 0.19..=1.0)?;
    window.mean("operations time", "operations", 0.19..=1.0)?;
    window.mean("waits time", "waits", 0.0..=0.3)
}

/// No page is without its end.
fn whole(window: &Window) -> Result<(), Flaw> {
    window.none(&["checks text"])
}

fn well(window: &Window) -> Result<(), Flaw> {
    traffic(window)?;
    home(window)?;
    database(window)?;
    whole(window)
}

#[test]
fn database_refuse_fails_quickly_what_needs_the_database() {
    let trial = Trial::start("refuse", &[&LOAD[..], &DATABASE].concat());
    trial.holds(&View::ALL, well);
    trial.begin("database-refuse", "{\"seconds\":600}", &View::ALL);
    trial.moves(&["answers 503", "failures refused", "operations refused"]);
    trial.holds(&View::ALL, |window| {
        traffic(window)?;
        home(window)?;
        // Those on their way when it began were cut off, and are in the first view's window at the most.
        window.share("answers 503", "/database answers", 0.8..=1.0)?;
        window.share("failures refused", "/database answers", 0.7..=1.3)?;
        window.share("operations refused", "/database answers", 0.7..=1.3)?;
        window.mean("/database time", "/database answers", 0.0..=0.15)?;
        whole(window)
    });
    trial.end("database-refuse");
    trial.comes_back(well);
    trial.stop();
}

#[test]
fn database_slow_makes_a_queue_and_sheds_what_it_cannot_hold() {
    let small = ["--database-pool", "2", "--database-queue", "4"];
    let trial = Trial::start("slow", &[&LOAD[..], &small].concat());
    let quick = |window: &Window| {
        traffic(window)?;
        home(window)?;
        window.none(&["answers 5xx"])?;
        window.mean("/database time", "/database answers", 0.0..=0.5)?;
        window.mean("waits time", "waits", 0.0..=0.3)
    };
    trial.holds(&View::ALL, quick);
    trial.begin("database-slow", "{\"value\":1000,\"seconds\":600}", &View::ALL);
    trial.moves(&["answers 503", "failures shed"]);
    trial.reaches(PENDING, 2.0..=4.0);
    trial.holds(&View::ALL, |window| {
        traffic(window)?;
        home(window)?;
        window.mean("operations time", "operations", 0.9..=3.0)?;
        window.mean("waits time", "waits", 0.5..=4.0)?;
        // Of six a second, two are done; what is shed is shed at once.
        window.share_in_time("answers 503", "/database answers", 0.3..=0.95)?;
        window.share_in_time("failures shed", "/database answers", 0.3..=0.95)?;
        window.mean("/database time", "/database answers", 0.2..=4.0)
    });
    trial.end("database-slow");
    trial.reaches(PENDING, 0.0..=0.0);
    trial.comes_back(quick);
    trial.stop();
}

#[test]
fn pool_makes_requests_wait_for_a_database_that_is_as_quick_as_before() {
    let short = ["--database-queue", "4", "--fault", "database-slow=400@3600"];
    let trial = Trial::start("pool", &[&LOAD[..], &short].concat());
    let as_quick = |window: &Window| window.mean("operations time", "operations", 0.38..=1.0);
    let free = |window: &Window| {
        traffic(window)?;
        home(window)?;
        window.none(&["answers 5xx"])?;
        as_quick(window)?;
        window.mean("waits time", "waits", 0.0..=0.3)
    };
    trial.holds(&View::ALL, free);
    trial.begin("pool", "{\"value\":1,\"seconds\":600}", &View::ALL);
    // From then on whoever waits does so behind a whole queue.
    trial.moves(&["failures shed"]);
    trial.reaches(PENDING, 2.0..=4.0);
    trial.holds(&View::ALL, |window| {
        traffic(window)?;
        home(window)?;
        as_quick(window)?;
        window.mean("waits time", "waits", 0.5..=3.0)
    });
    trial.end("pool");
    trial.reaches(PENDING, 0.0..=0.0);
    trial.comes_back(free);
    trial.stop();
}

#[test]
fn errors_are_answers_of_500_and_nothing_else() {
    let trial = Trial::start("errors", &[&PROBED[..], &DATABASE].concat());
    trial.holds(&View::ALL, well);
    trial.begin("errors", "{\"value\":0.5,\"seconds\":600}", &View::ALL);
    trial.moves(&["/ answers 5xx", "/database answers 5xx"]);
    trial.holds(&View::ALL, |window| {
        traffic(window)?;
        window.share("/ answers 5xx", "/ answers", 0.35..=0.65)?;
        window.share("/database answers 5xx", "/database answers", 0.2..=0.8)?;
        window.share("answers 500", "answers 5xx", 1.0..=1.0)?;
        window.none(&["failures refused", "failures shed"])?;
        window.mean("/ time", "/ answers", 0.0..=0.3)?;
        window.mean("/database time", "/database answers", 0.19..=1.0)?;
        window.mean("operations time", "operations", 0.19..=1.0)?;
        window.mean("waits time", "waits", 0.0..=0.3)?;
        whole(window)
    });
    trial.end("errors");
    trial.comes_back(well);
    trial.stop();
}

#[test]
fn truncate_is_seen_by_the_probe_alone() {
    let trial = Trial::start("truncate", &[&PROBED[..], &DATABASE].concat());
    trial.holds(&View::ALL, well);
    trial.begin("truncate", "{\"seconds\":600}", &View::ALL);
    let both = [("/ checks text", 6.0), ("/database checks text", 6.0), ("/metrics checks", 6.0)];
    trial.holds_after(&both, &View::ALL, |window| {
        traffic(window)?;
        home(window)?;
        database(window)?;
        // Each check of a page that has a text, however long one takes, and none of the other's.
        window.all("/ checks text", "/ checks")?;
        window.all("/database checks text", "/database checks")?;
        window.none(&["/metrics checks text"])
    });
    let success = |view, page| {
        trial.seen().newest(view, ("probe_success", "probe.success"), &[("page", page)]).expect("an answer")
    };
    for view in View::ALL {
        let shown = ["/", "/database/", "/metrics/"].map(|page| success(view, page));
        assert_eq!(shown, [0.0, 0.0, 1.0], "in {view:?}");
    }
    trial.end("truncate");
    trial.comes_back(well);
    for view in View::ALL {
        assert_eq!(["/", "/database/"].map(|page| success(view, page)), [1.0; 2], "in {view:?}");
    }
    trial.stop();
}

#[test]
fn collector_away_stops_what_is_pushed_until_it_is_right_again() {
    const PUSHED: [View; 2] = [View::Pushed, View::Graphite];
    let trial = Trial::start("away", &[&LOAD[..], &DATABASE].concat());
    trial.holds(&View::ALL, well);
    trial.begin("collector-away", "{\"seconds\":600}", &[View::Pulled]);
    // An export that was under way may still arrive.
    trial.holds(&[View::Pulled], well);
    let stopped = PUSHED.map(|view| trial.reading(view)["requests"]);
    trial.holds(&[View::Pulled], well);
    assert_eq!(PUSHED.map(|view| trial.reading(view)["requests"]), stopped);
    assert!(trial.reading(View::Pulled)["requests"] >= stopped[0] + 100.0);
    trial.end("collector-away");
    trial.comes_back(well);
    trial.all_views_agree();
    trial.stop();
}

#[test]
fn scrape_refuse_stops_what_is_pulled_and_pushing_goes_on() {
    const PUSHED: [View; 2] = [View::Pushed, View::Graphite];
    let trial = Trial::start("scrape", &[&LOAD[..], &DATABASE].concat());
    let up = || trial.seen().newest(View::Pulled, ("up", ""), &[]).expect("an answer");
    trial.holds(&View::ALL, well);
    assert_eq!(up(), 1.0);
    trial.begin("scrape-refuse", "{\"seconds\":600}", &PUSHED);
    trial.holds(&PUSHED, well);
    assert_eq!(up(), 0.0);
    let nothing = trial.seen().reading(View::Pulled).expect_err("nothing is pulled");
    assert_eq!(nothing, "Pulled shows no process");
    trial.end("scrape-refuse");
    trial.comes_back(well);
    assert_eq!(up(), 1.0);
    trial.all_views_agree();
    trial.stop();
}
