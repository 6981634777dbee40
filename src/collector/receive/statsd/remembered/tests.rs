use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3600 * 1_000_000_000;

fn series<T>(start: u64, sent: u64, state: T) -> Series<T> {
    Series { start, sent, is_fresh: false, is_shown: true, state }
}

fn spooled(values: Values) -> Remembered {
    Remembered::new(100).spooled(values, 0)
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
        let remembered = read(encoded(&series(start, sent, total))).claim::<Total>(Kind::Counter, "gorets", "", &[1.0]);
        prop_assert_eq!(remembered.map(|series| (series.start, series.state)), Some((start, total)));
        let sum = sum.map(|rounded| Total { rounded, rest });
        let state = Histogram { count, sum, buckets: buckets.into(), owed: 0.25 };
        let remembered = read(encoded(&series(start, sent, state.clone()))).claim::<Histogram>(Kind::Counter, "gorets", "", &[]);
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
    let counter = remembered.claim::<Total>(Kind::Counter, "a", "k\nv\nl\nw\n", &[]).unwrap();
    assert_eq!((counter.start, counter.state.value()), (7, 2.5));
    assert_eq!(remembered.claim::<Gauge>(Kind::Gauge, "a", "", &[]).unwrap().state.value, 2.5);
    let timer = remembered.claim::<Histogram>(Kind::Timer, "a", "", &[1.0]).unwrap().state;
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
fn what_is_known_of_a_name_is_known_later() {
    let mut remembered = Remembered::new(10);
    let named = Named { fell: true, shown: Some("a.counter".into()) };
    remembered.remember_name(Kind::Counter, "a", &named, 5);
    remembered.remember_name(Kind::Counter, "plain", &Named::default(), 5);
    assert_eq!(remembered.values.len(), 1);
    assert_eq!(remembered.claim_name(Kind::Gauge, "a"), Named::default());
    assert_eq!(remembered.claim_name(Kind::Counter, "a"), named);
    assert_eq!(remembered.claim_name(Kind::Counter, "a"), Named::default());
}

#[test]
fn the_oldest_goes_first_and_all_in_the_end() {
    let mut remembered = spooled(Values::new());
    remembered.limit = 3;
    for (name, sent) in [("a", 1), ("b", 4), ("c", 2), ("d", 3)] {
        remembered.remember((Kind::Counter, name, ""), &series(1, sent, Total::default()), &[], 10);
    }
    let mut state = Entries::default();
    remembered.forget(11, &mut state);
    let of = |names: &[&str]| {
        let mut entries = Entries::default();
        names.iter().for_each(|name| entries.put(identity(Kind::Counter, name, "", &[]), &[]));
        entries
    };
    assert_eq!(state, of(&["a"]));
    assert!(remembered.claim::<Total>(Kind::Counter, "c", "", &[]).is_some(), "it goes on");
    remembered.end_interval();
    let mut state = Entries::default();
    remembered.forget(10 + 48 * HOUR, &mut state);
    assert!(state.is_empty());
    remembered.forget(11 + 48 * HOUR, &mut state);
    assert_eq!(state, of(&["d", "b"]));
    assert!(remembered.claim::<Total>(Kind::Counter, "b", "", &[]).is_none());
}

#[test]
fn of_more_than_the_limit_those_that_were_sent_last_are_loaded() {
    let value = |sent| -> Box<[u8]> { encoded(&series(1, sent, Total::default())).into() };
    let values = (0..10_u64).map(|sent| (u128::from(sent), value(sent)));
    let mut remembered = Remembered::new(3).spooled(values.collect(), 100);
    let mut state = Entries::default();
    remembered.forget(100, &mut state);
    assert_eq!(state.len(), 7 * Entries::bytes_of(0));
    assert!((7..10).all(|identity| remembered.values.contains_key(&identity)));
}
