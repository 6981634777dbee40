//! The program as a process: all of its listeners on free ports, its temporary files in a folder of its own,
//! killed where a test ends before it does.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::http::{self, Answer};

/// How long anything here may take before it counts as never.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Asks again and again until there is something.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Lets the programs that are started hear SIGHUP where these tests were started with it ignored, as by `nohup`: what is
/// caught here is not ignored there.
fn hear_hangups() {
    static HEARD: OnceLock<(tokio::runtime::Runtime, tokio::signal::unix::Signal)> = OnceLock::new();
    HEARD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entered = runtime.enter();
        let hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
        drop(entered);
        (runtime, hangups)
    });
}

/// How the program is to be started.
pub(crate) struct Launch {
    command: Command,
    temporary: TempDir,
    reads_ready_line: bool,
    reads_block: bool,
}

impl Launch {
    /// `serve` on free ports, without a console; it is ready when it says so in its log.
    pub(crate) fn serve() -> Self {
        Self::text(&["serve"]).variable("PUSHPULL_LOG", "json").ready_line()
    }

    /// `collect` on free ports; it is ready when it says so in its log.
    pub(crate) fn collect() -> Self {
        Self::text(&["collect"]).variable("PUSHPULL_LOG", "json").ready_line()
    }

    /// The same under limits that `ulimit` sets before.
    pub(crate) fn collect_under(limits: &str) -> Self {
        let script = format!("{limits} && exec \"$0\" \"$@\"");
        let program = env!("CARGO_BIN_EXE_pushpull");
        let launch = Self::of(Path::new("/bin/sh"), &["-c", &script, program, "collect"]);
        launch.on_free_ports().variable("PUSHPULL_LOG", "json").ready_line()
    }

    /// A command under `nohup`, as it were.
    pub(crate) fn ignoring_hangup(command: &str) -> Self {
        let script = "trap '' HUP; exec \"$0\" \"$@\"";
        let program = env!("CARGO_BIN_EXE_pushpull");
        let launch = Self::of(Path::new("/bin/sh"), &["-c", script, program, command]);
        launch.on_free_ports().variable("PUSHPULL_LOG", "json").ready_line()
    }

    /// `collect` on free ports, which is to end by itself.
    pub(crate) fn collect_at_once() -> Self {
        Self::text(&["collect"])
    }

    /// The program on free ports with the log format that it has by default.
    pub(crate) fn text(arguments: &[&str]) -> Self {
        Self::bare(arguments).on_free_ports()
    }

    fn on_free_ports(mut self) -> Self {
        for listener in ["LISTEN", "OTLP_GRPC", "OTLP_HTTP", "STATSD", "EXPOSITION"] {
            self.command.env(format!("PUSHPULL_{listener}"), "127.0.0.1:0");
        }
        self.variable("PUSHPULL_CONSOLE", "off")
    }

    /// The program with no settings but these.
    pub(crate) fn bare(arguments: &[&str]) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_pushpull")), arguments)
    }

    /// Another program, with no settings but these.
    pub(crate) fn of(program: &Path, arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("TMPDIR", temporary.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, temporary, reads_ready_line: false, reads_block: false }
    }

    /// Writes log lines for people; of its addresses only the service's is known then.
    pub(crate) fn text_log(self) -> Self {
        Self { reads_ready_line: false, reads_block: true, ..self.variable("PUSHPULL_LOG", "text") }
    }

    fn ready_line(mut self) -> Self {
        self.reads_ready_line = true;
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_variable(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs as another user, which root alone can ask for.
    pub(crate) fn run_by(mut self, uid: u32) -> Self {
        self.command.uid(uid);
        self
    }

    /// Pushes to an endpoint of another process.
    pub(crate) fn pushing_to(self, protocol: &str, endpoint: &str) -> Self {
        self.variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{endpoint}"))
    }

    /// Exports ten times a second.
    pub(crate) fn exporting_often(self) -> Self {
        ["OTEL_METRIC_EXPORT_INTERVAL", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"]
            .into_iter()
            .fold(self, |launch, name| launch.variable(name, "100"))
    }

    /// A database operation of a few milliseconds.
    pub(crate) fn quick_database(self) -> Self {
        self.variable("PUSHPULL_DATABASE_WORK", "0.01")
    }

    pub(crate) fn start(mut self) -> Program {
        hear_hangups();
        let mut child = self.command.spawn().unwrap();
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        let mut program =
            Program { child, stdout, stderr, temporary: self.temporary, ready: serde_json::Value::Null };
        if self.reads_ready_line {
            program.ready = eventually("the ready line", || program.ready_line());
        }
        if self.reads_block {
            program.ready = eventually("the start-up text", || program.block());
        }
        program
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Finished {
        let began = Instant::now();
        self.start().finish(began)
    }
}

/// A running process.
pub(crate) struct Program {
    child: Child,
    stdout: Output,
    stderr: Output,
    temporary: TempDir,
    ready: serde_json::Value,
}

impl Program {
    fn ready_line(&mut self) -> Option<serde_json::Value> {
        let stderr = self.stderr.text();
        let lines = stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let ready = lines.map(|mut line| line["fields"].take()).find(|fields| fields["message"] == "ready");
        let ended = self.child.try_wait().unwrap();
        assert!(ready.is_some() || ended.is_none(), "it ended with {ended:?}: {stderr}");
        ready
    }

    fn block(&self) -> Option<serde_json::Value> {
        let text = self.stdout();
        let address = text.split("  service     http://").nth(1)?.split('/').next()?;
        text.ends_with("Ctrl-C stops\n\n").then(|| serde_json::json!({ "service": address }))
    }

    /// The address of a listener, by its name in the ready line.
    pub(crate) fn address(&self, listener: &str) -> String {
        let address = self.ready[listener].as_str();
        address.unwrap_or_else(|| panic!("no {listener} in {}", self.ready)).to_owned()
    }

    pub(crate) fn listens(&self, listener: &str) -> bool {
        self.ready[listener].is_string()
    }

    /// Asks the service.
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::ask(&self.address("service"), &format!("GET {path}"))
    }

    /// Scrapes the collector.
    pub(crate) fn pushed(&self) -> Answer {
        http::ask(&self.address("exposition"), "GET /metrics")
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The names in its temporary folder.
    pub(crate) fn temporary_files(&self) -> Vec<String> {
        let files = self.temporary.path().read_dir().unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        self.signals(&[name]);
    }

    /// Sends signals in one moment.
    pub(crate) fn signals(&self, names: &[&str]) {
        let kills: String = names.iter().map(|name| format!("kill -{name} {};", self.child.id())).collect();
        assert!(Command::new("sh").args(["-c", &kills]).status().unwrap().success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to stop by SIGTERM, and waits until it has.
    pub(crate) fn stop(self) -> Finished {
        self.stop_by("TERM")
    }

    pub(crate) fn stop_by(self, signal: &str) -> Finished {
        let began = Instant::now();
        self.signal(signal);
        self.finish(began)
    }

    /// Waits until it has ended by itself; `began` is where its time is counted from.
    pub(crate) fn finish(mut self, began: Instant) -> Finished {
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        let took = began.elapsed();
        for output in [&mut self.stdout, &mut self.stderr] {
            output.reader.take().unwrap().join().unwrap();
        }
        let (stdout, stderr) = (self.stdout(), self.stderr());
        Finished { status, took, stdout, stderr, left_behind: self.temporary_files() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Finished {
    status: ExitStatus,
    pub(crate) took: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) left_behind: Vec<String>,
}

impl Finished {
    /// Exit code 0, and no temporary file left.
    pub(crate) fn assert_orderly(&self) {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        assert_eq!(self.left_behind, [""; 0], "{self:?}");
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// An exit code and nothing on standard output; returns the message.
    pub(crate) fn failure(&self, code: i32) -> &str {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert_eq!(self.stdout, "");
        assert_eq!(self.left_behind, [""; 0], "{self:?}");
        &self.stderr
    }
}

/// What a process writes, read by a thread as it comes.
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 0 {
                written.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}
