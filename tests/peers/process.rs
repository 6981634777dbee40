//! Processes that end with the test that started them, and waiting for a condition with a deadline.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a peer on a busy machine; no test takes it unless something is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `look` until it answers, and panics with its last refusal when `within` has passed.
pub(super) fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(refusal) if Instant::now() >= deadline => {
                panic!("not within {within:?}: {what}; at last: {refusal}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A child process with its output in files. Dropping it ends the process; where that happens in a panic, the end of
/// what the process wrote goes to the test's output.
pub(super) struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command` without an input, its output in `folder`.
    pub(super) fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let stdout = folder.join(format!("{name}.stdout"));
        let stderr = folder.join(format!("{name}.stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("an output file"))
            .stderr(File::create(&stderr).expect("an output file"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// What the process has written to its standard output so far.
    pub(super) fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What the process has written to its standard error so far.
    pub(super) fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// How the process ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child process")
    }

    /// Sends SIGTERM and waits for the end.
    pub(super) fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.send_sigterm();
        let name = self.name.clone();
        eventually(&format!("the end of {name}"), within, || {
            self.ended().ok_or_else(|| "it still runs".to_owned())
        })
    }

    /// Kills it as nothing can be done against.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// The process's id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn send_sigterm(&self) {
        // The standard library sends SIGKILL only, and the shell has `kill` built in wherever there is a shell.
        Command::new("sh")
            .args(["-c", "kill -s TERM \"$1\"", "sh", &self.child.id().to_string()])
            .status()
            .expect("a shell");
    }

    fn show_output(&self) {
        for (stream, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the end of {}'s {stream}:\n{tail}", self.name);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_output();
        }
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A process with children of its own takes them along when it is asked first.
        self.send_sigterm();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program to its end with `input`, and gives what it printed; an exit code other than 0 is `Err` with what it
/// wrote to its standard error.
pub(super) fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", command.get_program().display()))?;
    let mut pipe = child.stdin.take().expect("a piped standard input");
    let input = input.to_owned();
    // A program that writes before it has read everything would otherwise wait for us as we for it.
    let writer = thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let written = writer.join().expect("the writing thread");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    written.map_err(|error| format!("not all of the input was read: {error}"))?;
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
