//! What a folder gives back, whole, torn, damaged or full.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::collector::export::graphite::Piece;

const SMALL: usize = 1024 * 1024;

fn open(folder: &Path, limit: usize, replay: Duration) -> (Arc<Spool>, Reader, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    let settings = SpoolSettings { folder: folder.to_owned(), limit, age: None };
    let (spool, reader) = Spool::open(&settings, replay, Arc::clone(&stats)).unwrap();
    (spool, reader, stats)
}

/// A record of one line that tells its number, of about that many bytes.
fn line(number: usize, bytes: usize) -> String {
    format!("path{} {number} 1700000000\n", "x".repeat(bytes))
}

fn lines(text: &str) -> Lines {
    Lines { text: text.to_owned().into(), points: 1 }
}

const fn of_lines(lines: usize) -> Need {
    Need { lines, state: 0, new_state: 0 }
}

fn put(spool: &Arc<Spool>, line: &str) -> bool {
    let Some(room) = spool.reserve(of_lines(line.len())) else { return false };
    room.commit(lines(line), &Entries::default());
    true
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Reads everything there is, as a connection that fails nowhere would write it.
fn drain(spool: &Spool, reader: &Reader) -> Vec<String> {
    let mut lines = Vec::new();
    reader.begin();
    while spool.log.lock().unread().is_some() {
        let piece: Piece = block_on(reader.next());
        let text = std::str::from_utf8(&piece.text).unwrap();
        lines.extend(text.split_inclusive('\n').map(str::to_owned));
        reader.written(&piece);
    }
    lines
}

fn damaged(stats: &Stats) -> BTreeMap<&'static str, u64> {
    let counts = stats.snapshot().into_iter();
    counts
        .filter(|(count, _)| count.event == Event::Damaged)
        .map(|(count, items)| (count.reason, items))
        .collect()
}

/// The segments of a folder, in their order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "spool1")).collect();
    segments.sort();
    segments
}

/// Where each record of some segments begins and ends: its segment and its bytes there.
fn places(folder: &Path, lines: &[String]) -> Vec<(usize, std::ops::Range<usize>)> {
    let lengths: Vec<usize> =
        segments(folder).iter().map(|path| fs::metadata(path).unwrap().len() as usize).collect();
    let (mut segment, mut at) = (0, 0);
    let place = |line: &String| {
        if at == lengths[segment] {
            (segment, at) = (segment + 1, 0);
        }
        let size = record::HEADER + line.len();
        at += size;
        (segment, at - size..at)
    };
    lines.iter().map(place).collect()
}

/// A folder with these records that nothing was written of, and whose process has ended.
fn filled(lines: &[String]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (spool, ..) = open(folder.path(), SMALL, Duration::ZERO);
    assert!(lines.iter().all(|line| put(&spool, line)));
    spool.close();
    folder
}

/// Fills a spool with other records until carbon has them and their segments are spare.
fn make_spare(spool: &Arc<Spool>, reader: &Reader) {
    assert!((0..60).all(|number| put(spool, &line(number, 5_000))));
    drain(spool, reader);
    forget_written(spool);
}

/// Gives the folder up as a kill does.
fn abandon(spool: &Spool) {
    spool.folder.lock().take();
}

/// As the keeper does, only that nothing is too little to be forgotten.
fn forget_written(spool: &Spool) {
    let mut log = spool.log.lock();
    log.window.forget(Instant::now(), 0);
    log.forget(Instant::now());
}

/// The same in files that held other records before.
fn filled_again(lines: &[String]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    make_spare(&spool, &reader);
    // So large that the next record begins a segment.
    assert!(put(&spool, &line(0, SMALL / 16)));
    drain(&spool, &reader);
    assert!(lines.iter().all(|line| put(&spool, line)));
    forget_written(&spool);
    spool.close();
    folder
}

#[test]
fn records_come_back_in_order_over_segments_and_starts() {
    let lines: Vec<String> = (0..40).map(|number| line(number, number * 300)).collect();
    let folder = filled(&lines);
    assert!(segments(folder.path()).len() > 2);
    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::from_secs(60));
    assert_eq!(drain(&spool, &reader), lines);
    spool.close();
    // All of it was written a moment ago, so that it is written again.
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::from_secs(60));
    assert_eq!(spool.held().waiting, 0);
    assert!(put(&spool, "new 1 1\n"));
    assert_eq!(drain(&spool, &reader), [&lines[..], &["new 1 1\n".to_owned()]].concat());
    assert_eq!(damaged(&stats), BTreeMap::new());
}

#[test]
fn without_a_position_everything_is_written() {
    let lines: Vec<String> = (0..9).map(|number| line(number, 300)).collect();
    let folder = filled(&lines);
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::from_secs(60));
    drain(&spool, &reader);
    spool.close();
    for torn in [&b""[..], b"a part of it", b"twenty bytes of chaos"] {
        fs::write(folder.path().join("position"), torn).unwrap();
        let (spool, reader, stats) = open(folder.path(), SMALL, Duration::from_secs(60));
        assert!(spool.held().waiting > 0);
        assert_eq!(drain(&spool, &reader), lines);
        assert_eq!(damaged(&stats), BTreeMap::new());
        spool.close();
    }
}

#[test]
fn a_full_spool_refuses_until_carbon_has_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    let mut lines: Vec<String> =
        (0..).map(|number| line(number, 5_000)).take_while(|line| put(&spool, line)).collect();
    assert!(spool.is_full());
    let on_disk: u64 = segments(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(spool.held().on_disk, on_disk);
    assert!(on_disk <= SMALL as u64 && on_disk > SMALL as u64 / 10 * 9, "{on_disk}");
    assert_eq!(drain(&spool, &reader), lines);
    lines = (0..3).map(|number| line(number, 50_000)).collect();
    assert!(lines.iter().all(|line| put(&spool, line)), "what was written makes way");
    assert!(!spool.is_full());
    assert!(spool.held().on_disk <= SMALL as u64);
}

/// What a batch may become is reserved, most of it is less, and what is behind the last record of a segment stays there.
#[test]
fn room_behind_records_is_given_back_where_the_spool_would_be_full() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    let mut put = Vec::new();
    while let Some(room) = spool.reserve(of_lines(30_000)) {
        put.push(line(put.len(), 5_000));
        room.commit(lines(&put[put.len() - 1]), &Entries::default());
        assert!(spool.held().on_disk <= SMALL as u64);
    }
    let sizes = segments(folder.path()).into_iter().map(|path| fs::metadata(path).unwrap().len());
    assert_eq!(spool.held().on_disk, sizes.sum::<u64>());
    let bytes: usize = put.iter().map(String::len).sum();
    assert!(bytes > SMALL / 10 * 9, "{bytes} of {SMALL}");
    // A kill leaves what is there.
    abandon(&spool);
    drop((spool, reader));
    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
    assert_eq!(drain(&spool, &reader), put);
    assert_eq!(damaged(&stats), BTreeMap::new());
}

#[test]
fn what_is_kept_to_be_written_again_makes_no_way_before_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::from_secs(3600));
    let lines: Vec<String> =
        (0..).map(|number| line(number, 5_000)).take_while(|line| put(&spool, line)).collect();
    assert_eq!(drain(&spool, &reader), lines);
    assert!(!put(&spool, &line(0, 50_000)));
    assert_eq!(drain(&spool, &reader), lines, "all of it can be written again");
}

#[test]
fn a_batch_larger_than_the_spool_is_let_into_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    let large = line(1, 3 * SMALL);
    assert!(put(&spool, &large));
    assert!(!put(&spool, &large), "something waits now");
    assert_eq!(drain(&spool, &reader).concat(), large);
    assert!(put(&spool, &large));
}

#[test]
fn a_reservation_that_is_not_used_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    let room = spool.reserve(of_lines(100)).unwrap();
    assert!(spool.reserve(of_lines(100)).is_none(), "one at a time");
    drop(room);
    assert!(put(&spool, "a 1 1\n"));
    assert_eq!(drain(&spool, &reader), ["a 1 1\n"]);
}

#[test]
fn a_segment_that_was_taken_away_is_skipped_and_counted() {
    let lines: Vec<String> = (0..40).map(|number| line(number, 5_000)).collect();
    let folder = filled(&lines);
    let places = places(folder.path(), &lines);
    fs::remove_file(&segments(folder.path())[1]).unwrap();
    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
    let kept: Vec<_> = lines.iter().zip(&places).filter(|(_, (segment, _))| *segment != 1).collect();
    let kept: Vec<_> = kept.into_iter().map(|(line, _)| line.clone()).collect();
    assert_eq!(drain(&spool, &reader), kept);
    assert_eq!(damaged(&stats), [("damaged", 1)].into());
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let stats = Arc::new(Stats::default());
    let settings =
        SpoolSettings { folder: folder.path().to_owned(), limit: SMALL, age: Some(Duration::ZERO) };
    let (spool, reader) = Spool::open(&settings, Duration::ZERO, Arc::clone(&stats)).unwrap();
    assert!((0..9).all(|number| put(&spool, &line(number, 5_000))));
    // As soon as the clock goes on they are older than nothing.
    while spool.held().waiting > 0 {
        block_on(reader.expire());
    }
    let dropped: Vec<_> =
        stats.snapshot().into_iter().map(|(count, points)| (count.reason, points)).collect();
    assert_eq!(dropped, [("spool_age", 9)]);
    assert_eq!(drain(&spool, &reader), [""; 0]);
}

fn entries(values: &[(u128, &str)]) -> Entries {
    let mut entries = Entries::default();
    values.iter().for_each(|(hash, value)| entries.put(*hash, value.as_bytes()));
    entries
}

fn put_state(spool: &Arc<Spool>, line: &str, values: &[(u128, &str)]) -> bool {
    let entries = entries(values);
    let Some(room) =
        spool.reserve(Need { lines: line.len(), state: entries.len(), new_state: spool.new_state(&entries) })
    else {
        return false;
    };
    room.commit(lines(line), &entries);
    true
}

/// As the keeper does.
fn take_over_state(spool: &Spool) {
    spool.take_over_state(spool.folder.lock().as_ref().unwrap());
}

fn values(spool: &Spool) -> BTreeMap<u128, String> {
    let values = spool.load_state().unwrap().into_iter();
    values.map(|(hash, value)| (hash, String::from_utf8(value.into()).unwrap())).collect()
}

#[test]
fn state_outlives_the_segments_that_it_came_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = BTreeMap::new();
    for start in 0..5_u128 {
        let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
        assert_eq!(values(&spool), wanted, "at start {start}");
        for number in 0..40 {
            let (hash, value) = (u128::MAX - number % 7 - start, format!("{start} {number}"));
            assert!(put_state(&spool, &line(1, 5_000), &[(hash, &value), (number, "x"), (number, "")]));
            wanted.insert(hash, value);
            // Now and then everything is written, and the keeper comes.
            if number % 13 == 0 {
                drain(&spool, &reader);
                spool.log.lock().window.forget(Instant::now(), 0);
                take_over_state(&spool);
            }
        }
        assert_eq!(values(&spool), wanted);
        let first = spool.log.lock().places().1[0].base;
        assert!(first > 0, "segments have gone");
        assert!(start == 0 || spool.log.lock().covered > 0);
        assert_eq!(damaged(&stats), BTreeMap::new());
        spool.close();
    }
}

#[test]
fn state_is_whole_while_the_keeper_takes_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
    let hashes: Vec<u128> = (0..500).collect();
    let state: Vec<(u128, &str)> = hashes.iter().map(|hash| (*hash, "total")).collect();
    assert!(put_state(&spool, &line(0, 1), &state));
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            for _ in 0..40 {
                assert!((0..14).all(|number| put_state(&spool, &line(number, 5_000), &state)));
                drain(&spool, &reader);
                forget_written(&spool);
                take_over_state(&spool);
                spool.log.lock().trim();
            }
        });
        while !keeper.is_finished() {
            assert!(values(&spool).into_keys().eq(hashes.iter().copied()));
        }
    });
    assert!(spool.log.lock().covered > 0);
    assert_eq!(damaged(&stats), BTreeMap::new());
}

#[test]
fn a_full_spool_makes_room_although_it_holds_state() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    while put_state(&spool, &line(1, 5_000), &[(1, "total")]) {}
    drain(&spool, &reader);
    // Refused at first, unless the keeper came in between: it is the refusal that says that room is needed.
    let made = (0..2).any(|_| {
        let taken = put_state(&spool, &line(1, 50_000), &[]);
        take_over_state(&spool);
        taken
    });
    assert!(made);
    assert_eq!(values(&spool), [(1, "total".to_owned())].into());
}

#[test]
fn state_that_is_damaged_is_counted_and_what_the_segments_hold_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    assert!((0..40).all(|_| put_state(&spool, &line(1, 5_000), &[(1, "old")])));
    drain(&spool, &reader);
    spool.log.lock().window.forget(Instant::now(), 0);
    take_over_state(&spool);
    assert!(put_state(&spool, "a 1 1\n", &[(2, "new")]));
    spool.close();
    let file = folder.path().join("state");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();

    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
    assert_eq!(values(&spool).get(&2).map(String::as_str), Some("new"));
    assert_eq!(damaged(&stats), [("state", 1)].into());
    drain(&spool, &reader);
    spool.log.lock().window.forget(Instant::now(), 0);
    take_over_state(&spool);
    assert_eq!(values(&spool).get(&2).map(String::as_str), Some("new"));
}

#[test]
fn files_are_used_again_and_what_they_held_is_not_taken_for_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    let keeper = spool.folder.lock();
    make_spare(&spool, &reader);
    let before = segments(folder.path());
    assert!(before.len() > 4);
    let lines: Vec<String> = (0..30).map(|number| line(number, 5_000)).collect();
    assert!(lines.iter().all(|line| put(&spool, line)));
    assert_eq!(segments(folder.path()).len(), before.len(), "no file is new");
    assert!(!segments(folder.path()).contains(&before[0]));
    drop(keeper);
    // As a kill leaves it: the last segment has all of its room, with what stood there before.
    abandon(&spool);
    let last = fs::read(segments(folder.path()).last().unwrap()).unwrap();
    assert!(last.len() == SMALL / 16 && last.iter().rev().take(10_000).any(|byte| *byte != 0));
    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
    let sent = drain(&spool, &reader);
    assert_eq!(sent[sent.len() - lines.len()..], lines);
    assert_eq!(damaged(&stats), BTreeMap::new());

    abandon(&spool);
    // A part of one more record, as a kill within its write leaves it.
    let path = segments(folder.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let again = bytes[..record::HEADER].to_vec();
    bytes.extend(&again);
    fs::write(&path, &bytes).unwrap();
    let (_, _, stats) = open(folder.path(), SMALL, Duration::ZERO);
    assert_eq!(damaged(&stats), [("torn", 1)].into());
}

#[test]
fn files_that_a_second_did_not_need_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, reader, _) = open(folder.path(), SMALL, Duration::ZERO);
    make_spare(&spool, &reader);
    spool.log.lock().trim();
    spool.log.lock().trim();
    assert_eq!(segments(folder.path()).len(), 1, "the one that is appended to");
    let on_disk = fs::metadata(&segments(folder.path())[0]).unwrap().len();
    assert_eq!(spool.held().on_disk, on_disk);
}

/// As after a power cut: the file has its room, and not all of what was written to it.
#[test]
fn room_without_records_is_no_damage() {
    let lines: Vec<String> = (0..40).map(|number| line(number, 5_000)).collect();
    let folder = filled(&lines);
    for path in segments(folder.path()) {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(fs::metadata(&path).unwrap().len() + 10_000).unwrap();
    }
    let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
    assert_eq!(drain(&spool, &reader), lines);
    assert_eq!(damaged(&stats), BTreeMap::new());
}

#[derive(Clone, Debug)]
enum Harm {
    Flip { bit: u8 },
    Zeros { length: usize },
    Cut,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0..8_u8).prop_map(|bit| Harm::Flip { bit }),
        (1..9_000_usize).prop_map(|length| Harm::Zeros { length }),
        Just(Harm::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens to one place of a folder, every record that it does not touch comes back, in order, and
    /// nothing else does.
    #[test]
    fn damage_costs_what_it_touches(
        sizes in proptest::collection::vec(0..6_000_usize, 1..40),
        harm in harm(),
        at in any::<prop::sample::Index>(),
        again: bool,
    ) {
        let lines: Vec<String> = sizes.iter().enumerate().map(|(number, size)| line(number, *size)).collect();
        let folder = if again { filled_again(&lines) } else { filled(&lines) };
        let places = places(folder.path(), &lines);
        let total: usize = lines.iter().map(|line| record::HEADER + line.len()).sum();
        let mut at = at.index(total);
        let files = segments(folder.path());
        let mut hit = 0;
        let mut bytes = fs::read(&files[0]).unwrap();
        while at >= bytes.len() {
            at -= bytes.len();
            hit += 1;
            bytes = fs::read(&files[hit]).unwrap();
        }
        let before = bytes.clone();
        let touched = match harm {
            Harm::Flip { bit } => {
                bytes[at] ^= 1 << bit;
                at..at + 1
            }
            Harm::Zeros { length } => {
                let end = bytes.len().min(at + length);
                bytes[at..end].fill(0);
                at..end
            }
            Harm::Cut => {
                bytes.truncate(at);
                at..before.len()
            }
        };
        fs::write(&files[hit], &bytes).unwrap();
        let is_changed = |place: &std::ops::Range<usize>| {
            place.end > bytes.len() || before[place.clone()] != bytes[place.clone()]
        };
        let whole: Vec<String> = lines
            .iter()
            .zip(&places)
            .filter(|(_, (segment, place))| *segment != hit || !is_changed(place))
            .map(|(line, _)| line.clone())
            .collect();

        let (spool, reader, stats) = open(folder.path(), SMALL, Duration::ZERO);
        prop_assert_eq!(drain(&spool, &reader), whole.clone(), "{:?} at {:?} of segment {}", harm, touched, hit);
        // A cut between two records, or zeros up to the end, look like a record that was never begun.
        let is_last = hit + 1 == files.len();
        // As it looks where what is left of the record's length is zeros, too.
        let starts = places.iter().any(|(segment, place)| {
            *segment == hit
                && place.start <= touched.start
                && before[place.start..touched.start].iter().all(|byte| *byte == 0)
        });
        let silent = is_last && starts && touched.end == before.len() && !matches!(harm, Harm::Flip { .. });
        let told = damaged(&stats).values().sum::<u64>();
        if whole.len() < lines.len() && !silent {
            prop_assert!(told >= 1, "{:?} is not told", harm);
        }
        prop_assert!(put(&spool, "after 1 1\n"));
        let lines = drain(&spool, &reader);
        prop_assert_eq!(lines.last().map(String::as_str), Some("after 1 1\n"));
    }
}
