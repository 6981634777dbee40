//! A Graphite of a test's own (carbon-cache, whisper, graphite-web), and what it shows of the product.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::graphite_api::{Series, render};
use super::installed::peer;
use super::ports::free_ports;
use super::postgres::server::{PASSWORD, USER};
use super::process::{PATIENCE, Running, eventually, run};
use super::product::Product;
use super::web;

/// carbon-cache and graphite-web on ports of their own; what is sent is kept as it is, by default a point a second for an
/// hour.
pub(super) struct Graphite {
    pub(super) carbon: Running,
    web: Running,
    ports: Ports,
    // Dropped last: the processes write into it.
    folder: TempDir,
}

/// Where graphite-web keeps the tags.
pub(super) enum TagDatabase {
    Sqlite,
    /// The database `postgres` of a server of the test's own.
    Postgres {
        port: u16,
    },
}

impl TagDatabase {
    /// As Django wants it.
    fn settings(&self, storage: &str) -> String {
        match self {
            Self::Sqlite => {
                format!("{{'ENGINE': 'django.db.backends.sqlite3', 'NAME': '{storage}/graphite.db'}}")
            }
            Self::Postgres { port } => format!(
                "{{'ENGINE': 'django.db.backends.postgresql', 'NAME': 'postgres', 'USER': '{USER}', \
                 'PASSWORD': '{PASSWORD}', 'HOST': '127.0.0.1', 'PORT': '{port}'}}"
            ),
        }
    }
}

impl TagDatabase {
    /// The drivers of `PostgreSQL` that there are for this Python give an offset from UTC as another type than this Django
    /// expects of them.
    const fn driver(&self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres { .. } => {
                "import django.db.backends.postgresql.utils\n\
                 from django.utils.timezone import utc\n\
                 django.db.backends.postgresql.utils.utc_tzinfo_factory = lambda offset: utc\n"
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Ports {
    lines: u16,
    cache_queries: u16,
    web: u16,
}

impl Ports {
    fn free() -> Self {
        let [lines, cache_queries, web] = free_ports();
        Self { lines, cache_queries, web }
    }
}

impl Graphite {
    pub(super) fn start() -> Self {
        Self::start_with(&TagDatabase::Sqlite, Some(1), "1s:1h")
    }

    /// With this many updates between two of a series' tags, or as many as carbon has by default, and with these
    /// retentions.
    pub(super) fn start_with(
        database: &TagDatabase,
        tag_update_interval: Option<u32>,
        retentions: &str,
    ) -> Self {
        // Another process may take a free port before Graphite does; then one of its processes ends at once.
        for _ in 0..3 {
            if let Some(graphite) = Self::try_start(database, tag_update_interval, retentions) {
                return graphite;
            }
        }
        panic!("Graphite does not start: three times a process of it ended at once");
    }

    fn try_start(database: &TagDatabase, tag_update_interval: Option<u32>, retentions: &str) -> Option<Self> {
        let bin = peer("graphite").join("bin");
        let folder = TempDir::new().expect("a temporary folder");
        let root = folder.path();
        let ports = Ports::free();
        write_configuration(root, ports, database, tag_update_interval, retentions);

        run(graphite_command(&bin.join("django-admin"), root).args(["migrate", "--run-syncdb"]), "")
            .unwrap_or_else(|error| panic!("graphite-web's database cannot be made: {error}"));
        let web = Running::start(
            "graphite-web",
            graphite_command(&bin.join("gunicorn"), root)
                .args(["--workers=1", "--no-control-socket", "--graceful-timeout=1"])
                .arg(format!("--bind=127.0.0.1:{}", ports.web))
                .arg("graphite.wsgi:application"),
            root,
        );
        let carbon = start_carbon(root);
        let mut graphite = Self { carbon, web, ports, folder };
        graphite.becomes_ready().then_some(graphite)
    }

    /// Whether both processes listen; false where one of them has ended.
    fn becomes_ready(&mut self) -> bool {
        eventually("Graphite to be ready", PATIENCE, || {
            if self.web.ended().is_some() || self.carbon.ended().is_some() {
                return Ok(false);
            }
            TcpStream::connect(self.lines()).map_err(|error| format!("carbon: {error}"))?;
            web::get(&format!("http://127.0.0.1:{}/tags", self.ports.web))?;
            Ok(true)
        })
    }

    /// Starts carbon again, which has ended; from now on it writes to so many files a second at the most.
    pub(super) fn start_carbon_again(&mut self, updates_per_second: u32) {
        let root = self.folder.path();
        let file = root.join("conf/carbon.conf");
        let conf = fs::read_to_string(&file).expect("carbon.conf");
        let lines = conf.lines().map(|line| match line.starts_with("MAX_UPDATES_PER_SECOND =") {
            true => format!("MAX_UPDATES_PER_SECOND = {updates_per_second}\n"),
            false => format!("{line}\n"),
        });
        fs::write(&file, lines.collect::<String>()).expect("carbon.conf");
        // A process that was killed leaves it, and the next one would not start beside it.
        drop(fs::remove_file(root.join("carbon.pid")));
        self.carbon = start_carbon(root);
        assert!(self.becomes_ready(), "carbon does not start again");
    }

    /// Where carbon takes lines, as `HOST:PORT`.
    pub(super) fn lines(&self) -> String {
        format!("127.0.0.1:{}", self.ports.lines)
    }

    /// The base of graphite-web's URL.
    pub(super) fn web(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.web)
    }

    /// The paths of the tagged series that an expression finds.
    pub(super) fn find_series(&self, expression: &str) -> Result<Vec<String>, String> {
        let url = format!("{}/tags/findSeries", self.web());
        let body = web::get_with_query(&url, &[("expr", expression)])?;
        serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))
    }

    /// The series of the last ten minutes that `target` names.
    pub(super) fn render(&self, target: &str) -> Result<Vec<Series>, String> {
        render(&self.web(), target)
    }

    /// The one series that `target` names, once its newest value is `newest`.
    fn one_series_at(&self, target: &str, newest: f64) -> Series {
        eventually(&format!("{target} to be {newest} in Graphite"), PATIENCE, || {
            let mut series = self.render(target)?;
            if series.len() != 1 {
                return Err(format!("there are {} series: {series:?}", series.len()));
            }
            let only = series.remove(0);
            if only.values().last() != Some(&newest) {
                return Err(format!("{only:?}"));
            }
            Ok(only)
        })
    }
}

fn start_carbon(root: &Path) -> Running {
    let mut command = graphite_command(&peer("graphite").join("bin/carbon-cache.py"), root);
    command.arg("--config").arg(root.join("conf/carbon.conf")).arg("--pidfile").arg(root.join("carbon.pid"));
    // In the foreground, its log on its output.
    Running::start("carbon-cache", command.args(["--debug", "start"]), root)
}

/// A program of the peer with the environment that makes it find `root`'s configuration.
fn graphite_command(program: &Path, root: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root)
        .env("GRAPHITE_ROOT", root)
        .env("GRAPHITE_CONF_DIR", root.join("conf"))
        .env("GRAPHITE_STORAGE_DIR", root.join("storage"))
        .env("PYTHONPATH", root.join("conf"))
        .env("GRAPHITE_SETTINGS_MODULE", "settings_of_the_test")
        .env("DJANGO_SETTINGS_MODULE", "graphite.settings");
    command
}

fn write_configuration(
    root: &Path,
    ports: Ports,
    database: &TagDatabase,
    tag_update_interval: Option<u32>,
    retentions: &str,
) {
    let Ports { lines, cache_queries, web } = ports;
    let storage = root.join("storage");
    let conf = root.join("conf");
    for folder in [&conf, &storage.join("whisper"), &storage.join("log/webapp")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let storage = storage.display();
    let write = |name: &str, text: String| fs::write(conf.join(name), text).expect("a configuration file");

    // No limit on new series and updates: the example's limits lose the first points of new series. With an interval of
    // 1, a series that was not indexed at first is with its next point.
    let interval = tag_update_interval.map(|updates| format!("TAG_UPDATE_INTERVAL = {updates}\n"));
    let interval = interval.unwrap_or_default();
    write(
        "carbon.conf",
        format!(
            "[cache]\nUSER =\nLOCAL_DATA_DIR = {storage}/whisper/\n\
             MAX_CACHE_SIZE = inf\nMAX_UPDATES_PER_SECOND = inf\nMAX_CREATES_PER_MINUTE = inf\n\
             MIN_TIMESTAMP_RESOLUTION = 1\nCARBON_METRIC_INTERVAL = 0\n\
             LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {lines}\n\
             ENABLE_UDP_LISTENER = False\nPICKLE_RECEIVER_PORT = 0\n\
             CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {cache_queries}\n\
             ENABLE_TAGS = True\n{interval}GRAPHITE_URL = http://127.0.0.1:{web}\n"
        ),
    );
    write("storage-schemas.conf", format!("[every]\npattern = .*\nretentions = {retentions}\n"));
    // What was sent last in a second stands: an average of a counter is no count.
    write(
        "storage-aggregation.conf",
        "[every]\npattern = .*\nxFilesFactor = 0\naggregationMethod = last\n".to_owned(),
    );
    write(
        "settings_of_the_test.py",
        format!(
            "SECRET_KEY = 'of no use outside this test'\nALLOWED_HOSTS = ['127.0.0.1']\nTIME_ZONE = 'UTC'\n\
             GRAPHITE_ROOT = '{root}'\nCONF_DIR = '{conf}'\nSTORAGE_DIR = '{storage}'\nSTATIC_ROOT = '{root}/static'\n\
             LOG_DIR = '{storage}/log/webapp'\nINDEX_FILE = '{storage}/index'\n\
             WHISPER_DIR = '{storage}/whisper'\nSTANDARD_DIRS = [WHISPER_DIR]\n\
             CARBONLINK_HOSTS = ['127.0.0.1:{cache_queries}']\n\
             DEFAULT_CACHE_DURATION = 0\nFIND_CACHE_DURATION = 0\nTAGDB_CACHE_DURATION = 0\n\
             DATABASES = {{'default': {database}}}\n{driver}",
            database = database.settings(&storage.to_string()),
            driver = database.driver(),
            root = root.display(),
            conf = conf.display(),
        ),
    );
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The peer itself, without the product: what carbon takes, graphite-web shows, tags and last value of a second.
#[test]
fn graphite_shows_the_last_of_two_lines_of_one_second() {
    let graphite = Graphite::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();

    let mut carbon = TcpStream::connect(graphite.lines()).expect("a connection to carbon");
    write!(
        carbon,
        "loaves;oven=left;service.name=bakery 3 {now}\nloaves;oven=left;service.name=bakery 4 {now}\n"
    )
    .expect("two lines");
    drop(carbon);

    let series = graphite.one_series_at("seriesByTag('name=loaves','service.name=bakery')", 4.0);
    assert_eq!(series.datapoints, [(4.0, now)]);
    assert_eq!(series.tags, tags(&[("name", "loaves"), ("oven", "left"), ("service.name", "bakery")]));
}

#[test]
fn requests_are_seen_in_graphite_as_exactly_as_many() {
    let graphite = Graphite::start();
    let mut product = Product::serve(&["--graphite", &graphite.lines()]);

    for _ in 0..20 {
        product.get("service", "/").expect("an answer of /");
    }
    for _ in 0..6 {
        product.get("service", "/database/").expect("an answer of /database/");
    }

    let expected =
        [("requests", "/", 20.0), ("requests", "/database", 6.0), ("slow.count", "/database", 6.0)];
    for (name, endpoint, count) in expected {
        let series =
            graphite.one_series_at(&format!("seriesByTag('name={name}','endpoint={endpoint}')"), count);
        let values = series.values();
        assert!(values.is_sorted(), "{} falls: {values:?}", series.target);
        assert_eq!(
            series.tags,
            tags(&[("name", name), ("endpoint", endpoint), ("service.name", "pushpull")]),
            "the tags of {}",
            series.target
        );
    }

    // The last request before the stop is in Graphite too, and the stop itself moves nothing else.
    product.get("service", "/").expect("an answer of /");
    product.stop();
    graphite.one_series_at("seriesByTag('name=requests','endpoint=/')", 21.0);
    graphite.one_series_at("seriesByTag('name=requests','endpoint=/database')", 6.0);
    let endpoints = graphite.render("seriesByTag('name=requests')").expect("an answer of the render API");
    assert_eq!(endpoints.len(), 2, "scrapes and health checks are not counted: {endpoints:?}");
}
