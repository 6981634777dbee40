//! The flags of every command as one table.

use super::flag::Flag;

pub(super) const GENERAL: &str = "General";
const SERVICE: &str = "Service";
const DATABASE_: &str = "Database";
const TRIAL: &str = "Load and faults";
const COLLECTOR_: &str = "Collector";
const OUTPUT: &str = "Output";

pub(super) static LOG: Flag = Flag::new(
    GENERAL,
    "--log",
    "text|json",
    "text",
    "Form of the log lines on standard error: text or json. RUST_LOG says which ones are\nwritten, such as info or pushpull=debug",
);

pub(super) static ALLOWED_HOSTS: Flag = Flag::new(
    GENERAL,
    "--allowed-hosts",
    "NAME,…",
    "",
    "Host names or addresses, without port, that every listener over HTTP and gRPC answers to\nin addition to loopback names such as localhost, on any port; * for any name",
)
.absent("none: a listener on loopback answers to loopback names, one elsewhere to any")
.repeatable();

pub(super) static LISTEN: Flag = Flag::new(
    SERVICE,
    "--listen",
    "ADDRESS",
    "127.0.0.1:5000",
    "Address of the service: IP:PORT, [IPv6]:PORT or NAME:PORT. Port 0 takes a free one,\nlocalhost is both 127.0.0.1 and ::1, here and below",
)
.first("Address of the service");
pub(super) static CONSOLE: Flag = Flag::new(
    SERVICE,
    "--console",
    "ADDRESS|off",
    "127.0.0.1:5001",
    "Address of the console, the page that shows what was pulled and what was pushed; on\nanother address than a loopback one it asks for a token. On with the embedded collector,\nelse only where given",
)
.first("Address of the console");
pub(super) static CONSOLE_TOKEN_FILE: Flag = console_token_file(SERVICE);
pub(super) static CONSOLE_PUSHED: Flag = Flag::new(
    SERVICE,
    "--console-pushed",
    "URL",
    "",
    "Exposition that the console reads pushed values from, where the service pushes to a\ncollector elsewhere: an http:// URL, such as http://127.0.0.1:8889/metrics. With the\nembedded collector, whose own values the console shows, it is an error",
)
.absent("none");
pub(super) static CONSOLE_LINKS: Flag = console_links(SERVICE);
pub(super) static STOP_WITHIN: Flag = Flag::new(
    SERVICE,
    "--stop-within",
    "TIME",
    "5s",
    "Longest time that stopping takes, 100ms to 1h: half for requests in flight, the rest for\nthe last push",
);

pub(super) static OBJECTIVE: Flag = Flag::new(
    SERVICE,
    "--objective",
    "TIME",
    "1s",
    "What an answer may take, 1ms to 10s; a slower one is an error by policy",
);

pub(super) static LOAD: Flag = Flag::new(
    TRIAL,
    "--load",
    "RPS",
    "0",
    "Requests a second that the program sends to its own / and /database/, 0 to 10000: on\ntime, whatever the answers take",
)
.first("Requests a second to itself");
pub(super) static PROBE: Flag = Flag::new(
    TRIAL,
    "--probe",
    "off|INTERVAL",
    "off",
    "Time between two checks of each page for the text at its end, 100ms to 1h; these\nrequests are counted like all others",
);
pub(super) static RPS: Flag = Flag::new(
    TRIAL,
    "--rps",
    "RPS",
    "5",
    "Requests a second that are sent to / and /database/, 0 to 10000: on time, whatever the\nanswers take",
)
.first("Requests a second to / and /database/");
pub(super) static LOAD_PROBE: Flag = Flag::new(
    TRIAL,
    "--probe",
    "off|INTERVAL",
    "5s",
    "Time between two checks of each page for the text at its end, 100ms to 1h",
)
.first("Time between two checks of each page");
pub(super) static FAULT: Flag = Flag::new(
    TRIAL,
    "--fault",
    "NAME[=VALUE][@SECONDS]",
    "",
    "What goes wrong from the start on, for 60 s unless said, 3600 at the most; repeat the\nflag for several. database-refuse, database-slow=MS, pool=N (connections left),\nerrors=RATE (0 to 1), truncate, collector-away, scrape-refuse",
)
.absent("none")
.repeatable();

pub(super) static DATABASE: Flag = Flag::new(
    DATABASE_,
    "--database",
    "URL",
    "",
    "Database of the service: sqlite://PATH, created where it is not there (unless it says\n?mode=rw or ro), or postgres://USER:PASSWORD@HOST:PORT/NAME",
)
.absent("a temporary SQLite file, removed at exit")
.also("DATABASE_URL")
.first("SQLite or PostgreSQL; else a temporary file");
pub(super) static DATABASE_POOL: Flag =
    Flag::new(DATABASE_, "--database-pool", "COUNT", "8", "Connections to the database, 1 to 1024");
pub(super) static DATABASE_QUEUE: Flag = Flag::new(
    DATABASE_,
    "--database-queue",
    "COUNT",
    "64",
    "Requests that may wait for a connection, 0 to 100000; a further one is refused",
);
pub(super) static DATABASE_TIMEOUT: Flag = Flag::new(
    DATABASE_,
    "--database-timeout",
    "TIME",
    "5s",
    "Longest wait for a connection and its query, 1ms to 1h",
);
pub(super) static DATABASE_WORK: Flag = Flag::new(
    DATABASE_,
    "--database-work",
    "FACTOR",
    "1",
    "Work of the expensive query, above 0 and up to 1000; 1 is about 250 ms",
);

pub(super) static OTLP_GRPC: Flag =
    Flag::new(COLLECTOR_, "--otlp-grpc", "ADDRESS", "127.0.0.1:4317", "Address that receives OTLP over gRPC")
        .first("OTLP over gRPC");
pub(super) static OTLP_HTTP: Flag = Flag::new(
    COLLECTOR_,
    "--otlp-http",
    "ADDRESS",
    "127.0.0.1:4318",
    "Address that receives OTLP over HTTP, as protobuf or JSON",
)
.first("OTLP over HTTP");
pub(super) static OTLP_CORS: Flag = Flag::new(
    COLLECTOR_,
    "--otlp-cors",
    "ORIGIN,…",
    "",
    "Origins of web pages that may send OTLP over HTTP from a browser, such as\nhttps://shop.example; * for any",
)
.absent("none")
.repeatable();
pub(super) static STATSD: Flag = Flag::new(
    COLLECTOR_,
    "--statsd",
    "ADDRESS|off",
    "127.0.0.1:8125",
    "Address that receives StatsD over UDP",
)
.first("StatsD over UDP");
pub(super) static STATSD_FLUSH: Flag = Flag::new(
    COLLECTOR_,
    "--statsd-flush",
    "TIME",
    "10s",
    "Time between two points of a StatsD series, 10ms to 1h",
);
pub(super) static STATSD_EXPIRY: Flag = Flag::new(
    COLLECTOR_,
    "--statsd-expiry",
    "TIME",
    "",
    "Time without a value after which a StatsD series expires, 1s to 10years: it is neither\nshown nor written; its total goes on if it is sent again within two days of that",
)
.absent("5m; 24h for gauges");
pub(super) static STATSD_TAGS: Flag = Flag::new(
    COLLECTOR_,
    "--statsd-tags",
    "LIST|off",
    "influxdb,graphite,librato,signalfx",
    "Whose tags in StatsD names are read: influxdb (name,k=v), graphite (name;k=v), librato\n(name#k=v), signalfx (name[k=v])",
);
pub(super) static STATSD_NAMES: Flag = Flag::new(
    COLLECTOR_,
    "--statsd-names",
    "off|legacy|new",
    "off",
    "Write to Graphite, as well as the series, what statsd's own daemon would write at each\nflush: legacy is its stats.NAME and stats_counts.NAME, new its stats.counters.NAME.rate",
);
pub(super) static QUEUE_LIMIT: Flag = Flag::new(
    COLLECTOR_,
    "--queue-limit",
    "SIZE",
    "64MiB",
    "Memory that the queue of each output may take, 64KiB to 64GiB; a full one makes\nsenders try again later",
);
pub(super) static MAX_SERIES: Flag = Flag::new(
    COLLECTOR_,
    "--max-series",
    "COUNT",
    "100000",
    "Series that are held, 1 to 100000000; further ones are refused and counted. StatsD and\nOTLP can take three quarters each. As many expired series of StatsD are remembered",
);
pub(super) static HISTOGRAM_BOUNDS: Flag = Flag::new(
    COLLECTOR_,
    "--histogram-bounds",
    "SECONDS,…",
    "0.005,0.01,0.025,0.05,0.075,0.1,0.25,0.5,0.75,1,2.5,5,7.5,10",
    "Upper bounds of the buckets of StatsD timers and of converted exponential histograms:\nseconds, ascending",
);

pub(super) static EXPOSITION: Flag = Flag::new(
    OUTPUT,
    "--exposition",
    "ADDRESS",
    "127.0.0.1:8889",
    "Address where Prometheus reads what was pushed: /metrics, /healthz, /readyz",
)
.first("Prometheus scrapes it");
pub(super) static EXPOSITION_SCOPE: Flag = exposition_scope("off");
pub(super) static COLLECT_EXPOSITION_SCOPE: Flag = exposition_scope("on");
pub(super) static EXPOSITION_LABELS: Flag = Flag::new(
    OUTPUT,
    "--exposition-labels",
    "KEY,…",
    "",
    "Resource attributes that become labels in the exposition, such as host.name, where\njob and instance do not tell its series apart",
)
.absent("none")
.repeatable();
pub(super) static GRAPHITE: Flag = Flag::new(
    OUTPUT,
    "--graphite",
    "HOST:PORT|-",
    "",
    "Carbon's plaintext port, to which metrics are written; repeat the flag for fail-over.\n- prints the lines on standard output",
)
.absent("none")
.repeatable()
.first("Carbon, which gets the metrics");
pub(super) static GRAPHITE_NAMES: Flag = Flag::new(
    OUTPUT,
    "--graphite-names",
    "STYLE",
    "tagged",
    "What paths in Graphite look like: tagged (NAME;key=value), dotted\n(PREFIX.service_name.NAME.attribute_value…), or carbonexporter, as the OpenTelemetry\nCollector's own exporter wrote them",
);
pub(super) static GRAPHITE_PREFIX: Flag = Flag::new(
    OUTPUT,
    "--graphite-prefix",
    "PREFIX",
    "",
    "What stands before every path in Graphite, such as otel or prod.otel",
)
.absent("none");
pub(super) static GRAPHITE_TAGS: Flag = Flag::new(
    OUTPUT,
    "--graphite-tags",
    "KEY,…",
    "",
    "Resource attributes that become tags in Graphite, or components of dotted paths;\nservice.name,service.instance.id keeps instances apart, and otel.scope.name and\notel.scope.version are those of the instrumentation scope",
)
.absent("service.name; none with carbonexporter")
.repeatable();
pub(super) static GRAPHITE_INCLUDE: Flag = Flag::new(
    OUTPUT,
    "--graphite-include",
    "PATTERN,…",
    "",
    "Metrics that are written to Graphite, by name: * stands for any characters, ? for one",
)
.absent("all")
.repeatable();
pub(super) static GRAPHITE_EXCLUDE: Flag = Flag::new(
    OUTPUT,
    "--graphite-exclude",
    "PATTERN,…",
    "",
    "Metrics that are not written to Graphite, even if --graphite-include names them",
)
.absent("none")
.repeatable();
pub(super) static GRAPHITE_QUANTILES: Flag = Flag::new(
    OUTPUT,
    "--graphite-quantiles",
    "QUANTILE,…",
    "",
    "Quantiles of histograms that are written to Graphite with their buckets, 0 to 1, such\nas 0.5,0.95,0.99: of what was counted since the series' previous point",
)
.absent("none")
.repeatable();
pub(super) static MAX_AGE: Flag = Flag::new(
    OUTPUT,
    "--max-age",
    "off|TIME",
    "10years",
    "Points for Graphite that are older are refused, 1s to 10years; a time in seconds or ms\ninstead of nanoseconds is older than 10 years",
);
pub(super) static GRAPHITE_REPLAY: Flag = Flag::new(
    OUTPUT,
    "--graphite-replay",
    "TIME",
    "60s",
    "What was written to carbon within this time, 1s to 1h, and no less than the last 32 MiB,\nis written again on every new connection; without --spool the last 32 MiB alone",
);
pub(super) static SPOOL: Flag = Flag::new(
    OUTPUT,
    "--spool",
    "DIR",
    "",
    "Folder that keeps what waits for carbon, and what may have to be written to it again,\nthrough any end of this process",
)
.absent("none: it waits in memory")
.first("Keeps on disk what waits for carbon");
pub(super) static SPOOL_LIMIT: Flag = Flag::new(
    OUTPUT,
    "--spool-limit",
    "SIZE",
    "1GiB",
    "Room that the spool may take on the disk, 1MiB to 16384GiB; a full one makes senders try\nagain later",
);
pub(super) static SPOOL_AGE: Flag = Flag::new(
    OUTPUT,
    "--spool-age",
    "TIME|off",
    "off",
    "Longest time that a point may wait in the spool, 1min to 365days; an older one is dropped\nand counted",
);
pub(super) static FORWARD: Flag = Flag::new(
    OUTPUT,
    "--forward",
    "URL",
    "",
    "OTLP endpoint to which everything is sent on; repeat the flag for several. grpc://,\ngrpcs:// and port 4317 mean gRPC; any other http:// or https:// URL is the base to which\n/v1/metrics, /v1/traces and /v1/logs are appended. metrics+traces=URL sends these alone",
)
.absent("none")
.repeatable()
.first("OTLP endpoint that gets everything");
pub(super) static FORWARD_TEMPORALITY: Flag = Flag::new(
    OUTPUT,
    "--forward-temporality",
    "unchanged|cumulative",
    "unchanged",
    "What deltas are sent on as: unchanged, or cumulative, the totals of their series, for an\nendpoint that takes no deltas, such as Prometheus",
);

pub(super) static TLS_CERT: Flag = Flag::new(
    COLLECTOR_,
    "--tls-cert",
    "FILE",
    "",
    "Certificate in PEM, its chain behind it, with which OTLP is received over TLS, by gRPC\nand by HTTP; needs --tls-key",
)
.absent("none: OTLP is received without TLS");
pub(super) static TLS_KEY: Flag =
    Flag::new(COLLECTOR_, "--tls-key", "FILE", "", "Its private key in PEM").absent("none");
pub(super) static TLS_CLIENT_CA: Flag = Flag::new(
    COLLECTOR_,
    "--tls-client-ca",
    "FILE",
    "",
    "Authorities in PEM: OTLP is then received from clients alone that have a certificate\nof one of them",
)
.absent("none: clients need no certificate");
pub(super) static CHECK: Flag = Flag::switch(
    GENERAL,
    "--check",
    "Check the settings, try each target once, say what each says, and exit: 0 where all is\nwell, 1 where a target is not, 2 where a setting is bad",
)
.first("Try settings and targets once, and exit");

pub(super) static COLLECT_CONSOLE: Flag = Flag::new(
    COLLECTOR_,
    "--console",
    "ADDRESS|off",
    "off",
    "Address of the console, the page that shows what arrived, such as 127.0.0.1:5001; on\nanother address than a loopback one it asks for a token",
)
.first("Address of the console");
pub(super) static COLLECT_CONSOLE_TOKEN_FILE: Flag = console_token_file(COLLECTOR_);
pub(super) static COLLECT_CONSOLE_LINKS: Flag = console_links(COLLECTOR_);
pub(super) static COLLECT_STOP_WITHIN: Flag = Flag::new(
    COLLECTOR_,
    "--stop-within",
    "TIME",
    "5s",
    "Longest time that stopping takes, 100ms to 1h: what still waits is sent out within it",
);

const fn exposition_scope(default: &'static str) -> Flag {
    Flag::new(
        OUTPUT,
        "--exposition-scope",
        "on|off",
        default,
        "Whether expositions show the instrumentation scope of each series as labels:\notel_scope_name, otel_scope_version, otel_scope_schema_url, and its attributes",
    )
}

const fn console_token_file(heading: &'static str) -> Flag {
    Flag::new(
        heading,
        "--console-token-file",
        "FILE",
        "",
        "File with the token that the console asks for, as Bearer token or as the password of any\nuser; at least 16 characters. A file that is not there is created, with a new token that\nonly its owner can read",
    )
    .absent("none on a loopback address, else a token is made and printed")
}

const fn console_links(heading: &'static str) -> Flag {
    Flag::new(
        heading,
        "--console-links",
        "NAME=URL,…",
        "",
        "Links at the top of the console's page, to http:// or https:// URLs. One that begins with\na port, such as Prometheus=:9090/graph, leads to the host that the browser asked",
    )
    .absent("none")
    .repeatable()
}

/// Every flag of the program; one that several commands have is there as often.
pub(super) fn all() -> impl Iterator<Item = &'static Flag> {
    serve().into_iter().chain(collect()).chain(load())
}

/// The flags of `serve`, in the order of the help.
pub(super) fn serve() -> Vec<&'static Flag> {
    let own: [&Flag; 15] = [
        &LISTEN,
        &CONSOLE,
        &CONSOLE_TOKEN_FILE,
        &CONSOLE_PUSHED,
        &CONSOLE_LINKS,
        &STOP_WITHIN,
        &OBJECTIVE,
        &DATABASE,
        &DATABASE_POOL,
        &DATABASE_QUEUE,
        &DATABASE_TIMEOUT,
        &DATABASE_WORK,
        &LOAD,
        &PROBE,
        &FAULT,
    ];
    [&own[..], &RECEIVING, &[&EXPOSITION, &EXPOSITION_SCOPE], &SENDING, &[&ALLOWED_HOSTS, &LOG]].concat()
}

/// The flags of `collect`, in the order of the help.
pub(super) fn collect() -> Vec<&'static Flag> {
    let own: [&Flag; 7] = [
        &COLLECT_CONSOLE,
        &COLLECT_CONSOLE_TOKEN_FILE,
        &COLLECT_CONSOLE_LINKS,
        &COLLECT_STOP_WITHIN,
        &TLS_CERT,
        &TLS_KEY,
        &TLS_CLIENT_CA,
    ];
    [
        &RECEIVING[..],
        &own,
        &[&EXPOSITION, &COLLECT_EXPOSITION_SCOPE],
        &SENDING,
        &[&ALLOWED_HOSTS, &CHECK, &LOG],
    ]
    .concat()
}

/// How a collector takes in, and how much it holds.
static RECEIVING: [&Flag; 11] = [
    &OTLP_GRPC,
    &OTLP_HTTP,
    &OTLP_CORS,
    &STATSD,
    &STATSD_FLUSH,
    &STATSD_EXPIRY,
    &STATSD_TAGS,
    &STATSD_NAMES,
    &QUEUE_LIMIT,
    &MAX_SERIES,
    &HISTOGRAM_BOUNDS,
];

/// Where a collector sends to, its exposition apart.
static SENDING: [&Flag; 15] = [
    &EXPOSITION_LABELS,
    &GRAPHITE,
    &GRAPHITE_NAMES,
    &GRAPHITE_PREFIX,
    &GRAPHITE_TAGS,
    &GRAPHITE_INCLUDE,
    &GRAPHITE_EXCLUDE,
    &GRAPHITE_QUANTILES,
    &MAX_AGE,
    &GRAPHITE_REPLAY,
    &SPOOL,
    &SPOOL_LIMIT,
    &SPOOL_AGE,
    &FORWARD,
    &FORWARD_TEMPORALITY,
];

/// The flags of `health`.
pub(super) fn health() -> Vec<&'static Flag> {
    vec![&LOG]
}

/// The flags of `load`.
pub(super) fn load() -> Vec<&'static Flag> {
    vec![&RPS, &LOAD_PROBE, &LOG]
}
