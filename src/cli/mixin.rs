//! `pushpull mixin`: writes rules, alerts and dashboards below a folder, as its `config.json` says.
//!
//! A bad configuration, or a file that this command did not write, ends the command before anything is written. Each file
//! is replaced as a whole, once every new one is on the disk.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::NamedTempFile;

use super::{Failure, print};
use crate::{
    config::Mixin,
    mixin::{CONFIG, Config, DEFAULT, files, is_written_here},
};

pub(super) fn run(settings: &Mixin) -> Result<(), Failure> {
    let path = settings.folder.join(CONFIG);
    let given = read(&path)?;
    let config = Config::parse(given.as_deref().unwrap_or(DEFAULT)).map_err(Failure::settings)?;
    let mut written: Vec<_> =
        files(&config).into_iter().map(|file| (settings.folder.join(&file.path), file.text)).collect();
    refuse_others(&written)?;
    if given.is_none() {
        written.insert(0, (path, DEFAULT.to_owned()));
    }
    let staged: Vec<_> =
        written.iter().map(|(path, text)| stage(path, text)).collect::<anyhow::Result<_>>()?;
    let mut report =
        config.note().map_or_else(String::new, |note| format!("objectives.latency.within: {note}\n"));
    for (new, (path, _)) in staged.into_iter().zip(&written) {
        new.persist(path).with_context(|| format!("failed to write {}", path.display()))?;
        // Writing to a string cannot fail.
        let _ = writeln!(report, "{}", path.display());
    }
    print(&report)
}

/// The file's text, where there is one.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::settings(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn refuse_others(files: &[(PathBuf, String)]) -> Result<(), Failure> {
    let mut others = Vec::new();
    for (path, _) in files {
        if read(path)?.is_some_and(|text| !is_written_here(&text)) {
            others.push(path.display().to_string());
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    let others = others.join(", ");
    Err(Failure::settings(format!(
        "{others}: not written by `pushpull mixin`, so not replaced; move it, or give another folder"
    )))
}

/// Writes the text beside its place, under a name of its own.
fn stage(path: &Path, text: &str) -> anyhow::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let failed = || format!("failed to write {}", path.display());
    // As any other new file: the umask takes from this.
    let readable = Permissions::from_mode(0o666);
    let new = tempfile::Builder::new().permissions(readable).tempfile_in(folder).with_context(failed)?;
    fs::write(new.path(), text).with_context(failed)?;
    Ok(new)
}
