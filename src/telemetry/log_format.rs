//! Log lines for a terminal or a log shipper, each with the trace and span id of where it was written.

use std::{
    fmt::{self, Write as _},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, InstrumentationScope,
    logs::LogRecord as _,
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `TIME LEVEL target: message key=value trace_id=… span_id=…`
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `fields`, `trace_id`, `span_id`.
    Json,
}

/// Formats events with the ids of the current OpenTelemetry span, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct WithIds(pub LogFormat);

impl<S, N> FormatEvent<S, N> for WithIds
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = Context::map_current(|context| context.span().span_context().clone());
        match self.0 {
            LogFormat::Text => text(writer, event, &fields, &span),
            LogFormat::Json => json(writer, event, fields, &span),
        }
    }
}

fn text(mut writer: Writer<'_>, event: &Event<'_>, fields: &Fields, span: &SpanContext) -> fmt::Result {
    let metadata = event.metadata();
    let (dim, color, plain) = match (writer.has_ansi_escapes(), *metadata.level()) {
        (false, _) => ("", "", ""),
        (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
    };
    write!(writer, "{dim}{}{plain} {color}{:5}{plain} ", now(), metadata.level())?;
    write!(writer, "{dim}{}:{plain}", metadata.target())?;
    if let Some(message) = fields.0.get("message") {
        write!(writer, " {}", one_line(message))?;
    }
    for (name, value) in fields.0.iter().filter(|(name, _)| *name != "message") {
        write!(writer, " {dim}{name}={plain}{}", one_line(value))?;
    }
    if span.is_valid() {
        write!(writer, " {dim}trace_id={} span_id={}{plain}", span.trace_id(), span.span_id())?;
    }
    writeln!(writer)
}

/// Texts stand without quotes; a control character in one cannot forge another line or colour the terminal.
fn one_line(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut line, c| {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
        line
    })
}

fn json(mut writer: Writer<'_>, event: &Event<'_>, fields: Fields, span: &SpanContext) -> fmt::Result {
    let metadata = event.metadata();
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), now().into());
    line.insert("level".to_owned(), metadata.level().as_str().into());
    line.insert("target".to_owned(), metadata.target().into());
    line.insert("fields".to_owned(), Value::Object(fields.0));
    if span.is_valid() {
        line.insert("trace_id".to_owned(), span.trace_id().to_string().into());
        line.insert("span_id".to_owned(), span.span_id().to_string().into());
    }
    writeln!(writer, "{}", Value::Object(line))
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        // Events of the `log` crate carry where they come from as fields; the target says it already.
        if !field.name().starts_with("log.") {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string cannot fail, but for a value whose own formatting does.
        let _ = write!(text, "{value:?}");
        self.add(field, text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
}

/// Takes the event name from log records that were given none: `tracing` makes one of the source file's path.
#[derive(Debug)]
pub(super) struct Unnamed;

impl LogProcessor for Unnamed {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        if record.event_name().is_some_and(|name| name.starts_with("event ")) {
            record.set_event_name("");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
