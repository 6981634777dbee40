//! Under load, at half of what it can do, through a fault after another: nothing that the promise covers is lost,
//! and memory ends where it was after the first minute.
//!
//! The senders keep what was not acknowledged and send it again, as any exporter with a queue does; what was
//! acknowledged they never send again.

use std::{
    env, fs,
    io::Write as _,
    net::{Shutdown, TcpStream, UdpSocket},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

#[path = "soak/carbons.rs"]
mod carbons;
#[path = "soak/faults.rs"]
mod faults;
#[path = "soak/load.rs"]
mod load;
#[path = "soak/station.rs"]
mod station;
#[path = "soak/store.rs"]
mod store;

use self::{
    carbons::Carbons,
    faults::{Fault, Times},
    load::Load,
    station::Order,
    store::Acknowledged,
};
use crate::{
    collect::{Collect, client, without_file_signal},
    points::{Batch, eventually},
};

/// How long it takes in seconds, how many points each request has and how many points are sent a second, unless the
/// variable `SOAK` gives the seconds: then each request has [`POINTS`], and half of what is measured is sent, or what
/// `SOAK_RATE` says. (The last 32 MiB are written again on every connection: that is long for what is not optimized.)
const SHORT: (f64, usize, f64) = (10.0, 100, 4000.0);
const POINTS: usize = 1000;
/// How much more memory it may have at the end than after the first minute: `MARGIN` and an eighth of that.
const MARGIN: u64 = 8 * MIB;
const MIB: u64 = 1024 * 1024;
/// New series of each burst of them.
const BURST: usize = 5000;
/// What a point takes in the spool at the most.
const POINT_BYTES: f64 = 80.0;

/// How many points a second come out at carbon, and are acknowledged, as fast as that goes.
fn capacity(times: &Times, series: usize) -> f64 {
    let (carbons, load, folder) =
        (Carbons::new(Duration::MAX), Load::new(series, None), tempfile::tempdir().unwrap());
    let collect = Collect::start(&carbons.flags(folder.path(), times, 4096));
    load.send_to(collect.address("otlp_http"));
    let began = Instant::now();
    thread::scope(|scope| {
        let _running = load.start(scope);
        thread::sleep((times.length / 10).clamp(Duration::from_secs(1), Duration::from_secs(10)));
    });
    carbons.await_all(&load.acknowledged(), times.patience());
    carbons.assert_right();
    count(&load.acknowledged()) as f64 / began.elapsed().as_secs_f64()
}

fn count(acknowledged: &[Acknowledged]) -> u64 {
    acknowledged.iter().map(|(series, numbers)| series.len() as u64 * (numbers.end - numbers.start)).sum()
}

/// The program under load, and what is done to it.
struct Soak<'load> {
    times: Times,
    began: Instant,
    carbons: &'load Carbons,
    flags: String,
    load: &'load Load,
    client: reqwest::blocking::Client,
    /// `None` while it has ended.
    collect: Option<Collect>,
    /// Of this process: how long it had run, and how many bytes it had then.
    memory: Vec<(Duration, u64)>,
    started: Instant,
    bursts: Vec<Acknowledged>,
    faults: usize,
}

impl<'load> Soak<'load> {
    fn start(times: Times, carbons: &'load Carbons, flags: String, load: &'load Load) -> Self {
        let (began, memory, bursts) = (Instant::now(), Vec::new(), Vec::new());
        let client = client();
        let mut soak = Self {
            times,
            began,
            carbons,
            flags,
            load,
            client,
            collect: None,
            memory,
            started: began,
            bursts,
            faults: 0,
        };
        soak.start_process();
        soak
    }

    fn start_process(&mut self) {
        let collect = Collect::start_as(without_file_signal(), &self.flags);
        self.load.send_to(collect.address("otlp_http"));
        self.collect = Some(collect);
        self.memory.clear();
        self.started = Instant::now();
    }

    fn collect(&self) -> &Collect {
        self.collect.as_ref().unwrap()
    }

    /// Each fault at least once, until the time is over.
    fn run(&mut self) {
        let mut due = self.times.every;
        for (turn, fault) in Fault::ALL.into_iter().cycle().enumerate() {
            if turn >= Fault::ALL.len() {
                if due + self.times.every > self.times.length {
                    break;
                }
                if fault.ends_the_process() && due > self.times.length / 2 {
                    continue;
                }
            }
            self.rest_until(due);
            let at = self.began.elapsed();
            self.do_to_it(fault);
            let took = self.await_all();
            self.faults += 1;
            println!(
                "{:7.1} s  {fault:<30}  all was there {:.2} s after it; memory {:.1} MiB",
                at.as_secs_f64(),
                took.as_secs_f64(),
                mebibytes(self.measure())
            );
            due = (due + self.times.every).max(self.began.elapsed());
        }
        self.rest_until(self.times.length.max(due));
    }

    fn acknowledged(&self) -> Vec<Acknowledged> {
        [self.load.acknowledged(), self.bursts.clone()].concat()
    }

    /// Waits until all that was acknowledged so far is there; how long that took.
    fn await_all(&self) -> Duration {
        let took = self.carbons.await_all(&self.acknowledged(), self.times.patience());
        self.carbons.assert_right();
        took
    }

    /// Lets it work until then.
    fn rest_until(&mut self, time: Duration) {
        while self.began.elapsed() < time {
            self.measure();
            thread::sleep((time.saturating_sub(self.began.elapsed())).min(self.times.every / 20));
        }
    }

    /// The memory that the process has now.
    fn measure(&mut self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.collect().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        self.memory.push((self.started.elapsed(), kibibytes * 1024));
        kibibytes * 1024
    }

    fn do_to_it(&mut self, fault: Fault) {
        let lasting = self.times.lasting;
        match fault {
            // While the spool alone has what was acknowledged lately.
            Fault::Kill => {
                self.carbons.set_open(false);
                thread::sleep(lasting);
                self.collect.take().unwrap().kill();
                self.start_process();
                self.carbons.set_open(true);
            }
            Fault::Stop => {
                self.assert_sound();
                self.collect.take().unwrap().stop();
                self.start_process();
            }
            Fault::NewSeries => {
                let first = self.load.all_series() + self.bursts.len() * BURST;
                let batch = Batch::of(self.bursts.len() as u64, first..first + BURST);
                assert!(self.load.acknowledge(&self.client, &batch));
                self.bursts.push((first..first + BURST, batch.number..batch.number + 1));
            }
            Fault::Close | Fault::Reset => {
                let station = self.carbons.current();
                station.tell(if fault == Fault::Close { Order::Close } else { Order::Reset });
                eventually("the end of the connection", || (station.order() == Order::Read).then_some(()));
            }
            Fault::Stall => {
                let station = self.carbons.current();
                station.tell(Order::Stall);
                thread::sleep(lasting);
                station.tell(Order::Read);
            }
            Fault::Gone => {
                self.carbons.set_open(false);
                thread::sleep(lasting);
                self.carbons.set_open(true);
            }
            Fault::FailOver => {
                let station = self.carbons.current();
                station.set_open(false);
                eventually("the end of the connection", || {
                    (station.connected.load(Ordering::SeqCst) == 0).then_some(())
                });
                self.carbons.current();
                station.set_open(true);
            }
            Fault::Garbage => self.send_garbage(),
            Fault::FullDisk => {
                let refused = || self.load.refused.load(Ordering::SeqCst);
                let before = refused();
                self.collect().limit_files("1");
                eventually("a refusal", || (refused() > before).then_some(()));
                thread::sleep(lasting);
                self.collect().limit_files("unlimited");
            }
        }
    }

    /// What no receiver can read, and what begins as something that it can.
    fn send_garbage(&self) {
        let noise: Vec<u8> =
            (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
        let collect = self.collect();
        for listener in ["otlp_grpc", "otlp_http", "exposition"] {
            let address = collect.address(listener);
            for beginning in [
                "",
                "POST /v1/metrics HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ] {
                let mut stream = TcpStream::connect(address).unwrap();
                // It may end the connection before all of it was written.
                let _ = stream.write_all(beginning.as_bytes()).and_then(|()| stream.write_all(&noise));
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        for (kind, encoding) in [
            ("application/x-protobuf", "identity"),
            ("application/x-protobuf", "gzip"),
            ("application/json", "identity"),
        ] {
            let url = format!("http://{}/v1/metrics", collect.address("otlp_http"));
            let request =
                self.client.post(url).header("content-type", kind).header("content-encoding", encoding);
            assert_eq!(request.body(noise.clone()).send().unwrap().status(), 400, "{kind} {encoding}");
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for datagram in noise.chunks(1000) {
            socket.send_to(datagram, collect.address("statsd")).unwrap();
        }
    }

    /// It lost nothing that it knows of.
    fn assert_sound(&self) {
        assert_eq!(self.collect().own("spool_damaged_total", "reason=\"damaged\""), 0);
        assert_eq!(self.collect().own("dropped_total", "graphite"), 0);
    }

    /// The memory after the first minute, or what stands for it, and at the end.
    fn assert_memory(&self) {
        let (_, first) = self.memory.iter().find(|(time, _)| *time >= self.times.every).unwrap();
        let (time, last) = self.memory.last().unwrap();
        let most = self.memory.iter().map(|(_, bytes)| *bytes).max().unwrap();
        println!(
            "memory of the last process: {:.1} MiB {:.0} s after its start, {:.1} MiB after {:.0} s, {:.1} MiB at most",
            mebibytes(*first),
            self.times.every.as_secs_f64(),
            mebibytes(*last),
            time.as_secs_f64(),
            mebibytes(most)
        );
        assert!(*last <= first + first / 8 + MARGIN, "{:?}", self.memory);
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

fn number(variable: &str) -> Option<f64> {
    env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn a_soak_loses_nothing_and_ends_with_the_memory_that_it_began_with() {
    let (seconds, points, rate) = match number("SOAK") {
        Some(seconds) => (seconds, POINTS, number("SOAK_RATE")),
        None => (SHORT.0, SHORT.1, Some(SHORT.2)),
    };
    let times = Times::of(Duration::from_secs_f64(seconds));
    let rate = rate.unwrap_or_else(|| {
        let capacity = capacity(&times, points);
        println!("{capacity:.0} points/s are what it can take and write here");
        capacity / 2.0
    });
    let carbons = Carbons::new(times.cached);
    let folder = tempfile::tempdir().unwrap();
    // What the window takes, and an absence with the pause of the connection behind it; twice, since all of it is in
    // the window once it is written.
    let seconds = (times.replay + times.lasting).as_secs_f64() + 30.0;
    let limit = 64 + (2.0 * rate * POINT_BYTES * seconds) as u64 / MIB;
    let flags = carbons.flags(folder.path(), &times, limit);
    let load = Load::new(points, Some(rate));
    println!(
        "{rate:.0} points/s of {} series, a fault every {:.0} s; {flags}",
        load.all_series(),
        times.every.as_secs_f64()
    );
    let mut soak = Soak::start(times, &carbons, flags, &load);
    thread::scope(|scope| {
        let running = load.start(scope);
        soak.run();
        drop(running);
    });
    let took = soak.await_all();
    soak.assert_sound();
    soak.measure();
    let (acknowledged, ran) = (count(&soak.acknowledged()), soak.began.elapsed());
    let (lines, connections) = {
        let store = carbons.store.lock().unwrap();
        (store.lines, store.connections)
    };
    println!(
        "{acknowledged} points were acknowledged in {:.0} s, {:.0}/s, and all of them were there {:.2} s after the last; \
         carbon read {lines} lines on {connections} connections; {} faults; {} requests were refused and {} unanswered, \
         and sent again",
        ran.as_secs_f64(),
        acknowledged as f64 / ran.as_secs_f64(),
        took.as_secs_f64(),
        soak.faults,
        load.refused.load(Ordering::SeqCst),
        load.unanswered.load(Ordering::SeqCst)
    );
    soak.assert_memory();
}
