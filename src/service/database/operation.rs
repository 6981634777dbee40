//! What is told of one operation: its span, its measurements, once, however it ends.
//!
//! Must not touch the database.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicI64, Ordering},
};

use opentelemetry::KeyValue;
use tokio::time::Instant;
use tracing::{Span, field};

use super::{
    error::{CANCELLED, OperationError},
    instruments::Instruments,
};

/// What is the same of all operations.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) system: &'static str,
    pub(super) text: &'static str,
    /// Of a database that is behind a socket.
    pub(super) server: Option<Remote>,
}

/// A server's address and the database on it.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) namespace: String,
}

impl Description {
    /// As attributes of a metric.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("db.system.name", self.system),
            KeyValue::new("db.operation.name", "SELECT"),
            KeyValue::new("db.collection.name", "reading"),
        ];
        if let Some(server) = &self.server {
            attributes.extend([
                KeyValue::new("db.namespace", server.namespace.clone()),
                KeyValue::new("server.address", server.address.clone()),
                KeyValue::new("server.port", i64::from(server.port)),
            ]);
        }
        attributes
    }

    fn span(&self) -> Span {
        let server = self.server.as_ref();
        tracing::info_span!(
            "SELECT reading",
            otel.kind = "client",
            db.system.name = self.system,
            db.operation.name = "SELECT",
            db.collection.name = "reading",
            db.query.text = self.text,
            db.namespace = server.map(|server| server.namespace.as_str()),
            server.address = server.map(|server| server.address.as_str()),
            server.port = server.map(|server| i64::from(server.port)),
            db.response.status_code = field::Empty,
            error.r#type = field::Empty,
            otel.status_code = field::Empty,
        )
    }
}

/// An operation that has begun. Dropped before its end, it was cancelled.
pub(super) struct Operation<'a> {
    instruments: &'a Instruments,
    /// Never entered while the operation runs: `SQLite`'s thread would keep it, and so could end it after its parent.
    span: Span,
    began: Instant,
    at_the_database: Option<Instant>,
    ended: bool,
}

impl<'a> Operation<'a> {
    pub(super) fn begin(instruments: &'a Instruments, description: &Description) -> Self {
        let span = description.span();
        Self { instruments, span, began: Instant::now(), at_the_database: None, ended: false }
    }

    /// It has its connection.
    pub(super) fn connected(&mut self) {
        let now = Instant::now();
        self.instruments.waited(now - self.began);
        self.at_the_database = Some(now);
    }

    /// No connection could be made; it was tried from `began` on.
    pub(super) fn refused(&mut self, began: Instant) {
        self.at_the_database = Some(began);
    }

    pub(super) fn end(mut self, error: Option<&OperationError>) {
        match error {
            None => {
                self.ended = true;
                self.instruments.succeeded(self.time().unwrap_or_default());
                self.span.in_scope(|| ());
            }
            Some(error) => self.fail(&error.kind(), error.status_code()),
        }
    }

    fn fail(&mut self, error_type: &str, status_code: Option<Cow<'static, str>>) {
        self.ended = true;
        self.instruments.failed(self.time(), error_type, status_code.as_deref());
        self.span.record("error.type", error_type);
        self.span.record("otel.status_code", "ERROR");
        if let Some(code) = status_code {
            self.span.record("db.response.status_code", &*code);
        }
        // The span's end is when it was last left.
        self.span.in_scope(|| ());
    }

    fn time(&self) -> Option<std::time::Duration> {
        self.at_the_database.map(|since| since.elapsed())
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.fail(CANCELLED, None);
        }
    }
}

/// A place in the queue, counted for as long as it is taken.
pub(super) struct Pending<'a>(&'a AtomicI64);

impl<'a> Pending<'a> {
    pub(super) fn new(pending: &'a AtomicI64) -> Self {
        pending.fetch_add(1, Ordering::Relaxed);
        Self(pending)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
