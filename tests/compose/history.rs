//! `docker compose down` and `up`: no row, no value and no acknowledged point goes.

use super::points::Points;
use super::process::eventually;
use super::prometheus::Prometheus;
use super::stack::{PROMETHEUS, Stack};
use super::views::{self, DELIVERY};

pub(super) fn is_kept(stack: &mut Stack) {
    let points = Points::send("proof.history");
    let prometheus = Prometheus(PROMETHEUS.to_owned());
    let total = || prometheus.value("max(max_over_time(requests_total{job=\"app\",endpoint=\"/\"}[1h]))");
    let before = total().expect("the total before");
    let (rows, token) = (rows(stack), token(stack));
    stack.run(&["--profile", "*", "down", "--timeout", "10"]);
    // Nobody asks for a page from here, so that the views can be compared.
    stack.unset("PUSHPULL_PROBE");
    stack.up(&[]);
    assert_eq!(self::rows(stack), rows, "rows of PostgreSQL");
    assert_eq!(self::token(stack), token, "the token of the consoles");
    eventually("the total of before", DELIVERY, || {
        let total = total()?;
        if total >= before { Ok(()) } else { Err(format!("{total}, {before} before")) }
    });
    let acknowledged = points.are_all_in_graphite();
    eprintln!("  {rows} rows, {acknowledged} points acknowledged over down and up");
    views::agree();
}

/// How many rows the service's table has, and when the first was made: a table made anew would differ.
fn rows(stack: &Stack) -> String {
    let query = "select relname, (xpath('/row/n/text()', query_to_xml('select count(*) as n from '||quote_ident(relname), false, true, '')))[1] from pg_stat_user_tables order by 1";
    let text = stack.run(&[
        "exec",
        "--no-tty",
        "postgres",
        "psql",
        "--username=pushpull",
        "--dbname=pushpull",
        "--host=127.0.0.1",
        "-At",
        "-c",
        query,
    ]);
    assert!(!text.trim().is_empty(), "no table");
    text.trim().replace('\n', ", ")
}

/// The token of both consoles, by the command of the README.
pub(super) fn token(stack: &Stack) -> String {
    let shown = super::process::run(
        stack.command("bash").args([
            "-euo",
            "pipefail",
            "-c",
            "docker compose cp app:/var/lib/pushpull/console/token - | tar -xO",
        ]),
        "",
    );
    shown.expect("the token of the consoles").trim().to_owned()
}
