use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3600 * 1_000_000_000;
const EXPIRY: Duration = Duration::ZERO;

fn series<T>(start: u64, sent: u64, state: T) -> Series<T> {
    Series { start, sent, is_fresh: false, is_shown: true, state }
}

fn spooled(values: Values) -> Remembered {
    Remembered::new(100).spooled(values, EXPIRY, 0)
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(
        start in any::<u64>(),
        sent in any::<u64>(),
        number in proptest::num::f64::NORMAL,
        rest in proptest::num::f64::NORMAL,
        count in any::<u64>(),
        sum in proptest::option::of(proptest::num::f64::NORMAL),
        buckets in proptest::collection::vec(any::<u64>(), 1..40),
    ) {
        let identity = identity(Kind::Counter, "gorets", "", &[]);
        let read = |bytes: Vec<u8>| spooled([(identity, bytes.into())].into());
        let total = Total { rounded: number, rest };
        let remembered = read(encoded(&series(start, sent, total))).claim::<Total>((Kind::Counter, "gorets", ""), &[1.0], start.min(sent));
        prop_assert_eq!(remembered.map(|series| (series.start, series.state)), Some((start, total)));
        let sum = sum.map(|rounded| Total { rounded, rest });
        let state = Histogram { count, sum, buckets: buckets.into(), owed: 0.25 };
        let remembered = read(encoded(&series(start, sent, state.clone()))).claim::<Histogram>((Kind::Counter, "gorets", ""), &[], start.min(sent));
        prop_assert_eq!(format!("{:?}", remembered.map(|series| series.state)), format!("{:?}", Some(state)));
    }
}

#[test]
fn what_the_first_version_kept_is_read() {
    let first = |numbers: &[[u8; 8]]| -> Box<[u8]> {
        [FIRST_VERSION].into_iter().chain(numbers.iter().flatten().copied()).collect()
    };
    let [start, number] = [7_u64.to_le_bytes(), 2.5_f64.to_le_bytes()];
    let values = [
        (
            spool::identity(&[b"statsd", b"c", &[0; 8], &[], &1_u64.to_le_bytes(), b"a", b"k:v,l:w"]),
            first(&[start, number]),
        ),
        (identity(Kind::Gauge, "a", "", &[]), first(&[start, number])),
        (identity(Kind::Timer, "a", "", &[1.0]), first(&[start, start, number, start, start])),
    ];
    let mut remembered = spooled(values.into());
    let counter = remembered.claim::<Total>((Kind::Counter, "a", "k\nv\nl\nw\n"), &[], 0).unwrap();
    assert_eq!((counter.start, counter.state.value()), (7, 2.5));
    assert_eq!(remembered.claim::<Gauge>((Kind::Gauge, "a", ""), &[], 0).unwrap().state.value, 2.5);
    let timer = remembered.claim::<Histogram>((Kind::Timer, "a", ""), &[1.0], 0).unwrap().state;
    assert_eq!((timer.count, timer.sum.unwrap().value(), &*timer.buckets), (7, 2.5, &[7, 7][..]));
}

#[test]
fn a_series_is_told_by_kind_name_tags_and_the_bounds_of_a_histogram() {
    let identities = [
        identity(Kind::Counter, "a", "", &[]),
        identity(Kind::Gauge, "a", "", &[]),
        identity(Kind::Counter, "ab", "", &[]),
        identity(Kind::Counter, "a", "b\n\n", &[]),
        identity(Kind::Counter, "a", "b\nc,d:e\n", &[]),
        identity(Kind::Counter, "a", "b\nc\nd\ne\n", &[]),
        identity(Kind::Timer, "a", "", &[1.0]),
        identity(Kind::Timer, "a", "", &[2.0]),
        identity(Kind::Distribution, "a", "", &[1.0]),
        identity_of_name(Kind::Counter, "a"),
    ];
    assert_eq!(identities.iter().collect::<std::collections::HashSet<_>>().len(), identities.len());
    assert_eq!(identities[0], identity(Kind::Counter, "a", "", &[1.0]), "a counter has no bounds");
}

#[test]
fn a_name_is_remembered_as_each_type_with_the_name_that_it_has() {
    let mut remembered = Remembered::new(10);
    let named = Named { was_decremented: true, shown: Some("a.counter".into()) };
    remembered.remember_name(Kind::Counter, "a", &named, 5);
    remembered.remember_name(Kind::Timer, "a", &Named::default(), 5);
    let fallen = Named { was_decremented: true, shown: None };
    remembered.remember_name(Kind::Counter, "b", &fallen, 5);
    assert_eq!(remembered.types_of_name("a", 5), Kind::Timer.bit());
    assert_eq!(remembered.types_of_name("b", 5), Kind::Counter.bit() | Kind::Gauge.bit());
    assert_eq!(remembered.types_of_name("b", 6 + 48 * HOUR), 0);
    assert_eq!(remembered.claim_name(Kind::Gauge, "a", 5), Named::default());
    assert_eq!(remembered.claim_name(Kind::Counter, "a", 5), named);
    assert_eq!(remembered.claim_name(Kind::Counter, "a", 5), Named::default());
    assert_eq!(remembered.claim_name(Kind::Counter, "b", 6 + 48 * HOUR), Named::default(), "too late");
}

/// What the next flush writes.
fn written(remembered: &Remembered) -> Entries {
    let mut state = Entries::default();
    remembered.write(&mut state);
    state
}

fn total(remembered: &mut Remembered, name: &str, now: u64) -> Option<Series<Total>> {
    remembered.claim((Kind::Counter, name, ""), &[], now)
}

#[test]
fn of_too_many_expired_series_those_last_seen_longest_ago_are_forgotten_and_all_in_the_end() {
    let mut remembered = Remembered::new(3).spooled(Values::new(), EXPIRY, 0);
    for (name, sent) in [("a", 1), ("b", 4), ("c", 2), ("d", 3)] {
        remembered.remember((Kind::Counter, name, ""), &series(1, sent, Total::default()), &[], 10);
    }
    let mut expected = Entries::default();
    expected.put(identity(Kind::Counter, "a", "", &[]), &[]);
    for (name, sent) in [("b", 4), ("c", 2), ("d", 3)] {
        let value = encoded_as(EXPIRED, &series(1, sent, Total::default()));
        expected.put(identity(Kind::Counter, name, "", &[]), &value);
    }
    assert_eq!(written(&remembered), expected);
    assert!(total(&mut remembered, "c", 11).is_some(), "it goes on");
    remembered.end_interval();
    remembered.forget(10 + 48 * HOUR);
    assert!(written(&remembered).is_empty());
    assert!(total(&mut remembered, "b", 11 + 48 * HOUR).is_none(), "before anything else is looked at");
    remembered.forget(11 + 48 * HOUR);
    assert_eq!(written(&remembered).len(), Entries::bytes_of(0), "of d");
}

#[test]
fn what_was_alive_gives_no_place_to_what_had_expired() {
    let id = |name: &str| identity(Kind::Counter, name, "", &[]);
    let alive = (0..3).map(|number| {
        (id(&format!("alive{number}")), encoded(&series(1, 1 + number, Total::default())).into())
    });
    let expired = (0..10).map(|number| {
        let value = encoded_as(EXPIRED, &series(1, 100 + number, Total::default()));
        (id(&format!("expired{number}")), value.into())
    });
    let names = (0..6).map(|number| {
        (identity_of_name(Kind::Counter, &number.to_string()), encoded_name(&Named::default(), 200).into())
    });
    let values: Values = alive.chain(expired).chain(names).collect();
    let mut remembered = Remembered::new(3).spooled(values, EXPIRY, 300);
    assert!((0..3).all(|number| total(&mut remembered, &format!("alive{number}"), 300).is_some()));
    let found = (0..10).filter(|number| total(&mut remembered, &format!("expired{number}"), 300).is_some());
    assert_eq!(found.collect::<Vec<_>>(), [7, 8, 9], "those that were last seen");
}

#[test]
fn what_is_older_than_two_days_is_not_restored() {
    let value = |sent| -> Box<[u8]> { encoded(&series(1, sent, Total::default())).into() };
    let id = |name: &str| identity(Kind::Counter, name, "", &[]);
    let now = 100 * HOUR;
    let values = [(id("old"), value(now - 48 * HOUR - 1)), (id("new"), value(now - 48 * HOUR))];
    let mut remembered = Remembered::new(3).spooled(values.into(), EXPIRY, now);
    let mut expected = Entries::default();
    expected.put(id("old"), &[]);
    assert_eq!(written(&remembered), expected, "it leaves the spool");
    assert!(total(&mut remembered, "old", now).is_none() && total(&mut remembered, "new", now).is_some());
}

#[test]
fn what_may_have_been_alive_is_restored_however_long_it_was_idle() {
    let now = 1000 * HOUR;
    let expiry = Duration::from_secs(7 * 24 * 3600);
    let id = |name: &str| identity(Kind::Counter, name, "", &[]);
    let idle = |hours| -> Box<[u8]> { encoded(&series(1, now - hours * HOUR, Total::default())).into() };
    let values = [(id("alive"), idle(167)), (id("remembered"), idle(216)), (id("old"), idle(217))];
    let mut remembered = Remembered::new(3).spooled(values.into(), expiry, now);
    assert!(total(&mut remembered, "alive", now).is_some());
    assert!(total(&mut remembered, "remembered", now).is_some());
    assert!(total(&mut remembered, "old", now).is_none());
}

#[test]
fn a_name_is_restored_for_as_long_as_a_series_that_was_sent_after_it_was_written() {
    let written = 100 * HOUR;
    let sent = written + HOUR - 1;
    let values = || -> Values {
        let name = Named { was_decremented: true, shown: None };
        [
            (identity_of_name(Kind::Counter, "a"), encoded_name(&name, written).into()),
            (identity(Kind::Counter, "a", "", &[]), encoded(&series(1, sent, Total::default())).into()),
        ]
        .into()
    };
    let now = sent + 48 * HOUR;
    let mut remembered = Remembered::new(3).spooled(values(), EXPIRY, now);
    assert!(total(&mut remembered, "a", now).is_some());
    assert!(remembered.claim_name(Kind::Counter, "a", now).was_decremented);
}
