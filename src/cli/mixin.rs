//! `pushpull mixin`: writes rules, alerts and dashboards below a folder, as its `config.json` says.
//!
//! It writes nothing where the configuration is bad. Files that it did not write are left alone.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;

use super::Failure;
use crate::{
    config::Mixin,
    mixin::{CONFIG, Config, DEFAULT, files},
};

pub(super) fn run(settings: &Mixin) -> Result<(), Failure> {
    let path = settings.folder.join(CONFIG);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => DEFAULT.to_owned(),
        Err(error) => return Err(Failure::settings(format!("{} cannot be read: {error}", path.display()))),
    };
    let config = Config::parse(&text).map_err(Failure::settings)?;
    let mut output = io::stdout();
    if let Some(note) = config.note() {
        writeln!(output, "objectives.latency.within: {note}")?;
    }
    if !path.exists() {
        write(&path, DEFAULT)?;
        writeln!(output, "{}", path.display())?;
    }
    for file in files(&config) {
        let path = settings.folder.join(&file.path);
        write(&path, &file.text)?;
        writeln!(output, "{}", path.display())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
