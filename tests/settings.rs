//! Settings as a person gives them: the help, what flags and variables come to, and what bad ones get.
#![cfg(feature = "cli")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use pushpull::config::faults::{Effect, Order};
use pushpull::config::{
    Collect, Command, Console, ExpositionLabels, ForwardProtocol, GraphiteLines, GraphiteNames,
    GraphiteTarget, Invalid, LogFormat, Outcome, Serve, Settings, SpoolSettings, StatsdExpiry, StatsdTags,
    from_args,
};

/// The outcome of a line such as `collect --statsd off`, with these variables and no others.
fn outcome(line: &str, variables: &[(&str, &str)]) -> Result<Outcome, Invalid> {
    let arguments = std::iter::once("pushpull").chain(line.split_whitespace()).map(OsString::from);
    from_args(arguments, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

fn settings(line: &str, variables: &[(&str, &str)]) -> Settings {
    match outcome(line, variables) {
        Ok(Outcome::Run(settings)) => settings,
        other => panic!("{line}: {other:?}"),
    }
}

fn serve(line: &str, variables: &[(&str, &str)]) -> Serve {
    match settings(line, variables).command {
        Command::Serve(serve) => serve,
        other => panic!("{line}: {other:?}"),
    }
}

fn collect(line: &str, variables: &[(&str, &str)]) -> Collect {
    match settings(line, variables).command {
        Command::Collect(collect) => collect,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(line: &str) -> String {
    match outcome(line, &[]) {
        Ok(Outcome::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

/// The lines of the error, without the first, which counts them.
fn problems(line: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match outcome(line, variables) {
        Err(invalid) => invalid.to_string().lines().skip(1).map(|line| line.trim().to_owned()).collect(),
        Ok(outcome) => panic!("{line}: {outcome:?}"),
    }
}

/// Whatever names the version, or the day of its release.
#[test]
fn release_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for (path, text) in [
        ("Dockerfile", format!("org.opencontainers.image.version=\"{version}\"")),
        ("docker-compose.yml", format!("image: pushpull:{version}\n")),
        ("docker-compose.bridge.yml", format!("image: pushpull:{version}\n")),
        ("docs/OPERATIONS.md", format!("the image `pushpull:{version}`")),
    ] {
        assert!(read(path).contains(&text), "{path} does not have {text:?}");
    }
    let changes = read("CHANGELOG.md");
    let title = format!("## [{version}] - ");
    let released = changes.lines().find_map(|line| line.strip_prefix(&title));
    let released = released.unwrap_or_else(|| panic!("CHANGELOG.md has no line {title:?}"));
    let heading = printed("man").lines().find(|line| line.starts_with(".TH ")).unwrap().to_owned();
    assert!(
        heading.contains(&format!("1 {released} \"pushpull {version}\"")),
        "{heading}: {released} expected"
    );
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(printed("--help"));
}

#[test]
fn brief_help() {
    let lines = [
        "-h",
        "serve -h",
        "collect -h",
        "health -h",
        "load -h",
        "mixin -h",
        "completions -h",
        "man -h",
        "help -h",
    ];
    insta::assert_snapshot!(lines.map(|line| format!("$ pushpull {line}\n{}", printed(line))).join("\n"));
    for line in lines {
        let text = printed(line);
        // With room for the prompt below it.
        assert!(text.lines().count() < 24, "{line}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{line}: {text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("`pushpull ") && last.contains("--help` shows all"), "{last}");
    }
}

/// Each flag has its variable as every other program of clap shows it, and no variable's value.
#[test]
fn help_names_every_variable() {
    for line in ["--help", "serve --help", "collect --help", "health --help", "load --help"] {
        let text = printed(line);
        for block in text.split("\n      --").skip(1) {
            let name = block.split([' ', '\n']).next().unwrap();
            let variable = format!("[env: PUSHPULL_{}", name.to_uppercase().replace('-', "_"));
            assert!(name == "check" || block.contains(&variable), "{line}: --{block}");
        }
    }
}

/// What the help says to type is understood.
#[test]
fn examples_are_good_command_lines() {
    for name in ["serve", "collect", "health", "load", "mixin", "completions", "man", "help"] {
        let text = printed(&format!("help {name}"));
        let examples = text.split("Examples:\n").nth(1).unwrap();
        let lines: Vec<_> = examples.lines().map_while(|line| line.strip_prefix("  pushpull")).collect();
        assert!(!lines.is_empty(), "{text}");
        for line in lines {
            // Behind it stands what it does, or where its output goes.
            let end = ["   ", " > ", " | "].into_iter().filter_map(|end| line.find(end)).min();
            outcome(&line[..end.unwrap_or(line.len())], &[])
                .unwrap_or_else(|invalid| panic!("{line}: {invalid}"));
        }
    }
}

#[test]
fn help_of_serve() {
    insta::assert_snapshot!(printed("serve --help"));
}

#[test]
fn help_of_collect() {
    insta::assert_snapshot!(printed("collect --help"));
}

#[test]
fn help_of_load() {
    insta::assert_snapshot!(printed("load --help"));
}

#[test]
fn help_of_health() {
    insta::assert_snapshot!(printed("health --help"));
}

#[test]
fn help_of_mixin() {
    insta::assert_snapshot!(printed("mixin --help"));
}

#[test]
fn the_command_help_prints_what_the_flag_does() {
    assert_eq!(printed("help"), printed("--help"));
    for name in ["serve", "collect", "health", "load", "mixin", "completions", "man", "help"] {
        assert_eq!(printed(&format!("help {name}")), printed(&format!("{name} --help")));
    }
    // What only explains the program needs no good environment.
    let variables = [("PUSHPULL_LISTN", "x"), ("PUSHPULL_LOG", "xml")];
    assert_eq!(outcome("help man", &variables), Ok(Outcome::Print(printed("man --help"))));
    assert_eq!(
        problems("help colect", &[]),
        [
            "COMMAND \"colect\": unknown command; give serve or collect or health or load or mixin or completions or man or help"
        ]
    );
    assert_eq!(problems("help serve collect", &[]).len(), 1);
}

#[test]
fn every_shell_completes_every_command_and_flag() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&format!("completions {shell}"));
        for word in ["collect", "completions", "listen", "graphite-quantiles", "tls-client-ca"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(problems("completions", &[]), ["SHELL: missing; give bash, elvish, fish, powershell or zsh"]);
    assert_eq!(
        problems("completions tcsh --log xml", &[]),
        [
            "--log: `pushpull completions` has no such flag; it belongs to `pushpull serve` and `pushpull collect` and \
             `pushpull health` and `pushpull load` and `pushpull mixin`",
            "SHELL \"tcsh\": unknown; give bash or elvish or fish or powershell or zsh",
        ]
    );
}

/// Its lines are roff: a macro of `man`'s, or text that is none.
#[test]
fn the_manual_page_has_every_command_and_flag() {
    let page = printed("man");
    assert!(page.contains("\n.TH PUSHPULL 1 "), "{page}");
    for section in ["NAME", "SYNOPSIS", "COMMANDS", "\"PUSHPULL SERVE\"", "\"PUSHPULL HELP\"", "VERSION"] {
        assert_eq!(page.matches(&format!("\n.SH {section}\n")).count(), 1, "{section}");
    }
    for flag in ["listen", "tls\\-client\\-ca", "graphite\\-quantiles"] {
        assert!(page.contains(&format!("\\-\\-{flag}\\fR")), "{flag}: {page}");
    }
    let macros = [".TH", ".SH", ".SS", ".TP", ".PP", ".ad", ".nf", ".fi", ".br", ".ie", ".el"];
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        assert!(macros.contains(&line.split(' ').next().unwrap_or(line)), "{line}");
    }
}

#[test]
fn help_fits_a_terminal_and_holds_nothing_of_the_environment() {
    for line in
        ["--help", "collect --help", "health --help", "load --help", "mixin --help", "completions --help"]
    {
        let wide: Vec<_> =
            printed(line).lines().filter(|line| line.chars().count() > 100).map(str::to_owned).collect();
        assert!(wide.is_empty(), "{line}: {wide:#?}");
    }
    let with = outcome("--help", &[("PUSHPULL_LISTEN", "10.9.8.7:6543")]);
    assert_eq!(with, Ok(Outcome::Print(printed("--help"))));
}

#[test]
fn version_is_the_same_everywhere() {
    let version = format!("pushpull {}\n", env!("CARGO_PKG_VERSION"));
    for line in ["--version", "-V", "serve --version", "collect -V", "health --version"] {
        assert_eq!(printed(line), version, "{line}");
    }
}

#[test]
fn defaults() {
    insta::assert_debug_snapshot!([settings("", &[]), settings("collect", &[]), settings("health", &[])]);
    assert_eq!(settings("", &[]), settings("serve", &[]));
}

#[test]
fn serve_is_the_default_command() {
    let expected = serve("serve --listen 127.0.0.1:0", &[]);
    assert_eq!(serve("--listen 127.0.0.1:0", &[]), expected);
    assert_eq!(serve("--listen 127.0.0.1:0 serve", &[]), expected);
    assert_eq!(expected.listen.address.port(), 0);
    assert!(expected.listen.given);
}

#[test]
fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
    let variables =
        [("PUSHPULL_LISTEN", "127.0.0.1:2"), ("PUSHPULL_OTLP_GRPC", ""), ("PUSHPULL_LOG", "json")];
    let both = serve("--listen 127.0.0.1:1", &variables);
    assert_eq!(both.listen.address.port(), 1);
    assert!(!both.collector.otlp_grpc.given);
    let variable = serve("", &variables);
    assert_eq!((variable.listen.address.port(), variable.listen.given), (2, true));
    assert_eq!(settings("health", &variables).log, LogFormat::Json);
    assert_eq!(settings("--log text health", &variables).log, LogFormat::Text);
}

#[test]
fn the_database_has_two_variables() {
    let both = [("DATABASE_URL", "sqlite:c.db"), ("PUSHPULL_DATABASE", "sqlite:b.db")];
    let database = |line, variables| serve(line, variables).database.map(|url| url.to_string());
    assert_eq!(database("--database sqlite:a.db", &both).as_deref(), Some("sqlite:a.db"));
    assert_eq!(database("", &both).as_deref(), Some("sqlite:b.db"));
    assert_eq!(database("", &both[..1]).as_deref(), Some("sqlite:c.db"));
    assert_eq!(database("", &[("DATABASE_URL", "")]), None);
}

#[test]
fn what_can_be_given_several_times() {
    let flags = collect(
        "collect --graphite a:2003 --graphite b:2003 --forward grpc://c:4317 --forward http://d:4318",
        &[],
    );
    let variables = collect(
        "collect",
        &[("PUSHPULL_GRAPHITE", "a:2003, b:2003,"), ("PUSHPULL_FORWARD", "grpc://c:4317,http://d:4318")],
    );
    assert_eq!(flags, variables);
    let graphite = ["a:2003", "b:2003"].map(|address| GraphiteTarget::Address(address.to_owned()));
    assert_eq!(flags.collector.graphite, graphite);
    let protocols: Vec<_> = flags.collector.forward.iter().map(|target| target.protocol).collect();
    assert_eq!(protocols, [ForwardProtocol::Grpc, ForwardProtocol::Http]);
    assert_eq!(collect("collect --graphite -", &[]).collector.graphite, [GraphiteTarget::Stdout]);
}

#[test]
fn which_labels_the_exposition_has() {
    let labels = |arguments: &str, variables: &[(&str, &str)]| {
        collect(arguments, variables).collector.exposition_labels
    };
    let of = |scope, keys: &[&str]| ExpositionLabels {
        scope,
        resource: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    assert_eq!(labels("collect", &[]), of(true, &[]));
    let given = "collect --exposition-scope off --exposition-labels host.name,a --exposition-labels a";
    assert_eq!(labels(given, &[]), of(false, &["a", "host.name"]));
    let variables = [("PUSHPULL_EXPOSITION_SCOPE", "off"), ("PUSHPULL_EXPOSITION_LABELS", "host.name")];
    assert_eq!(labels("collect", &variables), of(false, &["host.name"]));
    assert_eq!(serve("--exposition-scope on", &[]).collector.exposition_labels, of(true, &[]));
}

#[test]
fn what_is_written_to_graphite() {
    let lines = |line: &str, variables: &[(&str, &str)]| collect(line, variables).collector.graphite_lines;
    let given = lines(
        "collect --graphite-names dotted --graphite-prefix prod.otel --graphite-tags service.name,host.name \
         --graphite-tags host.name --graphite-include http.*,cpu? --graphite-include x --graphite-exclude *.size \
         --graphite-quantiles 0.99,0.5,0.5 --max-age 1h",
        &[],
    );
    let variables = [
        ("PUSHPULL_GRAPHITE_NAMES", "dotted"),
        ("PUSHPULL_GRAPHITE_PREFIX", "prod.otel"),
        ("PUSHPULL_GRAPHITE_TAGS", "service.name, host.name"),
        ("PUSHPULL_GRAPHITE_INCLUDE", "http.*,cpu?,x"),
        ("PUSHPULL_GRAPHITE_EXCLUDE", "*.size"),
        ("PUSHPULL_GRAPHITE_QUANTILES", "0.5,0.99"),
        ("PUSHPULL_MAX_AGE", "1h"),
    ];
    assert_eq!(given, lines("collect", &variables));
    assert_eq!(given, serve("", &variables).collector.graphite_lines);
    assert_eq!((given.names, given.prefix.as_str()), (GraphiteNames::Dotted, "prod.otel"));
    assert_eq!(
        (given.tags, given.quantiles),
        (vec!["host.name".to_owned(), "service.name".to_owned()], vec![0.5, 0.99])
    );
    assert_eq!(given.max_age, Some(Duration::from_secs(3600)));
    assert_eq!(lines("collect", &[]), GraphiteLines::default());
    assert_eq!(lines("collect --graphite-names carbonexporter", &[]).tags, [""; 0]);
    for (line, problem) in [
        (
            "--graphite-names plain",
            "--graphite-names \"plain\": unknown; give tagged or dotted or carbonexporter",
        ),
        (
            "--graphite-include a,b[c]",
            "--graphite-include \"b[c]\": '[' has no meaning in a pattern; give a metric's name, in which * stands for \
             any characters and ? for one",
        ),
        (
            "--graphite-exclude {a}",
            "--graphite-exclude \"{a}\": '{' has no meaning in a pattern; give a metric's name, in which * stands for \
             any characters and ? for one",
        ),
        (
            "--graphite-prefix a..b",
            "--graphite-prefix \"a..b\": not the beginning of a path; give letters, digits, _ and -, with dots between, \
             such as otel or prod.otel",
        ),
        ("--graphite-quantiles 0.5,2", "--graphite-quantiles \"2\": too large; give a number from 0 to 1"),
        (
            "--max-age 1ms",
            "--max-age \"1ms\": too short; give a time such as 5s or 500ms, from 1s to 10years, or off",
        ),
    ] {
        assert_eq!(problems(line, &[]), [problem]);
        assert_eq!(problems(&format!("collect {line}"), &[]), [problem]);
    }
}

#[test]
fn how_statsd_is_read_and_for_how_long_its_series_stay() {
    let of = |line: &str, variables: &[(&str, &str)]| {
        let collector = collect(&format!("collect {line}"), variables).collector;
        (collector.statsd_expiry, collector.statsd_tags)
    };
    let [hour, day] = [1, 24].map(|hours| Duration::from_secs(hours * 3600));
    let five_minutes = Duration::from_secs(300);
    assert_eq!(of("", &[]), (StatsdExpiry { series: five_minutes, gauges: day }, StatsdTags::ALL));
    let given = StatsdExpiry { series: hour, gauges: hour };
    let some = StatsdTags { librato: true, graphite: true, ..StatsdTags::OFF };
    assert_eq!(of("--statsd-expiry 1h --statsd-tags librato,graphite", &[]), (given, some));
    let variables = [("PUSHPULL_STATSD_EXPIRY", "1h"), ("PUSHPULL_STATSD_TAGS", "off")];
    assert_eq!(of("", &variables), (given, StatsdTags::OFF));
    assert_eq!(
        problems("collect --statsd-expiry 0s --statsd-tags influx", &[]),
        [
            r#"--statsd-expiry "0s": too short; give a time such as 5s or 500ms, from 1s to 10years"#,
            r#"--statsd-tags "influx": unknown; give some of influxdb, graphite, librato and signalfx with commas between, or off"#,
        ]
    );
}

#[test]
fn a_spool_keeps_what_is_for_carbon() {
    let flags =
        "collect --graphite a:2003 --spool /var/lib/x --spool-limit 2MiB --spool-age 1h --graphite-replay 5m";
    let collector = collect(flags, &[]).collector;
    let age = Some(Duration::from_secs(3600));
    let spool = SpoolSettings { folder: "/var/lib/x".into(), limit: 2 << 20, age };
    assert_eq!((collector.spool, collector.graphite_replay), (Some(spool), Duration::from_secs(300)));
    let defaults = collect("collect --graphite a:2003 --spool x", &[]).collector.spool.unwrap();
    assert_eq!((defaults.limit, defaults.age), (1 << 30, None));
    for graphite in ["", " --graphite -"] {
        assert_eq!(
            problems(&format!("collect --spool x{graphite}"), &[]),
            [r#"--spool "x": keeps nothing without a carbon; give --graphite HOST:PORT too"#]
        );
    }
    assert_eq!(
        problems(
            "collect --graphite a:1 --spool x --spool-limit 1KiB --spool-age 1s --graphite-replay 2h",
            &[]
        )
        .len(),
        3
    );
}

#[test]
fn values_of_every_kind() {
    let all = serve(
        "--console off --database-pool 2 --database-queue 0 --database-timeout 0.5s --database-work 0.25 \
         --stop-within 2s --statsd off --statsd-flush 100ms --queue-limit 1MiB --max-series 7 --histogram-bounds 1,2",
        &[],
    );
    assert_eq!(all.console, Console::Off);
    assert_eq!((all.database_pool, all.database_queue), (2, 0));
    assert_eq!((all.database_timeout, all.stop_within), (Duration::from_millis(500), Duration::from_secs(2)));
    assert_eq!(all.database_work, 0.25);
    let collector = all.collector;
    assert_eq!((collector.statsd, collector.statsd_flush), (None, Duration::from_millis(100)));
    assert_eq!((collector.queue_limit, collector.max_series), (1 << 20, 7));
    assert_eq!(collector.histogram_bounds, [1.0, 2.0]);
    assert!(matches!(serve("--console localhost:0", &[]).console, Console::Given(_)));
    assert!(collect("collect --console [::1]:0", &[]).console.is_some());
}

#[test]
fn what_the_console_shows_of_elsewhere() {
    let links = "Prometheus=:9090/graph,Jaeger=http://jaeger.example:16686/";
    let all = serve(
        &format!(
            "--console-links {links} --console-links Grafana=:3000 --console-pushed http://b:8890/metrics --console-token-file x"
        ),
        &[],
    );
    let names: Vec<_> =
        all.console_page.links.iter().map(|link| (link.name.as_str(), link.url.as_str())).collect();
    let expected = [
        ("Prometheus", "http://0.0.0.0:9090/graph"),
        ("Jaeger", "http://jaeger.example:16686/"),
        ("Grafana", "http://0.0.0.0:3000/"),
    ];
    assert_eq!(names, expected);
    assert_eq!(all.console_page.pushed.unwrap().as_str(), "http://b:8890/metrics");
    assert_eq!(all.console_page.token_file, Some("x".into()));
    let collected = collect("collect", &[("PUSHPULL_CONSOLE_LINKS", links)]);
    assert_eq!(collected.console_page.links[..], all.console_page.links[..2]);
    assert_eq!(
        problems(
            "--console-pushed https://u:secret@b/metrics --console-links Prometheus=prometheus:9090,:9090",
            &[("PUSHPULL_CONSOLE_LINKS", "not looked at")],
        ),
        [
            r#"--console-links "Prometheus=prometheus:9090": neither http:// nor https://; give NAME=URL with http:// or https://, or NAME=:PORT/PATH for the host that the browser asked"#,
            r#"--console-links ":9090": no name before a =; give NAME=URL with http:// or https://, or NAME=:PORT/PATH for the host that the browser asked"#,
            r#"--console-pushed "https://…@b/…": a URL with a user or a password, which is not supported; give the http:// URL of an exposition, such as http://127.0.0.1:8889/metrics"#,
        ]
    );
    assert_eq!(
        problems("collect --console-pushed http://b/metrics", &[]),
        ["--console-pushed: `pushpull collect` has no such flag; it belongs to `pushpull serve`"]
    );
}

#[test]
fn load_probe_objective_and_faults() {
    let all = serve("--objective 250ms --load 12.5 --probe 5s --fault errors=0.25@10 --fault pool=2", &[]);
    assert_eq!((all.objective, all.load), (Duration::from_millis(250), 12.5));
    assert_eq!(all.probe, Some(Duration::from_secs(5)));
    assert_eq!(serve("", &[("PUSHPULL_FAULT", "errors=0.25@10, pool=2")]).faults, all.faults);
    let [errors, pool] = all.faults[..] else { panic!("{:?}", all.faults) };
    assert_eq!(errors, Order { effect: Effect::Errors(0.25), lasts: Duration::from_secs(10) });
    assert_eq!(pool, Order { effect: Effect::Pool(2), lasts: Duration::from_secs(60) });
    for line in ["--load -1", "--load 10001", "--load many", "--probe 10ms", "--probe on", "--objective 11s"]
    {
        assert_eq!(problems(line, &[]).len(), 1, "{line}");
    }
    assert_eq!(problems("--fault pool=1 --fault pool=2", &[]), ["--fault: pool given 2 times; give it once"]);
}

#[test]
fn load_of_another_process() {
    let load = |line: &str, variables: &[(&str, &str)]| match settings(line, variables).command {
        Command::Load(load) => (load.authority, load.rps, load.probe),
        other => panic!("{line}: {other:?}"),
    };
    let defaults = ("app:5000".to_owned(), 5.0, Some(Duration::from_secs(5)));
    assert_eq!(load("load http://app:5000", &[]), defaults);
    let variables = [("PUSHPULL_RPS", "0.5"), ("PUSHPULL_PROBE", "off")];
    assert_eq!(load("load http://app:5000/", &variables), ("app:5000".to_owned(), 0.5, None));
    assert_eq!(problems("load --rps -1 --probe 1ms", &[]).len(), 3, "with the URL that is missing");
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let bad = outcome(
        "--lissten 127.0.0.1:1 --listen 127.0.0.1 --database-pool 0 --database-pool 1 --database-work -1 \
         --histogram-bounds 2,1 --console 0.0.0.0:5001 --graphite - --graphite a:2003 stray --otlp-grpc 127.0.0.1:9 \
         --otlp-http 127.0.0.1:9 --forward http://localhost:9 --fault gremlins --fault errors=2@5 --load NaN --stop-within",
        &[
            ("PUSHPULL_LISTN", "x"),
            ("PUSHPULL_DATABASE_QUEUE", "many"),
            ("PUSHPULL_STATSD_FLUSH", "10"),
            ("PUSHPULL_QUEUE_LIMIT", "1TB"),
            ("PUSHPULL_LOG", "xml"),
            ("DATABASE_URL", "mysql://user:secret@db/app?password=secret"),
        ],
    );
    let message = bad.expect_err("nothing here is good").to_string();
    assert!(!message.contains("secret"), "{message}");
    insta::assert_snapshot!(message);
}

#[test]
fn arguments_that_are_not_understood() {
    for (line, expected) in [
        ("colect", r#""colect": unknown command; did you mean collect?"#),
        ("reconcile", r#""reconcile": unknown command; `pushpull --help` lists the commands and flags"#),
        ("--bogus=1", "--bogus: unknown flag; `pushpull --help` lists the commands and flags"),
        ("--bogus 1 collect", "--bogus: unknown flag; `pushpull collect --help` lists the flags"),
        ("-xyz", "-x: unknown flag; `pushpull --help` lists the commands and flags"),
        ("collect --otlp-gprc 1", "--otlp-gprc: unknown flag; did you mean --otlp-grpc?"),
        (
            "collect --listen 127.0.0.1:1",
            "--listen: `pushpull collect` has no such flag; it belongs to `pushpull serve`",
        ),
        (
            "--listen 127.0.0.1:1 collect",
            "--listen: `pushpull collect` has no such flag; it belongs to `pushpull serve`",
        ),
        (
            "health --statsd off",
            "--statsd: `pushpull health` has no such flag; it belongs to `pushpull serve` and `pushpull collect`",
        ),
        (
            "collect postgres://u:secret@h",
            r#""postgres://…@h": unexpected argument; `pushpull collect --help` lists the flags"#,
        ),
        (
            "health http://a http://b",
            r#""http://b": unexpected argument; `pushpull health --help` lists the flags"#,
        ),
        ("--listen --console off", "--listen: needs a value; `pushpull --help` lists the commands and flags"),
        ("--listen=", r#"--listen "": empty; give a value, or leave it out for the default"#),
        ("--log text --log json", r#"--log "text" "json": given 2 times; give it once"#),
        ("--log text collect --log json", r#"--log "text" "json": given 2 times; give it once"#),
        ("-- --listen", r#""--listen": unknown command; `pushpull --help` lists the commands and flags"#),
        ("--help=1", "--help: takes no value; `pushpull --help` lists the commands and flags"),
    ] {
        assert_eq!(problems(line, &[]), [expected], "{line}");
    }
}

#[test]
fn what_stands_beside_an_unknown_flag_is_judged_for_itself() {
    assert_eq!(problems("--bogus=1 stray --log xml", &[]).len(), 3);
    assert_eq!(problems("--bogus 1 --bogus 2 --log xml", &[]).len(), 3);
    let empty = from_args(["pushpull", "", "--log", "xml"].map(OsString::from), []);
    assert_eq!(empty.expect_err("an empty argument").0.len(), 2);
}

#[test]
fn help_is_shown_beside_a_bad_flag() {
    assert_eq!(printed("--bogus --help"), printed("--help"));
}

#[test]
fn unknown_variables() {
    let listn = "PUSHPULL_LISTN: unknown variable; did you mean PUSHPULL_LISTEN?";
    assert_eq!(problems("health", &[("PUSHPULL_LISTN", "secret")]), [listn]);
    let port = "PUSHPULL_PORT: unknown variable; unset it; `pushpull --help` lists the variables";
    assert_eq!(problems("health", &[("PUSHPULL_PORT", "5000")]), [port]);
    // What Kubernetes adds for a service of this name, other programs' variables, and other commands' are fine.
    for name in [
        "PUSHPULL_SERVICE_HOST",
        "PUSHPULL_SERVICE_PORT",
        "PUSHPULL_SERVICE_PORT_HTTP",
        "PUSHPULL_PORT_5000_TCP",
    ] {
        settings("", &[(name, "10.0.0.1"), ("PUSHPULL_PORT", "tcp://10.0.0.1:5000")]);
    }
    settings(
        "collect",
        &[("PUSHPULL_LISTEN", "nonsense"), ("PUSHPULLX", "1"), ("OTEL_BSP_SCHEDULE_DELAY", "x")],
    );
}

#[test]
fn listeners_that_want_the_same_address() {
    let conflict = |line: &str| problems(line, &[]);
    assert_eq!(
        conflict("--listen 127.0.0.1:7 --exposition 127.0.0.1:7"),
        [
            "--exposition \"127.0.0.1:7\": the same address as --listen 127.0.0.1:7; give one of them another port"
        ]
    );
    assert_eq!(conflict("--console 127.0.0.1:5000").len(), 1, "the service's default port is fixed");
    assert_eq!(conflict("collect --exposition 127.0.0.1:4317").len(), 1, "so are all of collect's");
    assert_eq!(conflict("collect --console 127.0.0.1:8889").len(), 1);
    assert_eq!(conflict("--listen 0.0.0.0:7 --console 127.0.0.1:7").len(), 1, "a wildcard covers it");
    // An embedded default gives way, UDP is another matter, and port 0 is never taken.
    serve("--listen 127.0.0.1:4317 --exposition 127.0.0.1:5001", &[]);
    serve("--listen 127.0.0.1:7 --statsd 127.0.0.1:7", &[]);
    serve("--listen 127.0.0.1:0 --console 127.0.0.1:0 --otlp-grpc 127.0.0.1:0 --otlp-http 127.0.0.1:0", &[]);
}

#[test]
fn a_collector_does_not_forward_to_itself() {
    let own = "this collector's own --otlp-grpc; give the address of another collector";
    assert_eq!(
        problems("collect --forward grpc://localhost:4317", &[]),
        [format!("--forward \"grpc://localhost:4317\": {own}")]
    );
    assert_eq!(problems("collect --otlp-http 0.0.0.0:7 --forward http://127.0.0.1:7", &[]).len(), 1);
    collect("collect --forward http://127.0.0.2:4317", &[]);
    // The embedded default may give way to the very collector that is meant here.
    serve("--forward http://127.0.0.1:4317", &[]);
}

#[test]
fn text_that_is_not_utf_8() {
    let strange = || OsString::from_vec(b"127.0.0.1:\xff".to_vec());
    let invalid = |arguments: Vec<OsString>, variables: Vec<(OsString, OsString)>| {
        let all = std::iter::once("pushpull".into()).chain(arguments);
        from_args(all, variables).expect_err("not UTF-8").to_string()
    };
    let expected = "1 invalid setting:\n  --listen \"127.0.0.1:\u{fffd}\": not UTF-8; give plain text";
    assert_eq!(invalid(vec!["--listen".into(), strange()], vec![]), expected);
    let expected = expected.replace("--listen", "PUSHPULL_LISTEN");
    assert_eq!(invalid(vec![], vec![("PUSHPULL_LISTEN".into(), strange())]), expected);
    assert!(invalid(vec![strange()], vec![]).contains("unknown command"));
    let flag = OsString::from_vec(b"--\xff".to_vec());
    assert!(invalid(vec![flag, "--log".into(), "xml".into()], vec![]).starts_with("2 invalid"));
}

#[test]
fn no_arguments_at_all_are_fine() {
    assert!(matches!(from_args([], []), Ok(Outcome::Run(_))));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// Whatever is typed, the answer comes, and it shows no password.
    #[test]
    fn any_line_is_answered(words in proptest::collection::vec(word(), 0..8)) {
        let arguments = std::iter::once("pushpull").chain(words.iter().map(String::as_str)).map(OsString::from);
        match from_args(arguments, []) {
            Ok(_) => {}
            Err(invalid) => {
                proptest::prop_assert!(!invalid.0.is_empty());
                proptest::prop_assert_eq!(invalid.to_string().lines().count(), invalid.0.len() + 1);
                proptest::prop_assert!(!invalid.to_string().contains("secret"), "{}", invalid);
            }
        }
    }
}

fn word() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::strategy::{Just, Strategy};
    let known = [
        "serve",
        "collect",
        "health",
        "help",
        "--",
        "-",
        "-x",
        "-xh",
        "--listen",
        "--listen=",
        "--graphite",
        "--log",
        "--bogus",
        "--bogus=1",
        "--database",
        "--database=postgres://u:secret@h",
        "http://u:secret@h",
        "127.0.0.1:0",
        "=",
        "--=",
        "",
    ];
    proptest::prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "-{0,2}[a-zé=\\n-]{0,4}",
        1 => Just("--help=1".to_owned()),
    ]
}

#[test]
fn no_bad_url_shows_what_may_be_secret() {
    for line in [
        "collect --forward http://h:4318/hidden?sig=hidden#hidden",
        "collect --forward http://u:hidden@h:4318",
        "collect --forward http://u:hidden",
        "collect --forward metrics=https://h/hidden/v1/metrics",
        "collect --forward ftp://h?hidden",
        "collect --graphite u:hidden@h:2003",
        "collect --graphite tcp://h:2003?hidden",
        "serve --console-pushed https://h/metrics?sig=hidden",
        "serve --console-links Grafana=ftp://u:hidden@h/?auth=hidden",
        "serve --database mysql://h/app?whatever=hidden",
        "health grpc://u:hidden@h/hidden",
        "load http://h/hidden?hidden",
        "serve --console-pushed http://h/hidden --console-pushed http://h?hidden",
    ] {
        let said = problems(line, &[]).join("\n");
        assert!(!said.is_empty() && !said.contains("hidden"), "{line}: {said}");
    }
    let variables = [("PUSHPULL_FORWARD", "http://u:hidden,hidden@h:4318")];
    let said = problems("collect", &variables).join("\n");
    assert!(!said.is_empty() && !said.contains("hidden"), "{said}");
}
