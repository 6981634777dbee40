//! The console's token in a file: read, or created where the file is not there.
//!
//! A new file gets its name only once it is whole (a temporary file in the same folder that is linked into place), so
//! that of several processes that start at once one creates it and the others read that one's token.

use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::Failure;
use crate::console::Token;

/// The longest file that is read, in bytes: a token goes into a header of each request.
const LONGEST: u64 = 4096;

/// Makes a token that nobody can guess: 122 random bits.
pub(super) fn fresh() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Reads the token of a file, which is created with a fresh one, for its owner alone, where it is not there.
///
/// # Errors
/// Where the file can be neither read nor created, or holds no token.
pub(super) fn of_file(file: &Path) -> Result<Token, Failure> {
    let problem =
        |what: String| Failure::settings(format!("--console-token-file {}: {what}", file.display()));
    let text = match read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(file).map_err(|error| problem(not_created(file, &error)))?
        }
        read => read.map_err(|error| problem(not_read(file, &error)))?,
    };
    if text.len() as u64 > LONGEST {
        return Err(problem(format!(
            "is longer than {LONGEST} bytes; name a file with a token and nothing else"
        )));
    }
    let least = Token::SHORTEST;
    Token::new(text.trim()).ok_or_else(|| {
        problem(format!("holds no token; write one of at least {least} characters, without spaces, into it"))
    })
}

/// Reads the file's text, and one byte more than the longest at most.
fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Creates the file, of mode 0600, and returns its text; or that of whoever created it first.
fn create(file: &Path) -> io::Result<String> {
    let text = format!("{}\n", fresh());
    let mut new = tempfile::Builder::new().prefix(".console-token-").tempfile_in(folder(file))?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    match new.persist_noclobber(file) {
        Ok(_) => Ok(text),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => read(file),
        Err(error) => Err(error.error),
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn not_created(file: &Path, error: &io::Error) -> String {
    let (folder, uid) = (folder(file), rustix::process::geteuid().as_raw());
    let shown = folder.display();
    match (error.kind(), fs::metadata(folder)) {
        (ErrorKind::NotFound, Err(_)) => format!(
            "is not there, and neither is its folder {shown}; create the folder for uid {uid}, which this process runs \
             as, or name a file in another one"
        ),
        (ErrorKind::PermissionDenied, Ok(found)) => format!(
            "is not there, and cannot be created in {shown}: the folder belongs to uid {} (mode {:04o}), and this process \
             runs as uid {uid}; give the folder (of a volume: its root) to uid {uid}, or name a file in another one",
            found.uid(),
            found.mode() & 0o7777
        ),
        _ => format!(
            "is not there, and cannot be created in {shown} ({error}); name a file in a folder where uid {uid}, which this \
             process runs as, can write"
        ),
    }
}

fn not_read(file: &Path, error: &io::Error) -> String {
    let uid = rustix::process::geteuid().as_raw();
    match (error.kind(), fs::metadata(file)) {
        (ErrorKind::PermissionDenied, Ok(found)) => format!(
            "cannot be read: it belongs to uid {} (mode {:04o}), and this process runs as uid {uid}; give it to uid {uid}, \
             or name another file",
            found.uid(),
            found.mode() & 0o7777
        ),
        (ErrorKind::PermissionDenied, Err(_)) => format!(
            "cannot be read by uid {uid}, which this process runs as: a folder above it is closed; give that folder to uid \
             {uid}, or name another file"
        ),
        _ => format!("cannot be read by uid {uid} ({error}); name a file with a token in it"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Barrier, thread};

    use super::*;

    #[test]
    fn who_loses_the_race_reads_the_winner() {
        const RACERS: usize = 16;
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let file = folder.path().join(format!("token {round}"));
            let start = Barrier::new(RACERS);
            let race = || {
                start.wait();
                create(&file).unwrap()
            };
            let texts: BTreeSet<String> = thread::scope(|scope| {
                let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(race)).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            assert_eq!(Vec::from_iter(texts), [fs::read_to_string(&file).unwrap()]);
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 20, "no temporary file is left");
    }
}
