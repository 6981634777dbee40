//! A socket between one connection and the `PostgreSQL` server, which delays the server's answers.
//!
//! There is one only while the database is to be slow: otherwise nothing stands between the pool and the server, and
//! a failure is the server's own. It is a Unix socket in a folder that only this user can enter, rather than a port:
//! nobody else can reach the server through it, and TLS still checks the server's own name.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split},
    net::{TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::AbortHandle,
};

use super::faults::{Faults, linger};

/// Bytes of the server's that are in hand at a time.
const BUFFER: usize = 8 << 10;

/// A new folder for a socket.
pub(super) fn folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("pushpull-").tempdir()
}

/// The path of the socket that sqlx connects to where it is told a folder.
pub(super) fn socket(folder: &Path, options: &PgConnectOptions) -> PathBuf {
    folder.join(format!(".s.PGSQL.{}", options.get_port()))
}

/// The link of one connection, which ends with it.
pub(super) struct Link {
    /// The server's next answer is one to an operation. Log-in and pings are not delayed: an operation takes longer by
    /// the delay once, however many messages it needs.
    owed: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Link {
    /// Connects to the server, and listens for one connection to pass on; the folder is needed until that has come.
    pub(super) async fn open(
        options: &PgConnectOptions,
        faults: &watch::Receiver<Faults>,
    ) -> io::Result<(TempDir, Self)> {
        let folder = folder()?;
        let listener = UnixListener::bind(socket(folder.path(), options))?;
        let owed = Arc::new(AtomicBool::new(false));
        let (faults, delayed) = (faults.clone(), Arc::clone(&owed));
        let host = options.get_host();
        let unix = options
            .get_socket()
            .map(PathBuf::as_path)
            .or_else(|| Some(Path::new(host)).filter(|host| host.is_absolute()));
        let task = match unix {
            Some(unix) => {
                let server = UnixStream::connect(socket(unix, options)).await?;
                tokio::spawn(pass_on(listener, server, delayed, faults))
            }
            None => {
                let server = TcpStream::connect((host, options.get_port())).await?;
                server.set_nodelay(true)?;
                tokio::spawn(pass_on(listener, server, delayed, faults))
            }
        };
        Ok((folder, Self { owed, task: task.abort_handle() }))
    }

    /// The server's next answer takes as much longer as is asked for.
    pub(super) fn delay_next_answer(&self) {
        self.owed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on in both directions until either side has ended.
async fn pass_on(
    listener: UnixListener,
    server: impl AsyncRead + AsyncWrite,
    owed: Arc<AtomicBool>,
    faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let (mut client, _) = listener.accept().await?;
    drop(listener);
    let (mut asked, mut answered) = client.split();
    let (mut answers, mut questions) = split(server);
    let delayed = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = answers.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            if owed.swap(false, Ordering::Relaxed) {
                linger(faults.clone()).await;
            }
            answered.write_all(&buffer[..read]).await?;
        }
    };
    tokio::select! {
        ended = copy(&mut asked, &mut questions) => ended.map(drop),
        ended = delayed => ended,
    }
}
