use proptest::prelude::*;

use super::{
    super::{
        Remembered,
        aggregate::Aggregate,
        number,
        tally::Tally,
        tests::{NEVER, settings},
    },
    *,
};

fn flushed(names: StatsdNames, datagrams: &[&str]) -> Vec<String> {
    let mut daemon = Daemon::new(names, StatsdTags::ALL, Duration::from_secs(10), 100, 1_700_000_000);
    datagrams.iter().for_each(|datagram| daemon.add(datagram.as_bytes()));
    lines(&daemon.flush(1_700_000_009_500))
}

fn lines(flush: &Lines) -> Vec<String> {
    let mut lines: Vec<_> = std::str::from_utf8(&flush.text).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len() as u64, flush.points);
    lines.sort();
    lines.retain(|line| !line.contains("statsd."));
    lines
}

#[test]
fn every_type_has_the_daemons_names() {
    let datagram =
        "gorets:3|c|@0.1\nglork:320|ms\nglork:80|ms\ngaugor:5|g\nuniques:765|s\nuniques:|s\nx:2|h|#a:b";
    assert_eq!(
        flushed(StatsdNames::Legacy, &[datagram]),
        [
            "stats.gauges.gaugor 5 1700000010",
            "stats.gorets 3 1700000010",
            "stats.sets.uniques.count 2 1700000010",
            "stats.timers.glork.count 2 1700000010",
            "stats.timers.glork.count_90 2 1700000010",
            "stats.timers.glork.count_ps 0.2 1700000010",
            "stats.timers.glork.lower 80 1700000010",
            "stats.timers.glork.mean 200 1700000010",
            "stats.timers.glork.mean_90 200 1700000010",
            "stats.timers.glork.median 200 1700000010",
            "stats.timers.glork.std 120 1700000010",
            "stats.timers.glork.sum 400 1700000010",
            "stats.timers.glork.sum_90 400 1700000010",
            "stats.timers.glork.sum_squares 108800 1700000010",
            "stats.timers.glork.sum_squares_90 108800 1700000010",
            "stats.timers.glork.upper 320 1700000010",
            "stats.timers.glork.upper_90 320 1700000010",
            "stats.x;a=b 0.2 1700000010",
            "stats_counts.gorets 30 1700000010",
            "stats_counts.x;a=b 2 1700000010",
        ]
    );
    let new = flushed(StatsdNames::New, &["gorets:3|c\ngaugor:5|g\nuniques:765|s"]);
    assert_eq!(
        new,
        [
            "stats.counters.gorets.count 3 1700000010",
            "stats.counters.gorets.rate 0.3 1700000010",
            "stats.gauges.gaugor 5 1700000010",
            "stats.sets.uniques.count 1 1700000010",
        ]
    );
}

#[test]
fn what_the_series_take_is_in_the_daemons_lines_too() {
    for (sent, expected) in [
        ("req:3|ms:6|ms", "stats.timers.req.count 2 1700000010"),
        ("req: 3:6 |ms|#a:b", "stats.timers.req.count;a=b 2 1700000010"),
        ("hits:1|c:2|c", "stats_counts.hits 3 1700000010"),
        ("hits:1:2|c|@0.5", "stats_counts.hits 6 1700000010"),
        ("hits:1|c|#a:b, #c:d,flag", "stats_counts.hits;a=b;c=d;flag=true 1 1700000010"),
        ("hits: 1 | c |#a:b|T1700000000", "stats_counts.hits;a=b 1 1700000010"),
        ("hits,k=v:1|m", "stats_counts.hitsk=v 1 1700000010"),
        ("hits;k=v:1|c", "stats_counts.hits;k=v 1 1700000010"),
        ("hits[url=http://x]:1|c", "stats_counts.hitsurl=http--x 1 1700000010"),
        ("fuel:7|g|T1700000000", "stats.gauges.fuel 7 1700000010"),
        ("fuel:7|g|c:box|e:it", "stats.gauges.fuel 7 1700000010"),
        ("fuel[url=http://x]:7|g:x|g", "stats.gauges.fuelurl=http--x 7 1700000010"),
    ] {
        let lines = flushed(StatsdNames::Legacy, &[sent]);
        assert!(lines.iter().any(|line| line == expected), "{sent}: {lines:#?}");
    }
}

#[test]
fn what_is_idle_is_zero_and_a_gauge_stays() {
    let mut daemon = Daemon::new(StatsdNames::Legacy, StatsdTags::ALL, Duration::from_secs(1), 100, 0);
    daemon.add(b"a:1|c\nb:2|ms\nc:3|g\nd:4|s");
    daemon.flush(1000);
    daemon.add(b"c:+4|g");
    assert_eq!(
        lines(&daemon.flush(2000)),
        [
            "stats.a 0 2",
            "stats.gauges.c 7 2",
            "stats.sets.d.count 0 2",
            "stats.timers.b.count 0 2",
            "stats.timers.b.count_ps 0 2",
            "stats_counts.a 0 2",
        ]
    );
}

#[test]
fn names_are_made_plain_as_the_daemon_does() {
    for (name, expected) in
        [("a b/c", "a_b-c"), ("a \t\u{a0}b", "a_b"), ("käse!", "kse"), ("a;b=c", "a;b=c"), ("a..b", "a..b")]
    {
        assert_eq!(key(name, std::iter::empty::<&str>()), expected, "{name:?}");
    }
    assert_eq!(key("a", "x:1,y:2:3,z;w:4".split(',')), "a;x=1;y=23;z_w=4");
}

#[test]
fn what_the_daemon_calls_bad_is_counted_as_such() {
    for bad in ["a", "a:", "a:x|c", "a:1", "a:1|c|0.1", "a:1|c|@", "a:1|c|@-1", "a:1|c|@x", "a:-1|ms", "a:|g"]
    {
        let mut daemon = Daemon::new(StatsdNames::Legacy, StatsdTags::ALL, Duration::from_secs(10), 100, 0);
        daemon.add(bad.as_bytes());
        assert_eq!(daemon.counters[BAD_LINES].value, 1.0, "{bad}");
        assert_eq!(daemon.counters.len(), 3, "{bad}");
    }
    assert_eq!(Event::of("0x1F|c"), Some(Event::Counter(31.0)));
    assert_eq!(Event::of(" |c"), Some(Event::Counter(0.0)));
    assert_eq!(Event::of("-3|ms "), Some(Event::Timer { value: -3.0, weight: 1.0 }));
    assert_eq!(Event::of("1|ms|@0.5"), Some(Event::Timer { value: 1.0, weight: 2.0 }));
}

#[test]
fn what_carbon_would_not_take_is_refused_and_counted() {
    let mut daemon = Daemon::new(StatsdNames::Legacy, StatsdTags::ALL, Duration::from_secs(10), 2, 0);
    for bad in ["a;b:1|c", "a;=1:1|c", "a;b=:1|c", "a;name=x:1|c", ":1|c", "a:1|c|#k:"] {
        daemon.add(bad.as_bytes());
    }
    daemon.add(format!("{}:1|c", "x".repeat(event::MAX_KEY + 1)).as_bytes());
    assert_eq!(daemon.refusals().collect::<Vec<_>>(), [(Refusal::BadName, 7)]);
    daemon.add(b"a:1|c\nb:1|c\nc:1|c\na:1|c");
    assert_eq!(daemon.refusals().collect::<Vec<_>>(), [(Refusal::Limit, 1)]);
    assert_eq!(daemon.refusals().count(), 0);
    assert_eq!(daemon.counters["a"].value, 2.0);
}

#[test]
fn numbers_read_as_in_ecmascript() {
    for (value, expected) in [
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (-0.0, "0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e20, "100000000000000000000"),
    ] {
        assert_eq!(number::shown(value).to_string(), expected);
    }
}

#[test]
fn the_name_that_was_not_sent_for_longest_makes_room() {
    let mut daemon = Daemon::new(StatsdNames::Legacy, StatsdTags::ALL, Duration::from_secs(1), 4, 0);
    daemon.add(b"a:1|c\nb:1|ms\nc:1|g\nd:1|s");
    // All are of this interval.
    daemon.add(b"e:1|c");
    assert_eq!(daemon.refusals().collect::<Vec<_>>(), [(Refusal::Limit, 1)]);
    daemon.flush(1000);
    for (datagram, expected) in [
        ("a:1|c\ne:1|c", ["a", "c", "d", "e"]),
        ("f:1|c\nd:1|s", ["a", "d", "e", "f"]),
        ("g:1|c\nh:1|c", ["d", "f", "g", "h"]),
    ] {
        daemon.add(datagram.as_bytes());
        let lines = lines(&daemon.flush(1000));
        let name = |line: &String| line.split(['.', ' ']).find(|part| part.len() == 1).map(str::to_owned);
        let names: std::collections::BTreeSet<_> = lines.iter().filter_map(name).collect();
        assert_eq!(names, expected.map(str::to_owned).into(), "{datagram}");
    }
    assert_eq!(daemon.refusals().count(), 0);
}

/// How many values of a line the series take, and how many the daemon's names, those with a name that carbon would not
/// take included.
fn taken(line: &[u8]) -> [u64; 2] {
    let mut tally = Tally::default();
    Aggregate::new(&settings(NEVER), 100, Remembered::new(100)).add(
        line,
        1_700_000_000_000_000_000,
        &mut tally,
    );
    let mut daemon = Daemon::new(StatsdNames::Legacy, StatsdTags::ALL, Duration::from_secs(10), 100, 0);
    daemon.add(line);
    let refused: u64 = daemon.refusals().map(|(_, values)| values).sum();
    [tally.accepted(), daemon.idle.names() as u64 + refused]
}

#[test]
fn a_good_value_beside_a_bad_one_is_taken_by_both() {
    for line in ["a:1|c|T5:x|c", "a:1|c:x|c|T5", "a:1:x:2|c", "a:1|c|#flag:x", "a: 1 |c|c:box"] {
        let [series, daemon] = taken(line.as_bytes());
        assert!(series > 0 && daemon > 0, "{line}: {series} {daemon}");
    }
    assert_eq!(
        flushed(StatsdNames::Legacy, &["a:1:x:2|c"]),
        ["stats.a 0.3 1700000010", "stats_counts.a 3 1700000010"]
    );
}

#[test]
fn what_the_daemon_alone_takes_stays_so() {
    for line in ["a:4|q", "a:|s", "a: |c", "a:1|c|@2", "a:-3|ms ", "a:1|c|#:v"] {
        assert_eq!(taken(line.as_bytes()), [0, 1], "{line}");
    }
}

/// A good line with some of its parts replaced, left out or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        "req:3|ms:6|ms",
        "hits:1|c:2|c|@0.5",
        "size:1:2:3|d|#a:b, #c",
        "by,k=v:1|c|T1700000000",
        "by[k=http://v]:1|g|c:box",
        "users:a:b|s:c|s",
        "depth:-2|g|T1699999990:+3|g",
    ]);
    let part = prop::sample::select(vec![
        "", ":", "|", "#", "@", "T", " ", ",", "1", "x", "-1", "c", "ms", "q", "|#", "|@0.1", "|T5", "\r",
        "é",
    ]);
    (good, prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3, part), 0..5)).prop_map(
        |(good, changes)| {
            let mut line: Vec<char> = good.chars().collect();
            for (at, removed, part) in changes {
                let at = at.index(line.len() + 1);
                let end = (at + removed).min(line.len());
                line.splice(at..end, part.chars());
            }
            line.into_iter().collect::<String>().into_bytes()
        },
    )
}

proptest! {
    #[test]
    fn a_line_that_adds_to_a_series_adds_to_the_daemons_lines(line in mutated()) {
        let [series, daemon] = taken(&line);
        prop_assert!(series == 0 || daemon > 0, "{:?}: {series} {daemon}", String::from_utf8_lossy(&line));
    }
}
