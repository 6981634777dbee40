//! What is done once a second, beside those who append and read: the files are looked after, records are brought to
//! the disk, and segments go that are not needed.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    OpenError, Spool,
    folder::Folder,
    presence::{Named, Wrong},
    state,
};
use crate::collector::{batch::Signal, export::graphite::PLACE, stats::Event};

/// How long a batch that is being written is waited for.
const RESERVATION: Duration = Duration::from_millis(500);

/// What became of the folder.
enum Looked {
    Stands,
    /// Something could not be restored.
    NotYet,
    /// Another process has it.
    Lost,
}

impl Spool {
    /// Once a second: brings records to the disk, notes how far carbon was written to, and removes what is not
    /// needed. False once the spool is closed.
    pub(super) fn keep(&self) -> bool {
        let mut folder = self.folder.lock();
        let Some(held) = &mut *folder else { return false };
        match self.look_after(held) {
            Looked::Stands => {}
            Looked::NotYet => return true,
            Looked::Lost => {
                *folder = None;
                return false;
            }
        }
        let Some(folder) = &*folder else { return false };
        self.log.lock().forget(Instant::now());
        self.take_over_state(folder);
        self.log.lock().trim();
        self.sync(folder);
        true
    }

    /// Lets segments go that only their state still holds.
    pub(super) fn take_over_state(&self, folder: &Folder) {
        let segments = {
            let mut log = self.log.lock();
            let Some(segments) = log.held_by_state() else { return };
            // What would be reserved meanwhile would be for the snapshot that is written now.
            log.totals.is_writing = true;
            segments
        };
        let taken_over = state::take_over(folder.path(), &segments);
        let mut log = self.log.lock();
        log.totals.written(taken_over.as_ref().ok().copied());
        match taken_over {
            Ok(covered) => {
                log.covered = covered;
                let now = Instant::now();
                // First of all, before another process takes the room; then with that of the segments which go.
                let reserved = log.make_totals_room(0, now);
                log.forget(now);
                if reserved.is_err() {
                    // What is new is refused until it succeeds.
                    let _ = log.make_totals_room(0, now);
                }
            }
            Err(error) => {
                drop(log);
                tracing::warn!(%error, "the state in the spool cannot be taken over now");
            }
        }
    }

    pub(super) fn sync(&self, folder: &Folder) {
        let (files, new_names, position) = self.log.lock().unsynced();
        let synced = files.iter().try_for_each(|(file, ..)| file.sync_data());
        let named = if new_names { folder.sync() } else { Ok(()) };
        let noted = folder.note(position, self.clock.note());
        match synced.and(named).and(noted) {
            Ok(()) => self.log.lock().is_synced(&files),
            Err(error) => {
                tracing::warn!(%error, "the spool cannot be brought to the disk now; a power cut would lose what came last");
                self.log.lock().names_changed();
            }
        }
    }

    /// Sees to it that the folder and the files are those under their names, and restores them where they are not.
    fn look_after(&self, folder: &mut Folder) -> Looked {
        let named = self.log.lock().named();
        let wrong: Vec<_> = named.into_iter().filter_map(|named| Some((named.wrong()?, named))).collect();
        let is_suspended = self.log.lock().is_suspended();
        if folder.stands() && wrong.is_empty() && !is_suspended {
            return Looked::Stands;
        }
        let shown = wrong.first().map_or(folder.path(), |(_, named)| &named.path).display().to_string();
        let why = format!("files of the spool were deleted or replaced, such as {shown}");
        if !is_suspended {
            self.log.lock().suspend(why);
            tracing::warn!(
                file = shown,
                files = wrong.len(),
                "files of the spool were deleted or replaced: nothing is acknowledged until they are restored"
            );
        }
        match self.restore(folder, wrong) {
            Ok(true) => {
                self.log.lock().resume();
                tracing::info!("the files of the spool are restored");
                Looked::Stands
            }
            Ok(false) => Looked::NotYet,
            Err(error @ OpenError::InUse { .. }) => {
                tracing::error!(%error, "another process took the folder of the spool while this one ran");
                let mut log = self.log.lock();
                log.suspend(error.to_string());
                log.leave();
                drop(log);
                self.lost.cancel();
                Looked::Lost
            }
            Err(error @ OpenError::Folder { .. }) => {
                let why =
                    format!("files of the spool were deleted or replaced, and cannot be restored: {error}");
                if self.log.lock().suspend(why) {
                    tracing::warn!(%error, "the files of the spool cannot be restored yet");
                }
                Looked::NotYet
            }
        }
    }

    /// Copies what can be read through open files under its name; whether that is done.
    fn restore(&self, folder: &mut Folder, wrong: Vec<(Wrong, Named)>) -> Result<bool, OpenError> {
        folder.take_again()?;
        let began = Instant::now();
        while self.log.lock().has_reservation() {
            if began.elapsed() > RESERVATION {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(1));
        }
        let path = folder.path().to_owned();
        let failed = |source| OpenError::Folder { folder: path.clone(), source };
        // Also what was written since they were looked at.
        let named = self.log.lock().named();
        for (what, Named { path, base, .. }) in wrong {
            if what == Wrong::Overwritten {
                // What it held is counted where it is missed: of a segment by the reader, of a snapshot nobody reads it.
                match base {
                    Some(base) => self.log.lock().give_up(base),
                    None => self.stats.add(Event::Damaged, PLACE, Signal::Metrics, "state", 1),
                }
                continue;
            }
            let Some(named) = named.iter().find(|named| named.path == path) else { continue };
            let file = named.restore().map_err(failed)?;
            if let Some(base) = base {
                self.log.lock().restored(base, file);
            }
        }
        let mut log = self.log.lock();
        log.begin_anew();
        log.totals.measure();
        // Where there is no room for it, further totals are refused.
        let _ = log.make_totals_room(0, Instant::now());
        drop(log);
        folder.sync().map_err(failed)?;
        Ok(true)
    }
}
