//! Where `tests/peers/install` put the peers.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the peer called `name`.
///
/// # Panics
/// Where the peer has not been installed: a peer that is missing is a failure, never a skip.
pub(super) fn peer(name: &str) -> PathBuf {
    let folder = cache().join(name);
    assert!(
        folder.join(".complete").exists(),
        "the peer '{name}' is not in {}; run tests/peers/install",
        folder.display()
    );
    folder
}

/// A script of this suite, run by the interpreter that has the client libraries.
pub(super) fn python_script(name: &str) -> Command {
    let mut command = Command::new(peer("clients").join("bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python").join(name));
    for (variable, _) in env::vars_os() {
        if variable.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(variable);
        }
    }
    command
}

/// The same folder as the script's: `PEERS_CACHE`, else pushpull/peers in the user's cache.
fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PEERS_CACHE").unwrap_or_else(|| {
        set("XDG_CACHE_HOME")
            .unwrap_or_else(|| set("HOME").expect("HOME, to find the peers in ~/.cache").join(".cache"))
            .join("pushpull/peers")
    })
}
