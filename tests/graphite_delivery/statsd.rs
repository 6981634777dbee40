//! What is known of StatsD's series beyond the process: totals, that a counter fell, and under which name each type
//! of a name is shown.

use std::net::UdpSocket;

use crate::{
    carbon::Carbon,
    collect::{Collect, spooling},
    points::eventually,
};

fn send(collect: &Collect, datagram: &str) {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(datagram.as_bytes(), collect.address("statsd")).unwrap();
}

/// The samples without the collector's own.
fn samples(collect: &Collect) -> Vec<String> {
    let (_, text) = collect.get("/metrics");
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("pushpull_collector_"))
        .map(str::to_owned)
        .collect()
}

fn until_shown(collect: &Collect, wanted: &[&str]) -> Vec<String> {
    eventually(&format!("{wanted:?}"), || {
        let samples = samples(collect);
        wanted.iter().all(|wanted| samples.iter().any(|sample| sample == wanted)).then_some(samples)
    })
}

fn until_written(carbon: &Carbon, start: &str) {
    eventually(start, || {
        carbon.connections().iter().flatten().any(|line| line.starts_with(start)).then_some(())
    });
}

/// Ends the process, by a kill or a stop.
fn end(collect: Collect, by_kill: bool) {
    if by_kill { collect.kill() } else { drop(collect.stop()) }
}

#[test]
fn a_counter_that_fell_stays_a_gauge() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = format!("{} --statsd-flush 100ms", spooling(folder.path(), carbon.address()));
    let mut total = 3;
    let collect = Collect::start(&flags);
    send(&collect, "stock:5|c|#shelf:a");
    until_shown(&collect, &["stock_total{shelf=\"a\"} 5"]);
    send(&collect, "stock:-2|c|#shelf:a");
    until_written(&carbon, "stock;shelf=a 3 ");
    end(collect, true);
    for by_kill in [true, false, true] {
        let collect = Collect::start(&flags);
        // Another of the name, which never fell, comes first.
        send(&collect, "stock:1|c|#shelf:b\nstock:10|c|#shelf:a");
        total += 10;
        let samples = until_shown(&collect, &[&format!("stock{{shelf=\"a\"}} {total}")]);
        assert_eq!(samples.len(), 2, "{samples:?}");
        assert!(samples.iter().all(|sample| sample.starts_with("stock{")), "{samples:?}");
        until_written(&carbon, &format!("stock;shelf=a {total} "));
        assert_eq!(collect.own("refused_total", ""), 0);
        end(collect, by_kill);
    }
}

#[test]
fn what_expired_before_a_restart_goes_on_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags =
        format!("{} --statsd-flush 100ms --statsd-expiry 1s", spooling(folder.path(), carbon.address()));
    for by_kill in [true, false] {
        let first = if by_kill { 1 } else { 3 };
        let collect = Collect::start(&flags);
        send(&collect, "job:1|c\njob:5|g");
        until_shown(&collect, &[&format!("job_total {first}"), "job_gauge 5"]);
        eventually("it leaves", || samples(&collect).is_empty().then_some(()));
        end(collect, by_kill);
        let collect = Collect::start(&flags);
        // The gauge, which had to give way to the counter, keeps its name although it comes first.
        send(&collect, "job:+1|g");
        until_shown(&collect, &["job_gauge 6"]);
        send(&collect, "job:1|c");
        until_shown(&collect, &[&format!("job_total {}", first + 1), "job_gauge 6"]);
        until_written(&carbon, &format!("job {} ", first + 1));
        end(collect, by_kill);
    }
}

#[test]
fn what_was_alive_goes_on_after_a_restart_however_much_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = format!(
        "{} --statsd-flush 100ms --statsd-expiry 1s --max-series 12",
        spooling(folder.path(), carbon.address())
    );
    let collect = Collect::start(&flags);
    let names = |word: &str| (0..6).map(|at| format!("{word}{at}:1|c")).collect::<Vec<_>>().join("\n");
    for word in ["a", "b"] {
        send(&collect, &names(word));
        until_shown(&collect, &[&format!("{word}0_total 1")]);
        eventually("it has expired", || {
            (!samples(&collect).iter().any(|sample| sample.starts_with(word))).then_some(())
        });
    }
    send(&collect, "a0:1|s");
    send(&collect, &names("c"));
    until_shown(&collect, &["c5_total 1"]);
    collect.kill();
    let collect = Collect::start(&flags);
    // Another type of a name that was a counter comes first.
    send(&collect, &names("c").replace("c0:1|c", "c0:1|g\nc0:1|c"));
    until_shown(&collect, &["c0_total 2", "c5_total 2", "c0_gauge 1"]);
    assert_eq!(collect.own("refused_total", ""), 0);
}

#[test]
fn a_value_for_an_earlier_second_does_not_replace_a_newer_one_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = format!("{} --statsd-flush 100ms", spooling(folder.path(), carbon.address()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let collect = Collect::start(&flags);
    send(&collect, &format!("level:5|g|T{now}"));
    until_shown(&collect, &["level 5"]);
    collect.kill();
    let collect = Collect::start(&flags);
    send(&collect, &format!("level:3|g|T{}", now - 60));
    until_shown(&collect, &["level 5"]);
    until_written(&carbon, &format!("level 3 {}", now - 60));
}
