//! The limit of open files: each connection is one, and the usual limit is 1,024.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of this process.
#[derive(Debug)]
pub struct OpenFiles {
    /// Files, sockets among them, that may be open at once.
    pub limit: u64,
    /// What the system would allow, and why it did not: the limit stays as low as it was.
    pub refused: Option<(u64, io::Error)>,
}

impl OpenFiles {
    /// Raises the soft limit to the hard one.
    #[must_use]
    pub fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
        if soft >= hard {
            return Self { limit: soft, refused: None };
        }
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => Self { limit: hard, refused: None },
            Err(error) => Self { limit: soft, refused: Some((hard, error.into())) },
        }
    }

    /// Says in the log where the limit could not be raised.
    pub fn log(&self) {
        if let Some((hard, error)) = &self.refused {
            tracing::warn!(
                limit = self.limit,
                hard,
                %error,
                "the limit of open files could not be raised, so fewer connections are open at once; raise it before the \
                 start (ulimit -n, LimitNOFILE=)"
            );
        }
    }
}
