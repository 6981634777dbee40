//! Files of a spool that are deleted, swapped or overwritten while the program runs: nothing is acknowledged that the
//! next process would not find.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{
    away::Away,
    carbon::Carbon,
    collect::{Collect, spooling},
    points::{Batch, deltas, eventually, lines_of},
};

const SERIES: usize = 200;

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "spool1")).collect()
}

/// Waits until the program has said so many times that the files are restored.
fn restored(collect: &Collect, times: usize) {
    eventually("the files are restored", || {
        (collect.log().matches("the files of the spool are restored").count() == times).then_some(())
    });
    assert_eq!(collect.get("/readyz").0, 200, "{}", collect.log());
}

/// What was acknowledged before and after `harm`, less what that destroys, is there for the next process.
fn survives(harm: impl Fn(&Path), destroys: u64) -> Collect {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("spool");
    let away = Away::new();
    let flags = spooling(&folder, away.address());
    let collect = Collect::start(&flags);
    for number in 0..3 {
        collect.take(&Batch::new(number, SERIES));
    }
    assert_eq!(collect.post(deltas(3, 0..1)), Some(200));
    harm(&folder);
    restored(&collect, 1);
    for number in 4..6 {
        collect.take(&Batch::new(number, SERIES));
    }
    collect.kill();
    let collect = Collect::start(&flags);
    assert_eq!(collect.post(deltas(7, 0..1)), Some(200));
    let carbon = Carbon::on(away.listen());
    carbon.until(&lines_of((destroys..3).chain(4..6), SERIES));
    if destroys == 0 {
        carbon.until(&["jobs;k=path00000;service.name=shop 2 1700000007".to_owned()].into());
        assert_eq!(collect.own("spool_damaged_total", ""), 0, "{}", collect.log());
    }
    collect
}

#[test]
fn what_was_in_deleted_files_is_there_for_the_next_process() {
    survives(|folder| fs::remove_dir_all(folder).unwrap(), 0);
    survives(|folder| segments(folder).iter().for_each(|file| fs::remove_file(file).unwrap()), 0);
}

#[test]
fn what_was_in_swapped_files_is_there_for_the_next_process() {
    let swapped = |folder: &Path| {
        for file in segments(folder) {
            let other = folder.join("other");
            fs::write(&other, "something else").unwrap();
            fs::rename(other, file).unwrap();
        }
    };
    survives(swapped, 0);
    survives(|folder| fs::rename(folder, folder.with_extension("old")).unwrap(), 0);
}

#[test]
fn what_comes_after_a_segment_was_emptied_is_there_for_the_next_process() {
    let emptied = |folder: &Path| segments(folder).iter().for_each(|file| drop(File::create(file).unwrap()));
    let collect = survives(emptied, 3);
    eventually("the loss is counted", || (collect.own("spool_damaged_total", "damaged") > 0).then_some(()));
}

#[test]
fn nothing_is_acknowledged_while_the_folder_cannot_be_restored() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("spool");
    let away = Away::new();
    let flags = spooling(&folder, away.address());
    let collect = Collect::start(&flags);
    collect.take(&Batch::new(0, SERIES));
    // At once, so that the folder cannot be made in between.
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    renameat_with(CWD, &folder, CWD, &file, RenameFlags::EXCHANGE).unwrap();
    eventually("it refuses", || {
        let (status, body) = collect.get("/readyz");
        (status == 503 && body.contains("deleted or replaced")).then_some(())
    });
    assert_eq!(collect.send(&Batch::new(1, SERIES)), Some(503));
    fs::remove_file(&folder).unwrap();
    restored(&collect, 1);
    collect.take(&Batch::new(1, SERIES));
    collect.kill();
    let _collect = Collect::start(&flags);
    Carbon::on(away.listen()).until(&lines_of(0..2, SERIES));
}

#[test]
fn a_lock_that_another_process_took_ends_this_one() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, other) = (parent.path().join("spool"), parent.path().join("other"));
    fs::create_dir(&other).unwrap();
    let lock = File::create(other.join("lock")).unwrap();
    lock.lock().unwrap();
    let away = Away::new();
    let mut collect = Collect::start(&spooling(&folder, away.address()));
    collect.take(&Batch::new(0, SERIES));
    renameat_with(CWD, &folder, CWD, &other, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(collect.ended().code(), Some(1), "{}", collect.log());
    collect.logs("stop one of the two");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["lock"], "nothing of the other's is touched");
}
