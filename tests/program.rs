//! The program itself, as a process over real sockets: what it answers, sends, prints, refuses, and how it
//! stops.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "program/http.rs"]
mod http;
#[path = "program/process.rs"]
mod process;
#[path = "program/receiver.rs"]
mod receiver;
#[path = "program/watcher.rs"]
mod watcher;

#[path = "program/announced.rs"]
mod announced;
#[path = "program/collect.rs"]
mod collect;
#[path = "program/console.rs"]
mod console;
#[path = "program/database.rs"]
mod database;
#[path = "program/delivery.rs"]
mod delivery;
#[path = "program/example.rs"]
mod example;
#[path = "program/faults.rs"]
mod faults;
#[path = "program/guard.rs"]
mod guard;
#[path = "program/hosts.rs"]
mod hosts;
#[path = "program/input.rs"]
mod input;
#[path = "program/knocking.rs"]
mod knocking;
#[path = "program/load.rs"]
mod load;
#[path = "program/localhost.rs"]
mod localhost;
#[path = "program/logs.rs"]
mod logs;
#[path = "program/pages.rs"]
mod pages;
#[path = "program/push.rs"]
mod push;
#[path = "program/reload.rs"]
mod reload;
#[path = "program/routes.rs"]
mod routes;
#[path = "program/scopes.rs"]
mod scopes;
#[path = "program/scrape.rs"]
mod scrape;
#[path = "program/silence.rs"]
mod silence;
#[path = "program/stalled.rs"]
mod stalled;
#[path = "program/startup.rs"]
mod startup;
#[path = "program/stop.rs"]
mod stop;
#[path = "program/tls.rs"]
mod tls;
#[path = "program/variables.rs"]
mod variables;
