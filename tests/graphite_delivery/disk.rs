//! A disk, or a spool, without room: senders are told to try again, nothing that was acknowledged is lost, and it
//! goes on by itself once there is room.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    away::Away,
    carbon::Carbon,
    collect::{Collect, spooling, without_file_signal},
    points::{Batch, eventually, lines_of},
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

/// A file system of its own in memory, seen by the process alone.
#[test]
fn a_full_disk_makes_senders_wait_and_is_used_again_once_there_is_room() {
    let namespace = ["--user", "--map-root-user", "--mount"];
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=2m tmpfs {}", folder.path().display());
    let tried = Command::new("unshare").args(namespace).args(["sh", "-c", &mount]).output().unwrap();
    if !tried.status.success() {
        // The other test of this file fills a disk without it.
        println!("this system lets nobody mount: {}", String::from_utf8_lossy(&tried.stderr));
        return;
    }
    let filler = folder.path().join("filler");
    let filled = format!("{mount} && head -c 500000 /dev/zero >{}", filler.display());
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c"]).arg(format!("{filled} && exec \"$0\" \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_pushpull"));
    let away = Away::new();
    let flags = format!("{} --graphite-replay 1s", spooling(&folder.path().join("spool"), away.address()));
    let collect = Collect::start_as(command, &flags);

    let refused = fill(&collect, 0);
    assert!(refused > 0);
    assert_eq!(collect.get("/readyz").0, 503);
    let said = collect.log();
    assert!(said.contains("the spool has no room") && said.contains("No space left on device"), "{said}");
    let before = collect.get("/metrics").1;
    assert_eq!(collect.send(&Batch::new(refused, SERIES)), Some(503));
    let of_senders = |text: &str| {
        text.lines().filter(|line| line.starts_with("level")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(of_senders(&collect.get("/metrics").1), of_senders(&before), "nothing of it is taken");

    // Another makes room on the disk.
    let seen_by_it: PathBuf = Path::new("/proc").join(collect.id().to_string()).join("root");
    fs::remove_file(seen_by_it.join(filler.strip_prefix("/").unwrap())).unwrap();
    taken_at_last(&collect, refused);
    let (status, ready) = collect.get("/readyz");
    assert_eq!(status, 200, "{ready}");
    assert!(collect.log().contains("the spool has room again"), "{}", collect.log());

    // Carbon makes room in the spool.
    let refused = fill(&collect, refused + 1);
    let carbon = Carbon::on(away.listen());
    carbon.until(&lines_of(0..refused, SERIES));
    taken_at_last(&collect, refused);
    carbon.until(&lines_of([refused], SERIES));
    assert_eq!(collect.own("spool_damaged_total", ""), 0);
    assert_eq!(collect.own("dropped_total", ""), 0);
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
    let said = collect.log();
    assert!(said.contains("kept in memory until it can") && said.contains("File too large"), "{said}");
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
