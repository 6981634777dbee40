//! Log lines on their way to an output that may take none: a bounded queue, and a thread that writes.
//!
//! It must not make whoever logs wait, and must not fill an output: lines that do not fit are dropped and counted, and of
//! one kind so many are written a minute. Of both the log itself has the number.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    registry::LookupSpan,
};

/// The most bytes that wait.
const MOST_BYTES: usize = 256 * 1024;
/// So many lines of one kind, that is from one place of the program, are written in each [`WINDOW`].
const MOST_LINES: u64 = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// How often the log is looked at for what it leaves out.
const EVERY: Duration = Duration::from_secs(1);
/// Characters of a line that is left out by which its kind is named.
const NAME_LENGTH: usize = 80;

/// Lines that this process dropped, since its output took none.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Lines that this process left out, since there were too many of their kind.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// How many log lines of this process were not written, by reason.
#[must_use]
pub fn lines_not_written() -> [(&'static str, u64); 2] {
    [("output_stalled", DROPPED.load(Ordering::Relaxed)), ("rate_limit", LEFT_OUT.load(Ordering::Relaxed))]
}

/// The queue; cheap to clone.
#[derive(Clone)]
pub struct LogLines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line is being written.
    is_writing: bool,
    /// Lines that were dropped and not named yet.
    dropped: u64,
}

/// What was written of one kind of lines.
struct Kind {
    since: Instant,
    lines: u64,
    left_out: u64,
    /// The beginning of the last that was left out.
    like: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for LogLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLines").finish_non_exhaustive()
    }
}

impl LogLines {
    /// A queue in front of `output`, which is written to by a thread that lives as long as the process.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let written = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || written.write_all(output))?;
        Ok(lines)
    }

    /// The rate limit of these lines.
    #[must_use]
    pub fn limit(&self) -> Limit {
        Limit(Arc::clone(&self.0))
    }

    /// Waits until everything is written, but no longer than that.
    pub fn flush(&self, within: Duration) {
        self.name_left_out(Duration::ZERO);
        let waiting = locked(&self.0.waiting);
        let busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        drop(self.0.changed.wait_timeout_while(waiting, within, busy));
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = locked(&self.0.waiting);
        if waiting.bytes + line.len() > MOST_BYTES {
            waiting.dropped += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        drop(waiting);
        self.0.changed.notify_all();
    }

    fn write_all(&self, mut output: impl Write) {
        let mut looked = Instant::now();
        loop {
            if let Some(line) = self.next() {
                // Whoever read it may have gone; nobody else is there to be told.
                let _ = output.write_all(&line).and_then(|()| output.flush());
                let mut waiting = locked(&self.0.waiting);
                waiting.is_writing = false;
                let dropped = std::mem::take(&mut waiting.dropped);
                drop(waiting);
                self.0.changed.notify_all();
                if dropped > 0 {
                    tracing::warn!(
                        lines = dropped,
                        "log lines were dropped, since the log's output took none"
                    );
                }
            }
            if looked.elapsed() >= EVERY {
                self.name_left_out(WINDOW);
                looked = Instant::now();
            }
        }
    }

    /// The next line, where there is one soon.
    fn next(&self) -> Option<Vec<u8>> {
        let waiting = locked(&self.0.waiting);
        let waited = self.0.changed.wait_timeout_while(waiting, EVERY, |waiting| waiting.lines.is_empty());
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let line = waiting.lines.pop_front()?;
        waiting.bytes -= line.len();
        waiting.is_writing = true;
        Some(line)
    }

    /// Names the kinds of which lines were left out, once their window is `over`.
    fn name_left_out(&self, over: Duration) {
        let mut named = Vec::new();
        locked(&self.0.kinds).retain(|_, kind| {
            if kind.since.elapsed() < over {
                return true;
            }
            if kind.left_out > 0 {
                named.push((kind.left_out, std::mem::take(&mut kind.like)));
            }
            kind.left_out = 0;
            over.is_zero()
        });
        for (lines, like) in named {
            tracing::warn!(lines, like, "further log lines of one kind were left out");
        }
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Takes whole lines: `tracing-subscriber` writes each at once.
impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The rate limit. Debug lines are for who asked for all of them.
#[derive(Clone)]
pub struct Limit(Arc<Shared>);

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").finish_non_exhaustive()
    }
}

impl Limit {
    /// Whether an event is written; else it is counted.
    fn lets_through(&self, event: &Event<'_>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let mut kinds = locked(&self.0.kinds);
        let now = Instant::now();
        let new = || Kind { since: now, lines: 0, left_out: 0, like: String::new() };
        let kind = kinds.entry(event.metadata().callsite()).or_insert_with(new);
        // What was left out is named before a new window begins.
        if kind.left_out == 0 && now.saturating_duration_since(kind.since) >= WINDOW {
            *kind = new();
        }
        if kind.lines < MOST_LINES {
            kind.lines += 1;
            return true;
        }
        kind.left_out += 1;
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        if kind.like.is_empty() {
            event.record(&mut Like(&mut kind.like));
        }
        false
    }
}

/// A format that makes nothing of lines beyond the limit. A filter in its place could not see single events.
#[derive(Clone, Debug)]
pub struct Limited<F>(pub Limit, pub F);

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.0.lets_through(event) { self.1.format_event(context, writer, event) } else { Ok(()) }
    }
}

/// The beginning of an event's message.
struct Like<'a>(&'a mut String);

impl Visit for Like<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}").chars().take(NAME_LENGTH).collect();
        }
    }
}
