//! The console as a person has it: its token in a file, its forms, and its view of a collector elsewhere.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use crate::{
    http::{self, Answer},
    process::{Launch, Program, eventually},
};

/// On every address, so that it asks for a token.
const OPEN: (&str, &str) = ("PUSHPULL_CONSOLE", "0.0.0.0:0");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn with_token_file(launch: Launch, file: &Path) -> Launch {
    launch.variable(OPEN.0, OPEN.1).arguments(&["--console-token-file", file.to_str().unwrap()])
}

/// The console's address for a client on this machine.
fn console(program: &Program) -> String {
    program.address("console").replace("0.0.0.0", "127.0.0.1")
}

fn page(program: &Program, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    http::ask_with(&console(program), "GET /", &[("Authorization", &bearer)])
}

#[test]
fn a_token_file_that_is_not_there_is_created_and_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let first = with_token_file(Launch::collect(), &file).start();
    let text = fs::read_to_string(&file).unwrap();
    let token = text.trim();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert!(token.len() >= 32, "{text}");
    // Another program on the same volume, and the same one after a restart.
    let second = with_token_file(Launch::serve().quick_database(), &file).start();
    for program in [first, second] {
        assert_eq!(page(&program, token).status, 200);
        assert_eq!(page(&program, "0123456789abcdef0123456789abcdef").status, 401);
        let finished = program.stop();
        finished.assert_orderly();
        let said = finished.stdout + &finished.stderr;
        assert!(said.contains(&format!("The console asks for the token in {}", file.display())), "{said}");
        assert!(!said.contains(token), "the token itself is in its file alone: {said}");
    }
    let again = with_token_file(Launch::collect(), &file).start();
    assert_eq!(page(&again, token).status, 200);
    again.stop().assert_orderly();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "no other file is left");
}

/// Browsers take one line for one challenge, and of these know the second.
#[test]
fn who_gives_no_token_is_asked_for_it_in_two_ways() {
    let program = Launch::collect().variable(OPEN.0, OPEN.1).start();
    let answer = http::ask(&console(&program), "GET /");
    assert_eq!(answer.status, 401);
    let challenges = ["Bearer", "Basic realm=\"pushpull\", charset=\"UTF-8\""];
    assert_eq!(answer.values("www-authenticate"), challenges);
    let finished = program.stop();
    assert!(finished.stderr.contains("The console's token, as Bearer token or"), "{finished:?}");
}

#[test]
fn a_token_file_that_cannot_be_had_is_said_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |file: &Path| {
        let finished = with_token_file(Launch::collect_at_once(), file).finish();
        let message = finished.failure(2).to_owned();
        assert!(message.contains(&format!("--console-token-file {}: ", file.display())), "{message}");
        message
    };
    let uid = fs::metadata(folder.path()).unwrap().uid();
    let missing = folder.path().join("volume/token");
    let message = refused(&missing);
    let reason = format!(
        "neither is its folder {}; create the folder for uid {uid}",
        missing.parent().unwrap().display()
    );
    assert!(message.contains(&reason), "{message}");

    let empty = folder.path().join("empty");
    fs::write(&empty, "short\n").unwrap();
    assert!(refused(&empty).contains("holds no token; write one of at least 16 characters"));
    assert_eq!(fs::read_to_string(&empty).unwrap(), "short\n");
    assert!(refused(folder.path()).contains("cannot be read by uid"));

    // Of another file's content nothing is taken for a token, and a file without an end is no reason to wait.
    let long = folder.path().join("long");
    fs::write(&long, "t".repeat(4097)).unwrap();
    for long in [&long, Path::new("/dev/zero")] {
        assert!(refused(long).contains("is longer than 4096 bytes"), "{long:?}");
    }
}

/// The usual case is a volume that another user owns.
#[test]
fn a_folder_of_another_user_is_said_with_both_users() {
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let owner = fs::metadata(&volume).unwrap().uid();
    let file = volume.join("token");
    let (launch, mode, runs_as) = match owner {
        // Root may write anywhere, so the program runs as somebody else, from where that user can start it.
        0 => {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let program = folder.path().join("pushpull");
            fs::copy(env!("CARGO_BIN_EXE_pushpull"), &program).unwrap();
            (Launch::of(&program, &["collect"]).run_by(NOBODY), 0o755, NOBODY)
        }
        user => (Launch::bare(&["collect"]), 0o555, user),
    };
    fs::set_permissions(&volume, fs::Permissions::from_mode(mode)).unwrap();
    let ports = ["OTLP_GRPC", "OTLP_HTTP", "STATSD", "EXPOSITION"];
    let launch =
        ports.iter().fold(launch, |launch, port| launch.variable(&format!("PUSHPULL_{port}"), "127.0.0.1:0"));
    let finished = with_token_file(launch, &file).finish();
    let message = finished.failure(2);
    let expected = format!(
        "--console-token-file {}: is not there, and cannot be created in {}: the folder belongs to uid {owner} \
         (mode {mode:04o}), and this process runs as uid {runs_as}; give the folder (of a volume: its root) to uid {runs_as}",
        file.display(),
        volume.display()
    );
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn the_page_shows_what_a_collector_elsewhere_has_of_the_service() {
    let collector = Launch::collect().start();
    let exposition = format!("http://{}/metrics", collector.address("exposition"));
    let endpoint = collector.address("otlp_grpc");
    let launch = |service: &str| {
        Launch::serve()
            .pushing_to("grpc", &endpoint)
            .variable("OTEL_SERVICE_NAME", service)
            .quick_database()
            .exporting_often()
    };
    let other = launch("other").start();
    let service =
        launch("till").arguments(&["--console", "127.0.0.1:0", "--console-pushed", &exposition]).start();
    for _ in 0..3 {
        service.get("/");
    }
    other.get("/");
    let row = "<code>requests_total<span class=\"labels\"><wbr><span class=\"label\">{endpoint=\"/\"}</span></span></code></th>";
    let page = eventually("pulled and pushed of this service, and the other one", || {
        let page = http::ask(&service.address("console"), "GET /").body.replace("&quot;", "\"");
        let both = format!("{row}<td class=\"number\">3</td><td class=\"number\">3</td>");
        let others =
            format!("{row}<td class=\"number\"><span class=\"dim\">–</span></td><td class=\"number\">1</td>");
        (page.contains(&both) && page.contains(&others)).then_some(page)
    });
    assert!(page.contains(&format!("Pushed values read from {exposition} ")), "{page}");
    other.stop().assert_orderly();
    collector.stop().assert_orderly();
    let page = http::ask(&service.address("console"), "GET /").body;
    assert!(page.contains("could not be read: no connection"), "{page}");
    service.stop().assert_orderly();
}

#[test]
fn pushed_values_from_elsewhere_need_a_collector_elsewhere_and_a_console() {
    let pushed = ["serve", "--console-pushed", "http://127.0.0.1:9/metrics"];
    let embedded = Launch::text(&pushed).variable("PUSHPULL_CONSOLE", "127.0.0.1:0").finish();
    let message = embedded.failure(2);
    for named in
        ["--console-pushed http://127.0.0.1:9/metrics: ", "embedded collector", "OTEL_EXPORTER_OTLP_ENDPOINT"]
    {
        assert!(message.contains(named), "{named}: {message}");
    }
    let none =
        Launch::text(&pushed).without_variable("PUSHPULL_CONSOLE").pushing_to("grpc", "127.0.0.1:9").finish();
    assert!(none.failure(2).contains("no console to show it; give --console 127.0.0.1:5001 too"), "{none:?}");
}

#[test]
fn no_link_is_to_an_unspecified_address() {
    let file = tempfile::tempdir().unwrap();
    let program = with_token_file(Launch::serve().quick_database(), &file.path().join("token"))
        .variable("PUSHPULL_LISTEN", "0.0.0.0:0")
        .variable("PUSHPULL_EXPOSITION", "[::]:0")
        .variable("PUSHPULL_CONSOLE_LINKS", "Prometheus=:9090/graph, Grafana=https://grafana.example/")
        .start();
    let token = fs::read_to_string(file.path().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let port = |listener: &str| program.address(listener).rsplit(':').next().unwrap().to_owned();
    let answer = http::ask_with(&console(&program), "GET /", &[("Authorization", &bearer)]);
    for link in [
        format!("http://127.0.0.1:{}/", port("service")),
        format!("http://127.0.0.1:{}/metrics/", port("service")),
        format!("http://127.0.0.1:{}/metrics", port("exposition")),
        format!("http://127.0.0.1:{}/", port("console")),
        "http://127.0.0.1:9090/graph".to_owned(),
        "https://grafana.example/".to_owned(),
    ] {
        assert!(answer.body.contains(&format!("href=\"{link}\"")), "{link}: {}", answer.body);
    }
    let links = answer.body.split("href=\"").skip(1).map(|part| part.split('"').next().unwrap());
    for link in links {
        assert!(!link.contains("0.0.0.0") && !link.contains("[::]"), "{link}");
    }
    assert!(answer.body.contains("Pulled from ") && !answer.body.contains("could not be read"));
    program.stop().assert_orderly();
}

fn start() -> Program {
    Launch::serve().variable("PUSHPULL_CONSOLE", "127.0.0.1:0").quick_database().start()
}

fn post(program: &Program, path: &str, body: &str) -> Answer {
    http::send(&program.address("console"), &format!("POST {path}"), &[FORM], body)
}

fn shown(program: &Program) -> String {
    http::ask(&program.address("console"), "GET /").body
}

#[test]
fn a_person_starts_and_ends_faults_by_forms() {
    let program = start();
    let page = shown(&program);
    for fault in
        ["database-refuse", "database-slow", "pool", "errors", "truncate", "collector-away", "scrape-refuse"]
    {
        assert!(page.contains(&format!("<form method=\"post\" action=\"/faults/{fault}\">")), "{page}");
    }
    assert!(!page.contains("/end\"") && !page.contains("A fault is on"), "{page}");

    let answer = post(&program, "/faults/errors", "value=1&seconds=600");
    assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (303, "/#faults", ""));
    assert_eq!(program.get("/").status, 500);
    // As a browser sends it: with empty fields, and spaces that a person typed.
    assert_eq!(post(&program, "/faults/database-slow", "value=+250+&seconds=").status, 303);
    let page = shown(&program);
    assert!(
        page.contains("2 faults are on: ") && page.contains("(RATE 1)") && page.contains("(MS 250)"),
        "{page}"
    );
    assert!(page.contains("min ") && page.contains(" s left"), "{page}");
    for fault in ["errors", "database-slow", "truncate"] {
        let end = format!("<form method=\"post\" action=\"/faults/{fault}/end\">");
        assert_eq!(page.contains(&end), fault != "truncate", "{fault}: {page}");
    }
    for _ in 0..2 {
        let answer = post(&program, "/faults/errors/end", "");
        assert_eq!((answer.status, answer.header("location")), (303, "/#faults"));
    }
    assert_eq!(program.get("/").status, 200);
    assert!(shown(&program).contains("A fault is on: "));
    assert_eq!(post(&program, "/faults/database-slow/end", "").status, 303);
    program.stop().assert_orderly();
}

#[test]
fn a_person_sets_the_load_by_a_form() {
    let program = start();
    let answer = post(&program, "/load", "rps=200");
    assert_eq!((answer.status, answer.header("location")), (303, "/#load"));
    eventually("requests of the load", || {
        (program.get("/metrics/").sum("requests_total", &[]) > 20.0).then_some(())
    });
    assert!(shown(&program).contains("200 a second"));
    assert_eq!(post(&program, "/load", "rps=0").status, 303);
    program.stop().assert_orderly();
}

#[test]
fn a_form_that_cannot_be_taken_says_why_on_a_page() {
    let program = start();
    for (path, body, section, reason) in [
        ("/faults/gremlins", "", "/#faults", "fault \"gremlins\": unknown; the faults are "),
        ("/faults/%ff/end", "", "/#faults", "unknown; the faults are "),
        ("/faults/errors", "value=&seconds=60", "/#faults", "errors: errors needs RATE"),
        (
            "/faults/errors",
            "value=2",
            "/#faults",
            "errors \"2\": RATE is too large (give a number from 0 to 1)",
        ),
        ("/faults/errors", "value=1&seconds=0", "/#faults", "SECONDS is not above 0"),
        ("/faults/errors", "value=0.1&value=0.2", "/#faults", "value is given several times; give it once"),
        ("/faults/errors", "{\"value\":1}", "/#faults", "is no field of this; give value and seconds"),
        ("/faults/truncate", "value=1", "/#faults", "truncate takes no value"),
        ("/load", "", "/#load", "rps is missing: give requests a second"),
        ("/load", "rps=-1", "/#load", "rps \"-1\": too small; give a number from 0 to 10000"),
        ("/load", "rps=<script>", "/#load", "not a number; give a number from 0 to 10000"),
    ] {
        let answer = post(&program, path, body);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, "text/html; charset=utf-8"),
            "{path} {body}"
        );
        let page = answer.body.replace("&quot;", "\"");
        assert!(page.contains(reason), "{path} {body}: {page}");
        assert!(page.contains(&format!("<a href=\"{section}\">Back to the console</a>")), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
    assert_eq!(post(&program, "/load", &"x".repeat(5000)).status, 413);
    assert!(!shown(&program).contains("A fault is on"));
    program.stop().assert_orderly();
}

#[test]
fn a_get_changes_nothing_and_neither_does_the_page_of_another_site() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let behind = with_token_file(Launch::serve().quick_database(), &file).start();
    let bearer = format!("Bearer {TOKEN}");
    let credentials: [&[(&str, &str)]; 2] = [&[], &[("Authorization", &bearer)]];
    let forms = [("/faults/truncate", "seconds=60"), ("/faults/truncate/end", ""), ("/load", "rps=5")];
    let plain = start();
    for (program, given) in [(&plain, credentials[0]), (&behind, credentials[0]), (&behind, credentials[1])] {
        for foreign in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            for (path, body) in forms {
                let headers = [given, &[FORM, foreign]].concat();
                let answer = http::send(&console(program), &format!("POST {path}"), &headers, body);
                assert_eq!(answer.status, 403, "{path} {headers:?}: {answer:?}");
                assert!(answer.values("www-authenticate").is_empty(), "nobody is asked for a password");
            }
        }
    }
    for (path, body) in forms {
        let answer = http::send(&console(&behind), &format!("POST {path}"), &[FORM], body);
        assert_eq!(answer.status, 401, "{path} without the token");
        for method in ["GET", "HEAD"] {
            let answer = http::ask_with(&console(&plain), &format!("{method} {path}?{body}"), &[]);
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    let page = shown(&plain) + &page(&behind, TOKEN).body;
    assert!(!page.contains("A fault is on") && page.matches("0 a second").count() == 2, "{page}");
    // What the page's own form is sent with.
    let address = console(&behind);
    let origin = format!("http://{address}");
    let own =
        [FORM, ("Authorization", bearer.as_str()), ("Origin", &origin), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(http::send(&address, "POST /faults/truncate", &own, "seconds=60").status, 303);
    assert_eq!(behind.get("/").body, "Development Prometh");
    plain.stop().assert_orderly();
    behind.stop().assert_orderly();
}

#[test]
fn the_signals_are_on_the_page_to_copy() {
    let program = Launch::serve()
        .variable("PUSHPULL_CONSOLE", "127.0.0.1:0")
        .variable("OTEL_SERVICE_NAME", "till")
        .quick_database()
        .start();
    let page = shown(&program).replace("&quot;", "\"");
    let section = page.split("<section id=\"signals\"").nth(1).unwrap().split("</section>").next().unwrap();
    for golden in ["latency", "traffic", "errors", "saturation"] {
        assert!(section.contains(&format!("<span class=\"flag\">{golden}</span>")), "{golden}");
    }
    assert!(
        section.contains("<code class=\"query\">sum(rate(requests_total{job=\"till\"}[5m]))</code>"),
        "{section}"
    );
    assert!(section.contains("seriesByTag('name=requests','service.name=till')"), "{section}");
    program.stop().assert_orderly();
}
