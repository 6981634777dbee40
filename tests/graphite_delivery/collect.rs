//! The program as a process, what is sent to it, and what it says of itself.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex},
    thread::{self, JoinHandle},
};

use serde_json::Value;

use crate::points::{Batch, PATIENCE, eventually};

/// A running `pushpull collect`; dropping it kills it.
pub(crate) struct Collect {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    ready: Value,
    client: reqwest::blocking::Client,
}

impl Collect {
    /// On free ports, with these flags, once it is ready.
    pub(crate) fn start(flags: &str) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_pushpull")), flags)
    }

    /// The same by a command that runs the program with the arguments that it gets.
    pub(crate) fn start_as(command: Command, flags: &str) -> Self {
        let mut collect = Self::spawn(command, flags);
        collect.await_ready();
        collect
    }

    /// On free ports; nothing is known of it yet.
    pub(crate) fn begin(flags: &str) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_pushpull")), flags)
    }

    fn await_ready(&mut self) {
        let collect = self;
        collect.ready = eventually("the ready line", || {
            let ended = collect.child.try_wait().unwrap();
            let log = collect.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let ready = lines.map(|mut line| line["fields"].take()).find(|line| line["message"] == "ready");
            assert!(ready.is_some() || ended.is_none(), "it ended with {ended:?}: {log}");
            ready
        });
    }

    /// Runs it with flags that make it end at once; its exit code and what it said.
    pub(crate) fn refused(flags: &str) -> (Option<i32>, String) {
        let mut collect = Self::begin(flags);
        let status = collect.ended();
        (status.code(), collect.log())
    }

    fn spawn(mut command: Command, flags: &str) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).args(["collect", "--log", "json"]);
        for listener in ["--otlp-grpc", "--otlp-http", "--statsd", "--exposition"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.args(flags.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (written, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader: Some(reader), ready: Value::Null, client: client() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until this is in the log, which is written a moment later.
    pub(crate) fn logs(&self, text: &str) {
        eventually(text, || self.log().contains(text).then_some(()));
    }

    /// Where a listener listens, by its name in the ready line.
    pub(crate) fn address(&self, listener: &str) -> &str {
        self.ready[listener].as_str().unwrap()
    }

    /// Sends a batch; the status of the answer, or `None` where there was none.
    pub(crate) fn send(&self, batch: &Batch) -> Option<u16> {
        self.post(batch.body())
    }

    /// Sends a request; likewise.
    pub(crate) fn post(&self, body: Vec<u8>) -> Option<u16> {
        let url = format!("http://{}/v1/metrics", self.address("otlp_http"));
        let request = self.client.post(url).header("content-type", "application/x-protobuf");
        Some(request.body(body).send().ok()?.status().as_u16())
    }

    /// Sends a batch that is taken.
    pub(crate) fn take(&self, batch: &Batch) {
        assert_eq!(self.send(batch), Some(200), "batch {}: {}", batch.number, self.log());
    }

    /// Asks the exposition; the status and the body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address("exposition"));
        let answer = self.client.get(url).send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }

    /// The sum of the collector's own samples of that name whose labels contain `label`.
    pub(crate) fn own(&self, name: &str, label: &str) -> u64 {
        let (_, text) = self.get("/metrics");
        let prefix = format!("pushpull_collector_{name}{{");
        let samples = text.lines().filter(|line| line.starts_with(&prefix) && line.contains(label));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Lets none of its files grow beyond that many bytes, or `unlimited`.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let process = self.id().to_string();
        let limited =
            Command::new("prlimit").args(["--pid", &process]).arg(format!("--fsize={bytes}:")).status();
        assert!(limited.unwrap().success());
    }

    /// Kills it as nothing can be done against.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop; what it logged.
    pub(crate) fn stop(mut self) -> String {
        let id = self.id().to_string();
        assert!(
            Command::new("sh").args(["-c", "kill -s TERM \"$1\"", "sh", &id]).status().unwrap().success()
        );
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        status
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- pushpull said:\n{}", self.log());
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What asks and sends.
pub(crate) fn client() -> reqwest::blocking::Client {
    static CLIENT: LazyLock<reqwest::blocking::Client> = LazyLock::new(|| {
        // In the product it is the command that installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::blocking::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
    });
    CLIENT.clone()
}

/// The program, for which a file that may not grow is an error and not its end.
pub(crate) fn without_file_signal() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pushpull")]);
    command
}

/// The flags for a spool in `folder` and a carbon at `address`.
pub(crate) fn spooling(folder: &Path, address: impl std::fmt::Display) -> String {
    format!("--spool {} --graphite {address} --stop-within 1s", folder.display())
}
