//! The database with its pool and its queue: what is measured however an operation ends, what each fault does and
//! leaves behind, and what a bad database gets. On `SQLite`; `tests/peers/postgres.rs` has the same of `PostgreSQL`.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "database/support.rs"]
mod support;

#[path = "database/faults.rs"]
mod faults;
#[path = "database/files.rs"]
mod files;
#[path = "database/measured.rs"]
mod measured;
