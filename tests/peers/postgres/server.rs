//! A `PostgreSQL` server of one test: TLS, passwords, a port of its own; killed, and started again on the same data.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tempfile::TempDir;

use super::super::{
    installed::peer,
    ports::free_ports,
    process::{PATIENCE, Running, eventually, run},
};

/// What no message may hold.
pub(in super::super) const PASSWORD: &str = "open-sesame";
pub(in super::super) const USER: &str = "pushpull";

pub(in super::super) struct Server {
    running: Option<Running>,
    port: u16,
    // Dropped last: the server's data are in it.
    folder: TempDir,
}

impl Server {
    pub(in super::super) async fn start() -> Self {
        let [port] = free_ports();
        let folder = TempDir::new().expect("a temporary folder");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        for (name, text) in [
            ("password", PASSWORD.to_owned()),
            ("tls.pem", cert.pem()),
            ("tls.key", signing_key.serialize_pem()),
        ] {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
            give(&file);
        }
        give(folder.path());
        let mut server = Self { running: None, port, folder };
        let (data, password) = (server.path("data"), server.path("password"));
        let mut command = program("initdb", server.folder.path());
        command.args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "-U", USER]);
        command.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        run(&mut command, "").unwrap_or_else(|error| panic!("initdb: {error}"));
        server.start_again().await;
        server
    }

    /// Starts it on the data that are there, and waits until it answers.
    pub(super) async fn start_again(&mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if self.running.as_mut().is_none_or(|running| running.ended().is_some()) {
                // What is left of a killed one may still hold its shared memory: then this one ends, and is tried again.
                self.running = Some(self.spawn());
            }
            match self.try_connect("postgres").await {
                Ok(connection) => return drop(connection.close().await),
                Err(error) => {
                    assert!(std::time::Instant::now() < deadline, "PostgreSQL does not answer: {error}")
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn spawn(&self) -> Running {
        let mut command = program("postgres", self.folder.path());
        command.arg("-D").arg(self.path("data")).arg("-k").arg(self.folder.path());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", self.path("tls.pem").display()),
            format!("ssl_key_file={}", self.path("tls.key").display()),
            "fsync=off".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        Running::start("postgres", &mut command, self.folder.path())
    }

    /// Ends it with all of its processes, as a crash of its machine would: one that works on a query does not notice
    /// that the others are gone.
    pub(super) fn kill(&mut self) {
        let running = self.running.as_mut().expect("a server");
        shell("kill -s KILL $1 $(cat /proc/$1/task/$1/children) 2>/dev/null", running.id());
        eventually("the end of the server", PATIENCE, || {
            running.ended().ok_or_else(|| "it still runs".to_owned())
        });
    }

    /// The folder of its Unix socket.
    pub(super) fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    pub(in super::super) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of one of its databases.
    pub(super) fn url(&self, database: &str) -> String {
        self.url_with(PASSWORD, database)
    }

    pub(super) fn url_with(&self, password: &str, database: &str) -> String {
        format!("postgres://{USER}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over TLS, with the server's certificate checked for its name.
    pub(super) fn tls_url(&self, database: &str) -> String {
        let root = self.path("tls.pem");
        format!(
            "postgresql://{USER}:{PASSWORD}@localhost:{}/{database}?sslmode=verify-full&sslrootcert={}",
            self.port,
            root.display()
        )
    }

    /// The URL of a database by way of the server's Unix socket.
    pub(super) fn unix_url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?host={}&port={}&user={USER}&password={PASSWORD}",
            self.folder.path().display(),
            self.port
        )
    }

    /// A connection of the test's own.
    pub(super) async fn connect(&self, database: &str) -> PgConnection {
        self.try_connect(database).await.expect("a connection")
    }

    async fn try_connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port).username(USER);
        options
            .ssl_mode(PgSslMode::Disable)
            .password(PASSWORD)
            .database(database)
            .application_name("the test")
            .connect()
            .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM would have it wait for its clients.
        if let Some(running) = &self.running {
            shell("kill -s INT $1 2>/dev/null", running.id());
        }
    }
}

/// Runs a line of the shell with a process's id.
fn shell(line: &str, id: u32) {
    Command::new("sh").args(["-c", line, "sh", &id.to_string()]).status().expect("a shell");
}

/// A program of the server's, as a user that it agrees to run as.
fn program(name: &str, folder: &Path) -> Command {
    let program = peer("postgres").join("bin").join(name).canonicalize().expect("the server's program");
    let mut command = if is_root() { Command::new("setpriv") } else { Command::new(&program) };
    if is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(&program);
    }
    command.current_dir(folder);
    command
}

/// Gives a file to the user that the server runs as.
fn give(path: &Path) {
    let id = |flag| {
        let printed = run(Command::new("id").args([flag, "nobody"]), "").expect("the user nobody");
        printed.trim().parse::<u32>().expect("a number")
    };
    if is_root() {
        chown(path, Some(id("-u")), Some(id("-g"))).expect("a file's owner");
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
