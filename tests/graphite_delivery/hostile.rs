//! Carbons that go, come back, stall, or forget what they took.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read as _,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    carbon::{Carbon, Connection, Hostile, assert_in_order, whole_lines},
    collect::{Collect, spooling},
    points::{Batch, eventually, lines_of},
};

/// Flags without and with a spool in `folder`.
fn both(folder: &tempfile::TempDir, address: impl std::fmt::Display) -> [String; 2] {
    [format!("--graphite {address}"), spooling(folder.path(), address)]
}

/// Nothing has to be written for it: an idle connection that carbon ends is noticed.
#[test]
fn an_end_is_noticed_before_the_next_write_and_the_window_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Hostile::listen();
    for flags in both(&folder, carbon.address()) {
        let collect = Collect::start(&flags);
        let mut first = carbon.accept();
        collect.take(&Batch::new(0, 100));
        first.until(&lines_of([0], 100));
        drop(first);
        let mut second = carbon.accept();
        second.until(&lines_of([0], 100));
        collect.take(&Batch::new(1, 100));
        second.until(&lines_of([0, 1], 100));
        assert_in_order(&second.lines());
        eventually("the counts", || {
            let own = |name| collect.own(name, "graphite");
            (own("sent_total") == 200 && own("replayed_total") == 100).then_some(())
        });
        assert_eq!(collect.own("reconnects_total", "graphite"), 1);
    }
}

#[test]
fn another_address_takes_over_with_the_window_and_the_first_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Hostile::listen(), Hostile::listen());
    let addresses = format!("{} --graphite {}", first.address(), second.address());
    for flags in both(&folder, addresses) {
        let collect = Collect::start(&flags);
        let mut connections: Vec<Connection> = Vec::new();
        for (number, carbon) in [&first, &second, &first].into_iter().enumerate() {
            let number = number as u64;
            connections.pop();
            let mut connection = carbon.accept();
            collect.take(&Batch::new(number, 100));
            connection.until(&lines_of(0..=number, 100));
            assert_in_order(&connection.lines());
            connections.push(connection);
        }
    }
}

/// Ends its connections again and again, and keeps of each only a part of what it read.
struct Forgetful {
    kept: Arc<Mutex<BTreeSet<String>>>,
    ends: Arc<AtomicBool>,
}

impl Forgetful {
    fn on(listener: TcpListener) -> Self {
        let kept = Arc::new(Mutex::new(BTreeSet::new()));
        let ends = Arc::new(AtomicBool::new(true));
        let forgetful = Self { kept: Arc::clone(&kept), ends: Arc::clone(&ends) };
        thread::spawn(move || {
            for (turn, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                if turn % 2 == 1 {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                let mut read = Vec::new();
                let mut part = vec![0; 64 * 1024];
                // A different place of the stream each time.
                let most = 40_000 + turn % 4 * 67_777;
                while let Ok(length @ 1..) = stream.read(&mut part) {
                    read.extend_from_slice(&part[..length]);
                    if ends.load(Ordering::SeqCst) && read.len() > most {
                        break;
                    }
                    if !ends.load(Ordering::SeqCst) {
                        kept.lock().unwrap().extend(whole_lines(&read));
                    }
                }
                assert_in_order(&whole_lines(&read));
                let forgotten = read.len() / 2;
                kept.lock().unwrap().extend(whole_lines(&read[..read.len() - forgotten]));
            }
        });
        forgetful
    }
}

#[test]
fn what_a_carbon_forgets_with_each_connection_is_written_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let forgetful = Forgetful::on(listener);
    for (round, flags) in both(&folder, address).into_iter().enumerate() {
        forgetful.ends.store(true, Ordering::SeqCst);
        let collect = Collect::start(&flags);
        let numbers = round as u64 * 1000..round as u64 * 1000 + 60;
        for number in numbers.clone() {
            collect.take(&Batch::new(number, 100));
        }
        eventually("some reconnects", || (collect.own("reconnects_total", "graphite") >= 3).then_some(()));
        forgetful.ends.store(false, Ordering::SeqCst);
        let wanted = lines_of(numbers, 100);
        // The connection that stays has nothing to read unless something is written.
        let mut mark = 5000 + round as u64 * 1000;
        eventually("everything", || {
            mark += 1;
            collect.take(&Batch::new(mark, 1));
            wanted.is_subset(&forgetful.kept.lock().unwrap()).then_some(())
        });
        assert!(collect.own("replayed_total", "graphite") > 0);
    }
}

/// Peak memory of a process.
#[cfg(target_os = "linux")]
fn peak(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends batches until one is refused for want of room; the number of the refused one.
fn fill(collect: &Collect, first: u64, series: usize) -> u64 {
    for number in first.. {
        match collect.send(&Batch::new(number, series)) {
            Some(200) => {}
            Some(503) => return number,
            other => panic!("batch {number}: {other:?}"),
        }
    }
    unreachable!("the numbers do not end");
}

/// How a peer reads until it is told to read everything.
type Reading = fn(&mut std::net::TcpStream) -> io::Result<()>;

fn a_byte_a_second(stream: &mut std::net::TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0])?;
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn never(_: &mut std::net::TcpStream) -> io::Result<()> {
    thread::sleep(Duration::from_millis(20));
    Ok(())
}

/// Nothing is lost, memory stays bounded, senders are told to wait, and the other sink has what was taken.
fn a_peer_that_hardly_reads(reading: Reading, flags: impl Fn(&str) -> String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(16).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let healed = Arc::new(AtomicBool::new(false));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (heals, keeps) = (Arc::clone(&healed), Arc::clone(&kept));
    thread::spawn(move || {
        // Only the newest connection counts: what an earlier one took is forgotten.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            keeps.lock().unwrap().clear();
            while !heals.load(Ordering::SeqCst) && reading(&mut stream).is_ok() {}
            let mut part = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut part) {
                keeps.lock().unwrap().extend_from_slice(&part[..length]);
            }
        }
    });
    let other = Collect::start("");
    let forward = format!("--forward http://{}", other.address("otlp_http"));
    let collect = Collect::start(&format!("{} {forward}", flags(&address.to_string())));
    collect.take(&Batch::new(0, 1000));
    #[cfg(target_os = "linux")]
    let before = peak(collect.id());
    let mut refused = 1;
    // The first refusal may be of a moment, before carbon's connection has taken what it can.
    eventually("it is full", || {
        refused = fill(&collect, refused, 1000);
        (collect.get("/readyz").0 == 503).then_some(())
    });
    #[cfg(target_os = "linux")]
    assert!(peak(collect.id()) < before + 64 * 1024 * 1024, "{} became {}", before, peak(collect.id()));
    assert!(collect.own("refused_total", "no_room") >= 1000);
    let newest = format!("}} {}", refused - 1);
    for exposed in [&collect, &other] {
        eventually("the newest point that was taken", || {
            let (_, text) = exposed.get("/metrics");
            let line = text.lines().find(|line| line.starts_with("level{") && line.contains("path00000"))?;
            line.ends_with(&newest).then_some(())
        });
    }

    healed.store(true, Ordering::SeqCst);
    eventually("there is room again", || {
        (collect.send(&Batch::new(refused, 1000)) == Some(200)).then_some(())
    });
    eventually("all of it is written", || (collect.own("queue_bytes", "graphite") == 0).then_some(()));
    // The first bytes went to the reader that threw them away; a new connection brings them again.
    let last = lines_of([refused], 1000);
    eventually("the last batch", || {
        let lines = whole_lines(&kept.lock().unwrap()).into_iter().collect();
        last.is_subset(&lines).then_some(())
    });
}

#[test]
fn a_peer_that_never_reads_holds_up_nothing_else() {
    a_peer_that_hardly_reads(never, |address| format!("--graphite {address} --queue-limit 1MiB"));
}

#[test]
fn a_peer_that_reads_a_byte_a_second_holds_up_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    a_peer_that_hardly_reads(a_byte_a_second, |address| {
        format!("{} --spool-limit 2MiB --graphite-replay 1s", spooling(folder.path(), address))
    });
}

/// The window outlives both: what was written to a carbon that is gone, by a process that is gone.
#[test]
fn a_new_process_writes_the_window_to_another_carbon() {
    let folder = tempfile::tempdir().unwrap();
    let first = Hostile::listen();
    let collect = Collect::start(&spooling(folder.path(), first.address()));
    collect.take(&Batch::new(0, 100));
    first.accept().until(&lines_of([0], 100));
    collect.kill();
    let second = Carbon::listen();
    let _collect = Collect::start(&spooling(folder.path(), second.address()));
    second.until(&lines_of([0], 100));
}

/// Each connection begins with the whole window: one that ends soon is not made again at once.
#[test]
fn a_carbon_that_ends_each_connection_is_asked_ever_more_seldom() {
    let carbon = Hostile::listen();
    let collect = Collect::start(&format!("--graphite {}", carbon.address()));
    collect.take(&Batch::new(0, 10));
    let began = Instant::now();
    for _ in 0..6 {
        let mut connection = carbon.accept();
        connection.until(&lines_of([0], 10));
        // Long enough to look like one that lasts.
        thread::sleep(Duration::from_millis(1200));
    }
    // Pauses of 0.1, 0.2, 0.4, 0.8 and 1.6 s between them.
    let pauses = began.elapsed().saturating_sub(6 * Duration::from_millis(1200));
    assert!(pauses >= Duration::from_millis(3000), "{pauses:?}");
    let said = collect.log();
    let changes = said.lines().filter(|line| line.contains("the sink is")).count();
    assert!((1..=6).contains(&changes), "{said}");
}
