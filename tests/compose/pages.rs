//! What a reader opens, in a real browser: both consoles behind their token, and Graphite's page. Prometheus, Jaeger and Grafana
//! by their APIs.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::{eventually, run};
use super::stack::{BRIDGE_CONSOLE, GRAFANA, GRAPHITE, JAEGER, PATIENCE, PROMETHEUS, SERVICE_CONSOLE, Stack};
use super::views::DELIVERY;
use super::{history, web};

pub(super) fn open(stack: &Stack) {
    let token = history::token(stack);
    for console in [SERVICE_CONSOLE, BRIDGE_CONSOLE] {
        let refused = web::get(console).expect_err("a page without the token");
        assert!(refused.contains("401"), "{refused}");
        assert!(!dom(console).contains("<main"), "{console} is shown without its token");
    }
    let with_token = |console: &str| console.replace("://", &format!("://reader:{token}@"));
    // The service's console: both values of a series, what can be switched, and links under the name that was asked for.
    eventually("the service's console", DELIVERY, || {
        let page = dom(&with_token(SERVICE_CONSOLE));
        has(
            &page,
            &[
                "Pulled",
                "Pushed",
                "database-refuse",
                "histogram_quantile",
                "http://127.0.0.1:5002/",
                "http://127.0.0.1:3000/",
            ],
        )?;
        assert!(!page.contains("0.0.0.0"), "an address that nobody can open: {page}");
        Ok(())
    });
    // The bridge's: what was pushed, traces with the database's span, logs.
    eventually("the bridge's console", DELIVERY, || {
        let page = dom(&with_token(BRIDGE_CONSOLE));
        has(&page, &["requests_total", "GET /database/", "SELECT", "http://127.0.0.1:5001/"])?;
        let logs = page.split("id=\"logs\"").nth(1).unwrap_or_default();
        if logs.contains("<table") { Ok(()) } else { Err(format!("no logs: {logs}")) }
    });
    graphite_has_its_scripts_and_styles();
    // The buttons of the composer's toolbar, which its scripts make.
    eventually("Graphite's page", PATIENCE, || {
        has(&dom(&format!("{GRAPHITE}/composer?")), &["Graph Options", "x-toolbar"])
    });
    for (name, url) in [
        ("Prometheus", format!("{PROMETHEUS}/api/v1/rules")),
        ("Jaeger", format!("{JAEGER}/api/v3/services")),
        ("Grafana", format!("{GRAFANA}/api/health")),
    ] {
        eventually(name, PATIENCE, || web::get(&url));
    }
}

/// The page is a frame around two others, whose scripts and styles are files of the image.
fn graphite_has_its_scripts_and_styles() {
    let page = web::get(GRAPHITE).expect("Graphite's page");
    let frames: Vec<_> = page.split("src=\"").skip(1).filter_map(|text| text.split('"').next()).collect();
    assert_eq!(frames.len(), 2, "{page}");
    let mut files = Vec::new();
    for frame in frames {
        let page = web::get(&format!("{GRAPHITE}{frame}")).expect("a frame of Graphite's page");
        files.extend(
            page.split(['"', '\''])
                .filter(|text| text.contains("/static/") && Path::new(text).extension().is_some())
                .map(str::to_owned),
        );
    }
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let path = &file[file.find("/static/").expect("a path")..];
        web::get(&format!("{GRAPHITE}{path}"))
            .unwrap_or_else(|error| panic!("Graphite's page is blank: {error}"));
    }
}

fn has(page: &str, texts: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = texts.iter().filter(|text| !page.contains(**text)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are not in {page}")) }
}

/// The page as Chromium has built it.
fn dom(url: &str) -> String {
    let profile = TempDir::new().expect("a temporary folder");
    let flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--dump-dom",
    ];
    let mut chromium = Command::new("chromium");
    chromium.args(flags).arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
    run(&mut chromium, "").unwrap_or_else(|error| panic!("chromium {url}: {error}"))
}
