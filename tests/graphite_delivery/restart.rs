//! The process ends and starts again on its spool.

use std::fs;

use crate::{
    away::Away,
    carbon::{Carbon, assert_in_order},
    collect::{Collect, spooling},
    points::{Batch, eventually, lines_of},
};

#[test]
fn what_waited_at_a_kill_is_written_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let away = Away::new();
    let flags = spooling(folder.path(), away.address());
    let collect = Collect::start(&flags);
    for number in 0..20 {
        collect.take(&Batch::new(number, 100));
    }
    assert!(collect.own("queue_bytes", "graphite") > 0);
    collect.kill();

    let collect = Collect::start(&flags);
    collect.take(&Batch::new(20, 100));
    let carbon = Carbon::on(away.listen());
    carbon.until(&lines_of(0..=20, 100));
    for lines in carbon.connections() {
        assert_in_order(&lines);
    }
    eventually("all of it counts as sent", || {
        (collect.own("sent_total", "graphite") == 2_100 && collect.own("queue_bytes", "graphite") == 0)
            .then_some(())
    });
    assert_eq!(collect.own("spool_damaged_total", ""), 0, "{}", collect.log());
}

#[test]
fn a_stop_leaves_what_waits_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let away = Away::new();
    let flags = spooling(folder.path(), away.address());
    let collect = Collect::start(&flags);
    collect.take(&Batch::new(1, 100));
    let log = collect.stop();
    assert!(log.contains("what waits for carbon stays in the spool"), "{log}");
    assert!(!log.contains("stopped before all that was queued could be sent on"), "{log}");

    let _collect = Collect::start(&flags);
    Carbon::on(away.listen()).until(&lines_of([1], 100));
}

#[test]
fn what_was_written_lately_is_written_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = spooling(folder.path(), carbon.address());
    let collect = Collect::start(&flags);
    for number in 0..5 {
        collect.take(&Batch::new(number, 100));
    }
    eventually("all of it is sent", || (collect.own("sent_total", "graphite") == 500).then_some(()));
    collect.stop();
    let collect = Collect::start(&flags);
    collect.take(&Batch::new(5, 100));
    eventually("both connections", || {
        let connections = carbon.connections();
        (connections.len() == 2 && connections[1].len() == 600).then_some(())
    });
    let again = carbon.connections().remove(1);
    assert_in_order(&again);
    assert_eq!(again.into_iter().collect::<std::collections::BTreeSet<_>>(), lines_of(0..=5, 100));
    eventually("what is new, and what is not", || {
        (collect.own("sent_total", "graphite") == 100 && collect.own("replayed_total", "graphite") == 500)
            .then_some(())
    });
}

#[test]
fn a_second_process_on_a_folder_is_told_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let away = Away::new();
    let flags = spooling(folder.path(), away.address());
    let first = Collect::start(&flags);
    let (code, said) = Collect::refused(&flags);
    assert_eq!(code, Some(2), "{said}");
    let expected = format!("{}, is in use by process {}: stop that one", folder.path().display(), first.id());
    assert!(said.contains(&expected), "{said}");
    // The folder is free as soon as that process has ended, however it did.
    first.kill();
    drop(Collect::start(&flags));
}

#[test]
fn a_folder_that_cannot_be_used_is_a_bad_setting() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, said) = Collect::refused(&spooling(file.path(), "127.0.0.1:1"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--spool") && said.contains(&file.path().display().to_string()), "{said}");
}

/// What an earlier process left in the middle of a record was never acknowledged.
#[test]
fn a_torn_last_record_is_cut_off_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let away = Away::new();
    let flags = spooling(folder.path(), away.address());
    let collect = Collect::start(&flags);
    collect.take(&Batch::new(1, 100));
    collect.take(&Batch::new(2, 100));
    collect.stop();
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.filter(|path| path.extension().is_some_and(|end| end == "spool1")).last().unwrap();
    let length = fs::metadata(&segment).unwrap().len();
    fs::File::options().write(true).open(&segment).unwrap().set_len(length - 1).unwrap();

    let collect = Collect::start(&flags);
    assert_eq!(collect.own("spool_damaged_total", "reason=\"torn\""), 1);
    collect.logs("never acknowledged; it is cut off");
    collect.take(&Batch::new(3, 100));
    let carbon = Carbon::on(away.listen());
    carbon.until(&lines_of([1, 3], 100));
    let lines: Vec<_> = carbon.connections().concat();
    assert!(!lines.iter().any(|line| lines_of([2], 100).contains(line)), "a part of a batch was written");
}

/// Changes what the clock said when the program noted it last.
fn set_noted_clock(spool: &std::path::Path, change: impl Fn(u64) -> u64) {
    let file = spool.join("position");
    let mut bytes = std::fs::read(&file).unwrap();
    let wall = u64::from_le_bytes(*bytes[28..].first_chunk().unwrap());
    bytes[28..36].copy_from_slice(&change(wall).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[20..44]);
    bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_clock_that_is_set_between_two_starts_drops_nothing() {
    const HOURS: u64 = 5 * 3_600_000;
    for (change, seconds) in
        [(&(|wall| wall - HOURS) as &dyn Fn(u64) -> u64, "18000"), (&|wall| wall + HOURS, "-18000")]
    {
        let folder = tempfile::tempdir().unwrap();
        let away = Away::new();
        let flags = format!("{} --spool-age 1h", spooling(folder.path(), away.address()));
        let collect = Collect::start(&flags);
        collect.take(&Batch::new(0, 10));
        collect.stop();
        set_noted_clock(folder.path(), change);
        let collect = Collect::start(&flags);
        collect.take(&Batch::new(1, 10));
        Carbon::on(away.listen()).until(&lines_of(0..2, 10));
        assert_eq!(collect.own("dropped_total", ""), 0);
        collect.logs("the system's clock is off");
        let log = collect.log();
        let named = log.lines().find(|line| line.contains("the system's clock is off")).unwrap();
        // To the second or so.
        assert!(named.contains(&seconds[..seconds.len() - 2]) || named.contains("1799"), "{named}");
    }
}
