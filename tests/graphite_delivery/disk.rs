//! A disk, or a spool, without room: senders are told to try again, nothing that was acknowledged is lost, and it
//! goes on by itself once there is room.

use std::{collections::BTreeSet, fs};

use crate::{
    away::Away,
    carbon::Carbon,
    collect::{Collect, spooling, without_file_signal},
    points::{Batch, T, deltas, eventually, lines_of},
    volumes::Volume,
};

const SERIES: usize = 200;

/// Sends batches until one is refused; the number of the refused one.
fn fill(collect: &Collect, first: u64) -> u64 {
    for number in first.. {
        match collect.send(&Batch::new(number, SERIES)) {
            Some(200) => {}
            Some(503) => return number,
            other => panic!("batch {number}: {other:?}"),
        }
    }
    unreachable!("the numbers do not end");
}

/// Sends a batch until it is taken.
fn taken_at_last(collect: &Collect, number: u64) {
    eventually("there is room again", || {
        (collect.send(&Batch::new(number, SERIES)) == Some(200)).then_some(())
    });
}

#[test]
fn a_full_disk_makes_senders_wait_and_is_used_again_once_there_is_room() {
    // The other test of this file fills a disk without mounting one.
    let Some(volume) = Volume::tmpfs(2) else { return };
    let filler = format!("head -c 500000 /dev/zero >{}", volume.path().join("filler").display());
    let away = Away::new();
    let flags = format!("{} --graphite-replay 1s", spooling(&volume.path().join("spool"), away.address()));
    let collect = Collect::start_as(volume.command(&filler), &flags);

    let refused = fill(&collect, 0);
    assert!(refused > 0);
    assert_eq!(collect.get("/readyz").0, 503);
    collect.logs("the spool has no room");
    collect.logs("No space left on device");
    let before = collect.get("/metrics").1;
    assert_eq!(collect.send(&Batch::new(refused, SERIES)), Some(503));
    let of_senders = |text: &str| {
        text.lines().filter(|line| line.starts_with("level")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(of_senders(&collect.get("/metrics").1), of_senders(&before), "nothing of it is taken");

    // Another makes room on the disk.
    fs::remove_file(volume.seen_by(&collect, "filler")).unwrap();
    taken_at_last(&collect, refused);
    let (status, ready) = collect.get("/readyz");
    assert_eq!(status, 200, "{ready}");
    collect.logs("the spool has room again");

    // Carbon makes room in the spool.
    let refused = fill(&collect, refused + 1);
    let carbon = Carbon::on(away.listen());
    carbon.until(&lines_of(0..refused, SERIES));
    taken_at_last(&collect, refused);
    carbon.until(&lines_of([refused], SERIES));
    assert_eq!(collect.own("spool_damaged_total", ""), 0);
    assert_eq!(collect.own("dropped_total", ""), 0);
}

/// So many that what is kept of them is a good part of the disk.
const MANY: usize = 20_000;

/// Sends deltas until they are taken.
fn deltas_taken_at_last(collect: &Collect, number: u64) {
    eventually("there is room for totals again", || {
        (collect.post(deltas(number, 0..MANY)) == Some(200)).then_some(())
    });
}

/// The line of the first series at a second, with what all deltas of one make by then.
fn total(number: u64, sum: u64) -> BTreeSet<String> {
    [format!("jobs;k=path00000;service.name=shop {sum} {}", T + number)].into()
}

fn totals_make_way(volume: Option<Volume>) {
    let Some(volume) = volume else { return };
    let away = Away::new();
    let spool = volume.path().join("spool");
    // With the limit that it has by default, which is far above the volume.
    let flags = format!("{} --graphite-replay 1s", spooling(&spool, away.address()));
    let collect = Collect::start_as(volume.command("true"), &flags);
    let mut taken = 0;
    let refused = loop {
        match collect.post(deltas(taken, 0..MANY)) {
            Some(200) => taken += 1,
            Some(503) => break taken,
            other => panic!("{other:?}: {}", collect.log()),
        }
    };
    assert!(taken > 1, "{}", collect.log());
    // What such a request leaves would hold the totals: smaller ones take that too.
    fill(&collect, 0);
    let carbon = Carbon::on(away.listen());
    // More than the volume holds, so that every segment goes, and the totals are written anew again and again.
    for number in refused..refused + 12 {
        deltas_taken_at_last(&collect, number);
        carbon.until(&total(number, number + 1));
    }
    assert_eq!(collect.get("/readyz").0, 200, "{}", collect.log());
    assert_eq!(collect.own("spool_damaged_total", ""), 0);
    assert_eq!(collect.own("dropped_total", ""), 0);
    let warnings = collect.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 10, "{}", collect.log());
}

#[test]
fn a_disk_that_totals_filled_recovers_in_memory() {
    totals_make_way(Volume::tmpfs(12));
}

#[test]
fn a_disk_that_totals_filled_recovers_on_ext4() {
    totals_make_way(Volume::ext4(12));
}

/// Here the limit is what fills.
#[test]
fn series_whose_totals_would_not_fit_are_refused_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags =
        format!("{} --spool-limit 1MiB --graphite-replay 1s", spooling(folder.path(), carbon.address()));
    let collect = Collect::start(&flags);
    let mut number = 0;
    let mut send = |collect: &Collect, series: std::ops::Range<usize>| {
        eventually("the totals are taken", || {
            (collect.post(deltas(number, series.clone())) == Some(200)).then_some(())
        });
        number += 1;
        number - 1
    };
    for first in (0..10_000).step_by(500) {
        send(&collect, first..first + 500);
    }
    let refused = collect.own("refused_total", "spool_state");
    assert!((1..10_000).contains(&refused), "{refused}: {}", collect.log());
    collect.logs("spool_state");
    // Those that it has go on, and so they do after a restart.
    let last = send(&collect, 0..500);
    carbon.until(&total(last, 2));
    let refused = collect.own("refused_total", "spool_state");
    let on_disk: u64 = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().map_or(0, |file| file.len()))
        .sum();
    assert!(on_disk <= 1024 * 1024 + 4096, "{on_disk}");
    assert_eq!(collect.own("refused_total", "spool_state"), refused);
    collect.kill();
    let collect = Collect::start(&flags);
    let last = send(&collect, 0..500);
    carbon.until(&total(last, 3));
    assert_eq!(collect.own("refused_total", "spool_state"), 0);
}

/// A limit on the size of its files stands in for the disk; it also stops a write half-way.
#[test]
fn a_record_that_is_written_by_half_is_written_whole_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let away = Away::new();
    let flags = format!("{} --spool-limit 16MiB", spooling(folder.path(), away.address()));
    let collect = Collect::start_as(without_file_signal(), &flags);
    for number in 0..3 {
        collect.take(&Batch::new(number, SERIES));
    }
    // In the middle of the next record but one.
    collect.limit_files("50000");
    let refused = fill(&collect, 3);
    collect.logs("kept in memory until it can");
    collect.logs("File too large");
    assert_eq!(fill(&collect, refused), refused, "nothing more is taken");
    collect.limit_files("unlimited");
    taken_at_last(&collect, refused);
    collect.kill();

    let collect = Collect::start(&flags);
    assert_eq!(collect.own("spool_damaged_total", ""), 0, "{}", collect.log());
    let carbon = Carbon::on(away.listen());
    carbon.until(&lines_of(0..=refused, SERIES));
    let lines: Vec<_> = carbon.connections().concat();
    assert_eq!(lines.len() as u64, (refused + 1) * SERIES as u64, "whole lines, each once");
}

#[test]
fn a_spool_never_takes_more_than_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags =
        format!("{} --spool-limit 1MiB --graphite-replay 1s", spooling(folder.path(), carbon.address()));
    let collect = Collect::start(&flags);
    for number in 0..300 {
        taken_at_last(&collect, number);
        let on_disk: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().map_or(0, |file| file.len()))
            .sum();
        assert!(on_disk <= 1024 * 1024 + 4096, "{on_disk}");
    }
    carbon.until(&lines_of(0..300, SERIES));
    assert!(collect.own("spool_bytes", "graphite") <= 1024 * 1024);
    assert_eq!(collect.own("spool_limit_bytes", "graphite"), 1024 * 1024);
}

/// A record of a spool, at a position of its log.
fn record(position: u64, line: &str) -> Vec<u8> {
    let mut counted = position.to_le_bytes().to_vec();
    counted.extend(u64::MAX.to_le_bytes());
    counted.extend(1_u32.to_le_bytes());
    counted.extend(0_u32.to_le_bytes());
    counted.extend(line.as_bytes());
    let mut record = u32::try_from(counted.len()).unwrap().to_le_bytes().to_vec();
    record.extend(crc32fast::hash(&counted).to_le_bytes());
    record.extend(counted);
    record
}

#[test]
fn segments_that_are_missing_take_no_memory_however_much_they_held() {
    const FAR: u64 = 1 << 50;
    let folder = tempfile::tempdir().unwrap();
    let lines = ["level;k=a 1 1700000000", "level;k=b 2 1700000000"];
    for (position, line) in [0, FAR].into_iter().zip(lines) {
        let file = folder.path().join(format!("{position:020}.spool1"));
        fs::write(file, record(position, &format!("{line}\n"))).unwrap();
    }
    let carbon = Carbon::listen();
    let collect = Collect::start(&spooling(folder.path(), carbon.address()));
    carbon.until(&lines.map(str::to_owned).into());
    eventually("the gap is counted", || (collect.own("spool_damaged_total", "damaged") == 1).then_some(()));
    collect.logs("a part of the spool cannot be read");
    collect.take(&Batch::new(1, 1));
    carbon.until(&lines_of([1], 1));
}
