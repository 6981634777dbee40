//! Reads the TLS files and the console's token again when `pushpull collect` receives SIGHUP.
//!
//! A file that cannot be used changes nothing: the program goes on with what it had.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use super::{signals::Hangup, token};
use crate::{
    config::{Collect, TlsFiles},
    console::Token,
    net::Tls,
};

/// The files that were read at the start, and what was made of them.
pub(super) struct Reload {
    tls: Option<(Tls, TlsFiles)>,
    token: Option<(Token, PathBuf)>,
    /// One at a time.
    running: Mutex<()>,
}

impl Reload {
    pub(super) fn of(settings: &Collect, tls: Option<&Tls>, token: Option<&Token>) -> Self {
        Self {
            tls: tls.cloned().zip(settings.tls.clone()),
            token: token.cloned().zip(settings.console_page.token_file.clone()),
            running: Mutex::default(),
        }
    }

    pub(super) fn at_hangup(self) -> Hangup {
        Hangup::Reload(Arc::new(move || self.run()))
    }

    fn run(&self) {
        let _running = self.running.lock();
        let mut read = Vec::new();
        if let Some((tls, files)) = &self.tls {
            match Tls::read(&files.cert, &files.key, files.client_ca.as_deref()) {
                Ok(new) => {
                    tls.replace(new);
                    read.push("TLS certificates");
                }
                Err(errors) => {
                    for error in errors {
                        tracing::warn!(%error, "a TLS file cannot be used: pushpull goes on with the certificates that it had");
                    }
                }
            }
        }
        if let Some((token, file)) = &self.token {
            match token::of_file(file) {
                Ok(new) => {
                    token.replace(&new);
                    read.push("the console's token");
                }
                Err(failure) => {
                    tracing::warn!(
                        error = failure.message(),
                        "the token's file cannot be used: pushpull goes on with the token that it had"
                    );
                }
            }
        }
        match read.is_empty() {
            true => tracing::info!("SIGHUP: nothing was read again"),
            false => tracing::info!(files = read.join(", "), "SIGHUP: the files were read again"),
        }
    }
}
