//! File systems of their own, small enough to be filled, seen by one process alone.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::collect::Collect;

/// A volume that is mounted for the process that its [command](Self::command) runs.
pub(crate) struct Volume {
    /// What stands before the commands within.
    namespace: &'static [&'static str],
    mount: String,
    folder: TempDir,
    _image: Option<TempDir>,
}

impl Volume {
    /// In memory, for whoever runs the tests.
    pub(crate) fn tmpfs(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size={mebibytes}m tmpfs {}", folder.path().display());
        Self::tried(Self {
            namespace: &["--user", "--map-root-user", "--mount"],
            mount,
            folder,
            _image: None,
        })
    }

    /// As most disks are; only root may mount it.
    pub(crate) fn ext4(mebibytes: u32) -> Option<Self> {
        let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = image.path().join("ext4");
        let file = file.display();
        let made = format!("truncate -s {mebibytes}M {file} && mkfs.ext4 -q -m 0 -O ^has_journal {file}");
        let made = Command::new("sh").args(["-c", &made]).output().unwrap();
        if !made.status.success() {
            println!("no ext4 can be made here: {}", String::from_utf8_lossy(&made.stderr));
            return None;
        }
        let mount = format!("mount -o loop {file} {}", folder.path().display());
        Self::tried(Self { namespace: &["--mount"], mount, folder, _image: Some(image) })
    }

    fn tried(volume: Self) -> Option<Self> {
        let tried = Command::new("unshare").args(volume.namespace).args(["sh", "-c", &volume.mount]).output();
        let tried = tried.unwrap();
        if !tried.status.success() {
            println!("this system lets nobody mount: {}", String::from_utf8_lossy(&tried.stderr));
        }
        tried.status.success().then_some(volume)
    }

    /// Where it is mounted, by the process within.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program on the volume, after `first` was done on it.
    pub(crate) fn command(&self, first: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(self.namespace).args(["sh", "-c"]);
        command.arg(format!("{} && {first} && exec \"$0\" \"$@\"", self.mount));
        command.arg(env!("CARGO_BIN_EXE_pushpull"));
        command
    }

    /// A file of the volume as the process within sees it.
    pub(crate) fn seen_by(&self, collect: &Collect, name: &str) -> PathBuf {
        let root = Path::new("/proc").join(collect.id().to_string()).join("root");
        root.join(self.path().join(name).strip_prefix("/").unwrap())
    }
}
