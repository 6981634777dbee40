//! Typed settings from flags and variables: what each command needs to know, checked before anything starts.
//!
//! Must not read the process's environment itself (the caller hands it in), open a socket or a file, or depend
//! on another module of the crate. The standard `OTEL_*` variables are not read here.

mod arguments;
mod collector;
mod console;
mod cors;
pub mod faults;
mod flag;
mod flags;
mod forward;
mod hosts;
mod invalid;
mod lines;
mod listen;
mod pages;
mod program;
mod reader;
mod statsd;
mod suggested;
mod targets;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use console::{ConsoleLink, ConsolePage};
pub use forward::{ForwardProtocol, ForwardSignals, ForwardTarget, ForwardTemporality};
pub use invalid::{Invalid, Problem};
pub use lines::{ExpositionLabels, GraphiteLines, GraphiteNames, Pattern};
pub(crate) use listen::is_localhost;
pub use listen::{Console, Listen};
pub use statsd::{StatsdExpiry, StatsdTags};
pub use targets::{DatabaseUrl, GraphiteTarget};

use arguments::Request;
use flag::Flag;
use invalid::Fault;
use program::Name;
use reader::{Reader, Variables};

/// What the command line asks for.
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Run a command with these settings.
    Run(Settings),
    /// `--help`, `--version` and the commands that explain the program: print this text on standard output and
    /// exit with 0.
    Print(String),
}

/// The settings of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Form of the log lines.
    pub log: LogFormat,
    /// The command and its own settings.
    pub command: Command,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A command and its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `pushpull serve`, the default: the service.
    Serve(Serve),
    /// `pushpull collect`: the collector by itself.
    Collect(Collect),
    /// `pushpull health`: ask whether a service is well.
    Health(Health),
    /// `pushpull load`: send requests to a service, and check its pages.
    Load(Load),
    /// `pushpull mixin`: write rules, alerts and dashboards.
    Mixin(Mixin),
}

/// Settings of `serve`.
#[derive(Debug, Clone, PartialEq)]
pub struct Serve {
    /// Address of the service, over TCP.
    pub listen: Listen,
    /// Address of the console.
    pub console: Console,
    /// What the console's page needs beside its address.
    pub console_page: ConsolePage,
    /// The database; a temporary `SQLite` file where there is none.
    pub database: Option<DatabaseUrl>,
    /// Connections to the database, 1 to 1024.
    pub database_pool: u32,
    /// Requests that may wait for a connection, 0 (none waits) to 100000.
    pub database_queue: usize,
    /// Longest wait for a connection and its query, 1 ms to 1 h.
    pub database_timeout: Duration,
    /// Work of the expensive query, above 0 and up to 1000; 1 is about 250 ms.
    pub database_work: f64,
    /// Longest time that stopping takes, 100 ms to 1 h.
    pub stop_within: Duration,
    /// What an answer may take, 1 ms to 10 s.
    pub objective: Duration,
    /// Requests a second that are sent to the service itself, 0 (none) to 10000.
    pub load: f64,
    /// Time between two checks of each page, 100 ms to 1 h; none where it is off.
    pub probe: Option<Duration>,
    /// What goes wrong from the start on, each fault at most once.
    pub faults: Vec<faults::Order>,
    /// Settings of the embedded collector.
    pub collector: CollectorSettings,
}

/// Settings of `collect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Collect {
    /// What the embedded collector has too.
    pub collector: CollectorSettings,
    /// Address of the console; none where it is off.
    pub console: Option<Listen>,
    /// What the console's page needs beside its address; it reads no pushed values from elsewhere.
    pub console_page: ConsolePage,
    /// Longest time that stopping takes, 100 ms to 1 h.
    pub stop_within: Duration,
    /// With what OTLP is received over TLS; without TLS where there is none.
    pub tls: Option<TlsFiles>,
    /// Only try what the settings name.
    pub check: bool,
}

/// The files of a listener with TLS, each in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates; clients need none where there are none.
    pub client_ca: Option<PathBuf>,
}

/// Settings of a collector, embedded or by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorSettings {
    /// Receives OTLP/gRPC, over TCP.
    pub otlp_grpc: Listen,
    /// Receives OTLP/HTTP, over TCP.
    pub otlp_http: Listen,
    /// Receives `StatsD`, over UDP; none where it is off.
    pub statsd: Option<Listen>,
    /// Time between two points of a `StatsD` series, 10 ms to 1 h.
    pub statsd_flush: Duration,
    /// How long a `StatsD` series stays that nobody sends, 1 s to 10 years.
    pub statsd_expiry: StatsdExpiry,
    /// Which tags in the names of `StatsD` are read.
    pub statsd_tags: StatsdTags,
    /// Whether Graphite gets what statsd's own daemon would write, too.
    pub statsd_names: Option<StatsdNames>,
    /// Serves the Prometheus exposition, over TCP.
    pub exposition: Listen,
    /// The labels that it adds to those of the points.
    pub exposition_labels: ExpositionLabels,
    /// Graphite: standard output alone, or addresses of which a later one is for fail-over; empty for none.
    pub graphite: Vec<GraphiteTarget>,
    /// What is written to Graphite, and under which names.
    pub graphite_lines: GraphiteLines,
    /// Keeps on disk what waits for Graphite; in memory where there is none.
    pub spool: Option<SpoolSettings>,
    /// How long what was written to Graphite is kept to be written again, 1 s to 1 h.
    pub graphite_replay: Duration,
    /// OTLP endpoints to which everything is sent on; empty for none.
    pub forward: Vec<ForwardTarget>,
    /// What deltas are sent on as.
    pub forward_temporality: ForwardTemporality,
    /// Origins of web pages that may send OTLP over HTTP: `*`, or as browsers write them; empty for none.
    pub otlp_cors: Vec<String>,
    /// Host names that every listener over HTTP answers to in addition to loopback names: `*` for any, or as browsers
    /// write them, without port.
    pub allowed_hosts: Vec<String>,
    /// Bytes that the queue of each sink may hold, 64 KiB to 64 GiB.
    pub queue_limit: usize,
    /// Series that are held, 1 to 100000000.
    pub max_series: usize,
    /// Upper bounds of buckets in seconds: 1 to 200, finite, not negative, strictly ascending.
    pub histogram_bounds: Vec<f64>,
}

/// The two sets of names that statsd's own daemon has for Graphite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsdNames {
    /// `stats.NAME` and `stats_counts.NAME`; its default.
    Legacy,
    /// `stats.counters.NAME.rate` and `.count`; its `legacyNamespace: false`.
    New,
}

/// Settings of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Its folder, made where it is not there.
    pub folder: PathBuf,
    /// Bytes that it may take on the disk, 1 MiB to 16 TiB.
    pub limit: usize,
    /// How long a point may wait there, 1 min to 365 days; none where it is off.
    pub age: Option<Duration>,
}

/// Settings of `mixin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixin {
    /// The mixin's folder, made where it is not there.
    pub folder: PathBuf,
}

/// Settings of `health`.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// What to ask: an `http` or `https` URL without user, query and fragment.
    pub url: Url,
}

/// Settings of `load`.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The service, as `HOST:PORT`.
    pub authority: String,
    /// Requests a second, 0 (none) to 10000.
    pub rps: f64,
    /// Time between two checks of each page, 100 ms to 1 h; none where it is off.
    pub probe: Option<Duration>,
}

/// Reads the settings from the arguments (the program's name first, as in [`std::env::args_os`]) and the
/// environment (as in [`std::env::vars_os`]). A flag wins over its variable; an empty variable counts as not
/// set. A name to listen on is resolved.
///
/// # Errors
///
/// All that is wrong, at once.
pub fn from_args(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Outcome, Invalid> {
    let variables = Variables::of(environment);
    let mut problems = Vec::new();
    let request = arguments::parse(arguments.into_iter().skip(1).collect(), &mut problems);
    let outcome = match request {
        Some(Request::Print(text)) => return Ok(Outcome::Print(text)),
        Some(Request::Run(arguments)) => {
            let mut reader = Reader::new(&arguments, &variables);
            let outcome = reader.outcome(arguments.command);
            problems.append(&mut reader.problems);
            outcome
        }
        None => None,
    };
    // What only explains the program is printed in any environment.
    if !matches!(outcome, Some(Outcome::Print(_))) {
        problems.extend(variables.unknown());
    }
    match outcome {
        Some(outcome) if problems.is_empty() => Ok(outcome),
        _ => Err(Invalid(problems)),
    }
}

/// The requests a second of a load, 0 to 10000.
///
/// # Errors
///
/// What is wrong with the text.
pub fn load(text: &str) -> Result<f64, Problem> {
    rate(text).map_err(|fault| fault.of("rps", Some(text)))
}

fn rate(text: &str) -> Result<f64, Fault> {
    values::number(text, 0.0..=MOST_LOAD)
}

/// The most requests a second that the built-in load may send.
const MOST_LOAD: f64 = 10_000.0;

/// The longest time that any setting takes.
const LONGEST: Duration = Duration::from_secs(3600);
/// The highest finite bound of the buckets that the objective is counted by.
const LONGEST_OBJECTIVE: Duration = Duration::from_secs(10);

// Each function reads all of its settings before a bad one ends it, so that every bad one is noted.
impl Reader<'_> {
    fn outcome(&mut self, name: Name) -> Option<Outcome> {
        match name {
            Name::Serve => self.run(|reader| reader.serve().map(Command::Serve)),
            Name::Collect => self.run(|reader| reader.collect().map(Command::Collect)),
            Name::Health => self.run(|reader| {
                let url = reader.read_positional(&program::HEALTH_URL, |given| targets::health(given.text));
                url.map(|url| Command::Health(Health { url }))
            }),
            Name::Load => self.run(|reader| reader.load().map(Command::Load)),
            Name::Mixin => self.run(|reader| {
                let folder =
                    reader.read_positional(&program::MIXIN_DIR, |given| Ok(PathBuf::from(given.text)));
                folder.map(|folder| Command::Mixin(Mixin { folder }))
            }),
            Name::Completions => {
                let shell = self.read_positional(&program::SHELL, |given| pages::shell(given.text));
                shell.map(|shell| Outcome::Print(pages::completions(shell)))
            }
            Name::Man => Some(Outcome::Print(pages::man())),
            Name::Help if self.is_given(program::TOPIC.name) => {
                let topic = self.read_positional(&program::TOPIC, |given| pages::topic(given.text));
                topic.map(|topic| Outcome::Print(pages::help(Some(topic))))
            }
            Name::Help => Some(Outcome::Print(pages::help(None))),
        }
    }

    /// A command that runs, with the settings that each such command has.
    fn run(&mut self, command: impl FnOnce(&mut Self) -> Option<Command>) -> Option<Outcome> {
        let log = self.read(&flags::LOG, |given| {
            values::word(given.text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        });
        let command = command(self);
        Some(Outcome::Run(Settings { log: log?, command: command? }))
    }

    fn serve(&mut self) -> Option<Serve> {
        let listen = self.listen(&flags::LISTEN);
        let console = self.listen_or_off(&flags::CONSOLE);
        let console_page = self.console_page(&flags::CONSOLE_TOKEN_FILE, &flags::CONSOLE_LINKS);
        let console_pushed =
            self.read_if_given(&flags::CONSOLE_PUSHED, |given| targets::exposition(given.text));
        let stop_within = self.stop_within(&flags::STOP_WITHIN);
        let database = self.read_if_given(&flags::DATABASE, |given| targets::database(given.text));
        let database_pool = self.read(&flags::DATABASE_POOL, |given| values::count(given.text, 1..=1024));
        let database_queue =
            self.read(&flags::DATABASE_QUEUE, |given| values::count(given.text, 0..=100_000));
        let database_timeout = self.time(&flags::DATABASE_TIMEOUT, Duration::from_millis(1));
        let database_work = self.read(&flags::DATABASE_WORK, |given| values::positive(given.text, 1000.0));
        let objective = self.read(&flags::OBJECTIVE, |given| {
            values::time(given.text, Duration::from_millis(1)..=LONGEST_OBJECTIVE)
        });
        let load = self.read(&flags::LOAD, |given| rate(given.text));
        let probe = self.probe(&flags::PROBE);
        let faults = self.faults();
        // A default port of the embedded collector or of the console gives way where it is taken.
        let others =
            [listen.as_ref(), console.as_ref().and_then(Option::as_ref).filter(|listen| listen.given)];
        let collector = self.collector(&flags::EXPOSITION_SCOPE, |listen| listen.given, others);
        Some(Serve {
            listen: listen?,
            console: match console? {
                None => Console::Off,
                Some(listen) if listen.given => Console::Given(listen),
                Some(listen) => Console::Default(listen),
            },
            console_page: ConsolePage { pushed: console_pushed?, ..console_page? },
            database: database?,
            database_pool: database_pool?,
            database_queue: database_queue?,
            database_timeout: database_timeout?,
            database_work: database_work?,
            stop_within: stop_within?,
            objective: objective?,
            load: load?,
            probe: probe?,
            faults: faults?,
            collector: collector?,
        })
    }

    fn load(&mut self) -> Option<Load> {
        let authority = self.read_positional(&program::LOAD_URL, |given| targets::service(given.text));
        let rps = self.read(&flags::RPS, |given| rate(given.text));
        let probe = self.probe(&flags::LOAD_PROBE);
        Some(Load { authority: authority?, rps: rps?, probe: probe? })
    }

    fn probe(&mut self, flag: &Flag) -> Option<Option<Duration>> {
        self.read(flag, |given| values::time_or_off(given.text, Duration::from_millis(100)..=LONGEST))
    }

    fn faults(&mut self) -> Option<Vec<faults::Order>> {
        let orders = self.read_all(&flags::FAULT, |given| faults::order(given.text))?;
        let repeated = faults::repeated(&orders).into_iter().map(|fault| fault.of(flags::FAULT.long, None));
        self.problems.extend(repeated);
        Some(orders)
    }

    fn collect(&mut self) -> Option<Collect> {
        let console = self.listen_or_off(&flags::COLLECT_CONSOLE);
        let console_page =
            self.console_page(&flags::COLLECT_CONSOLE_TOKEN_FILE, &flags::COLLECT_CONSOLE_LINKS);
        let stop_within = self.stop_within(&flags::COLLECT_STOP_WITHIN);
        let tls = self.tls();
        let check = self.is_given(flags::CHECK.name());
        let others = [console.as_ref().and_then(Option::as_ref), None];
        let collector = self.collector(&flags::COLLECT_EXPOSITION_SCOPE, |_| true, others);
        Some(Collect {
            collector: collector?,
            console: console?,
            console_page: console_page?,
            stop_within: stop_within?,
            tls: tls?,
            check,
        })
    }

    fn listen(&mut self, flag: &Flag) -> Option<Listen> {
        self.read(flag, |given| listen::listen(flag, given, flag.example()))
    }

    fn listen_or_off(&mut self, flag: &Flag) -> Option<Option<Listen>> {
        self.read(flag, |given| listen::listen_or_off(flag, given, flag.example()))
    }

    fn stop_within(&mut self, flag: &Flag) -> Option<Duration> {
        self.time(flag, Duration::from_millis(100))
    }

    fn time(&mut self, flag: &Flag, shortest: Duration) -> Option<Duration> {
        self.read(flag, |given| values::time(given.text, shortest..=LONGEST))
    }
}
