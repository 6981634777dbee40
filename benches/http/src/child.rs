//! The process that has one layer: what it does, and how the measuring process talks to it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _, stdin},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use axum::{Router, serve::ListenerExt as _};
use http_bench::{
    layers::Layer,
    pipeline::{self, Spans},
    requests::Requests,
};
use tokio::{net::TcpListener, runtime::Builder};

use crate::{cores::Core, sink::Sink};

/// Long enough for the spans of a burst to be exported.
const PAUSE: Duration = Duration::from_millis(8);
/// The same where each instruction takes fifty times as long.
const PAUSE_UNDER_VALGRIND: Duration = Duration::from_secs(2);

/// What a child does; `arguments` are its role, the application as of [`of`], and what the role needs.
pub(crate) fn run(arguments: &[&str]) {
    match arguments {
        ["in-process", app @ ..] => {
            // What exports and reads is on the other core, as its threads are started from there.
            Core::Second.move_here();
            let app = application(app);
            Core::First.move_here();
            let mut requests = Requests::to(app, PAUSE);
            for bursts in stdin().lines() {
                let nanoseconds = requests.nanoseconds(bursts.unwrap().parse().unwrap());
                println!("{nanoseconds} {}", pipeline::discarded());
            }
        }
        ["serve", app @ ..] => {
            Core::First.move_here();
            let app = application(app);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                println!("{}", listener.local_addr().unwrap());
                let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
                axum::serve(listener, app).await.unwrap();
            });
        }
        ["count", app @ .., bursts] => {
            let app = application(app);
            Requests::to(app, PAUSE_UNDER_VALGRIND).nanoseconds(bursts.parse().unwrap());
        }
        other => panic!("no child does {other:?}"),
    }
}

/// The application that [`of`] names.
fn application(arguments: &[&str]) -> Router {
    let [layer, spans, sink] = arguments else { panic!("no application is {arguments:?}") };
    layer.parse::<Layer>().unwrap().app(spans.parse().unwrap(), sink.parse().unwrap())
}

/// The arguments of an application.
pub(crate) fn of(layer: Layer, spans: Spans, sink: &Sink) -> [String; 3] {
    [layer.to_string(), spans.to_string(), sink.address().to_string()]
}

/// A running child, until it is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Child {
    pub(crate) fn spawn(role: &str, layer: Layer, spans: Spans, sink: &Sink) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["child", role])
            .args(of(layer, spans, sink))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let questions = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, questions, answers }
    }

    /// Its next line of output after `question`.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        writeln!(self.questions, "{question}").unwrap();
        self.line()
    }

    /// Its next line of output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).unwrap();
        assert_ne!(read, 0, "a child ended");
        line.trim_end().to_owned()
    }

    /// Processor time that all its threads used so far, in user and in kernel mode.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The second field, in parentheses, may have blanks; the 14th and 15th are counted in hundredths.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let used = fields.split_whitespace().skip(11).take(2);
        used.map(|hundredths| hundredths.parse::<f64>().unwrap() / 100.0).sum()
    }
}
