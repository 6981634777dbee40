//! What series stand at goes on where it was when the process ends and starts again on its spool: totals of delta
//! points, and that a beginning was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::UdpSocket,
    process::Command,
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
    number_data_point,
};

use crate::{
    away::Away,
    carbon::Carbon,
    collect::{Collect, spooling},
    kills::{Chance, kills},
    points::{T, attribute, eventually, request},
};

const SENDERS: usize = 3;
const SERIES: usize = 10;
/// Seconds from one request of a sender to the next; half of it is the interval that its deltas are of.
const STEP: u64 = 10;
const BOUNDS: [f64; 2] = [0.5, 1.0];

/// What one request adds to each series of a sender; also what a series stands at.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    jobs: i64,
    buckets: [u64; 3],
    /// Of halves, so that doubles hold it exactly.
    sum: f64,
}

impl Amount {
    /// Another in each request.
    fn of(number: u64) -> Self {
        let buckets = [number % 3, 1, number % 5];
        Self { jobs: (number % 100 + 1).cast_signed(), buckets, sum: (number % 7) as f64 * 0.5 }
    }

    fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.sum += other.sum;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(bucket, other)| *bucket += other);
    }

    /// The lines of one series that stands at this.
    fn lines(&self, key: &str, second: u64) -> Vec<String> {
        let [low, middle, high] = self.buckets;
        let (middle, all) = (low + middle, low + middle + high);
        let bucket =
            |le: &str, count| format!("slow.bucket;k={key};le={le};service.name=shop {count} {second}");
        vec![
            format!("jobs;k={key};service.name=shop {} {second}", self.jobs),
            bucket("0.5", low),
            bucket("1", middle),
            bucket("+Inf", all),
            format!("slow.sum;k={key};service.name=shop {} {second}", self.sum),
            format!("slow.count;k={key};service.name=shop {all} {second}"),
        ]
    }
}

const fn second(number: u64) -> u64 {
    T + number * STEP
}

fn keys(sender: usize) -> impl Iterator<Item = String> {
    (0..SERIES).map(move |series| format!("{sender}-{series}"))
}

fn counter(name: &str, temporality: AggregationTemporality, data_points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum { data_points, aggregation_temporality: temporality as i32, is_monotonic: true };
    Metric { name: name.to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() }
}

fn number(key: String, start: u64, time: u64, value: i64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![attribute("k", key)],
        start_time_unix_nano: start * 1_000_000_000,
        time_unix_nano: time * 1_000_000_000,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

/// The deltas of a sender's request.
fn deltas(sender: usize, request_number: u64) -> Vec<u8> {
    let amount = Amount::of(request_number);
    let time = second(request_number);
    let start = time - STEP / 2;
    let point = |key: String| HistogramDataPoint {
        attributes: vec![attribute("k", key)],
        start_time_unix_nano: start * 1_000_000_000,
        time_unix_nano: time * 1_000_000_000,
        count: amount.buckets.iter().sum(),
        sum: Some(amount.sum),
        bucket_counts: amount.buckets.to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    };
    let slow = Histogram {
        data_points: keys(sender).map(point).collect(),
        aggregation_temporality: AggregationTemporality::Delta as i32,
    };
    let jobs = keys(sender).map(|key| number(key, start, time, amount.jobs)).collect();
    request(vec![
        counter("jobs", AggregationTemporality::Delta, jobs),
        Metric { name: "slow".to_owned(), data: Some(Data::Histogram(slow)), ..Metric::default() },
    ])
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Acknowledged,
    Refused,
    /// The process was gone before it answered: whether it took the request is not known.
    None,
}

/// Holds that carbon has, of every request that was acknowledged, and of none that was refused, the lines with the
/// total at that request; that one without an answer has its lines if and only if later totals have its amounts; and
/// that each series began once.
fn assert_each_counted_once(sender: usize, answers: &[(u64, Answer)], carbon: &BTreeSet<String>) -> u64 {
    let mut total = Amount::default();
    let (mut counted, mut begun) = (0, false);
    for (number, answer) in answers {
        let mut with = total;
        with.add(&Amount::of(*number));
        let lines: Vec<String> = keys(sender).flat_map(|key| with.lines(&key, second(*number))).collect();
        let there = lines.iter().filter(|line| carbon.contains(*line)).count();
        let beginning = keys(sender)
            .flat_map(|key| Amount::default().lines(&key, second(*number) - STEP / 2))
            .filter(|line| carbon.contains(line))
            .count();
        let is_counted = match answer {
            Answer::Acknowledged => true,
            Answer::Refused => false,
            Answer::None => there > 0,
        };
        let expected = if is_counted { lines.len() } else { 0 };
        assert_eq!(
            there, expected,
            "{answer:?}: request {number} of sender {sender}, such as {:?}",
            lines[0]
        );
        let expected = if is_counted && !begun { lines.len() } else { 0 };
        assert_eq!(beginning, expected, "{answer:?}: beginnings at request {number} of sender {sender}");
        if is_counted {
            (total, begun) = (with, true);
            counted += 1;
        }
    }
    counted
}

/// Everything that it took; never two values of one path at one second.
fn taken(carbon: &Carbon) -> BTreeSet<String> {
    let lines: BTreeSet<String> = carbon.connections().into_iter().flatten().collect();
    let mut places = BTreeMap::new();
    for line in &lines {
        let parts: Vec<&str> = line.split(' ').collect();
        let [path, value, second] = parts[..] else { panic!("no whole line: {line:?}") };
        let other = places.insert((path, second), value);
        assert_eq!(other, None, "beside {line:?}");
    }
    lines
}

fn until_taken(carbon: &Carbon, second: u64, path: &str) {
    eventually("the last line", || {
        let end = format!(" {second}");
        let is_it = |line: &String| line.starts_with(path) && line.ends_with(&end);
        carbon.connections().iter().flatten().any(is_it).then_some(())
    });
}

#[test]
fn totals_go_on_after_a_stop_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = spooling(folder.path(), carbon.address());
    let mut answers = Vec::new();
    for round in 0..4 {
        let collect = Collect::start(&flags);
        for number in round * 5..round * 5 + 5 {
            assert_eq!(collect.post(deltas(0, number)), Some(200), "{}", collect.log());
            answers.push((number, Answer::Acknowledged));
        }
        if round == 1 { drop(collect.stop()) } else { collect.kill() }
    }
    let _collect = Collect::start(&flags);
    until_taken(&carbon, second(19), "slow.count;k=0-9;");
    assert_eq!(assert_each_counted_once(0, &answers, &taken(&carbon)), 20);
}

/// The exposition has them too where nothing of them goes to Graphite.
#[test]
fn totals_go_on_that_have_no_lines() {
    let folder = tempfile::tempdir().unwrap();
    let away = Away::new();
    let flags = format!("{} --graphite-exclude *", spooling(folder.path(), away.address()));
    let jobs = |collect: &Collect| {
        let (_, text) = collect.get("/metrics");
        text.lines()
            .find(|line| line.starts_with("jobs_total{") && line.contains("k=\"0-3\""))
            .unwrap()
            .to_owned()
    };
    let collect = Collect::start(&flags);
    (0..3).for_each(|number| assert_eq!(collect.post(deltas(0, number)), Some(200)));
    assert!(jobs(&collect).ends_with(" 6"), "{}", jobs(&collect));
    collect.kill();
    let collect = Collect::start(&flags);
    assert_eq!(collect.post(deltas(0, 3)), Some(200));
    assert!(jobs(&collect).ends_with(" 10"), "{}", jobs(&collect));
}

#[test]
fn a_beginning_is_written_once_whatever_the_process_does() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = spooling(folder.path(), carbon.address());
    let body = |time, value| {
        let point = number("a".to_owned(), T, T + time, value);
        request(vec![counter("jobs", AggregationTemporality::Cumulative, vec![point])])
    };
    for time in 1..4 {
        let collect = Collect::start(&flags);
        assert_eq!(collect.post(body(time, 5)), Some(200));
        if time == 2 { drop(collect.stop()) } else { collect.kill() }
    }
    let collect = Collect::start(&flags);
    assert_eq!(collect.post(body(4, 5)), Some(200));
    until_taken(&carbon, T + 4, "jobs;");
    let mut wanted: Vec<String> =
        (1..=4).map(|time| format!("jobs;k=a;service.name=shop 5 {}", T + time)).collect();
    wanted.insert(0, format!("jobs;k=a;service.name=shop 0 {T}"));
    // The last connection has all of it from the window, in the order in which it was taken in.
    let last = carbon.connections().pop().unwrap();
    assert_eq!(last, wanted);
    // A successor of the sender has a beginning of its own.
    let point = number("a".to_owned(), T + 10, T + 11, 2);
    let body = request(vec![counter("jobs", AggregationTemporality::Cumulative, vec![point])]);
    assert_eq!(collect.post(body), Some(200));
    carbon.until(
        &[10, 11].map(|time| format!("jobs;k=a;service.name=shop {} {}", (time - 10) * 2, T + time)).into(),
    );
}

#[test]
fn a_delta_that_is_no_number_does_not_spoil_a_total_through_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = spooling(folder.path(), carbon.address());
    let body = |time, value| {
        let value = Some(number_data_point::Value::AsDouble(value));
        let point = NumberDataPoint { value, ..number("a".to_owned(), T, T + time, 0) };
        request(vec![counter("jobs", AggregationTemporality::Delta, vec![point])])
    };
    for (time, value) in [(1, 1.0), (2, f64::NAN), (3, f64::INFINITY), (4, f64::MAX)] {
        let collect = Collect::start(&flags);
        assert_eq!(collect.post(body(time, value)), Some(200));
        collect.kill();
    }
    let collect = Collect::start(&flags);
    assert_eq!(collect.post(body(5, 5.0)), Some(200));
    carbon.until(&[format!("jobs;k=a;service.name=shop 6 {}", T + 5)].into());
    let lines = carbon.connections().into_iter().flatten();
    let spoiled: Vec<_> =
        lines.filter(|line| [2, 3, 4].iter().any(|time| line.ends_with(&format!(" {}", T + time)))).collect();
    assert!(spoiled.is_empty(), "{spoiled:?}");
}

#[test]
fn what_rounding_takes_of_a_total_comes_back_after_a_kill_and_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = spooling(folder.path(), carbon.address());
    let large = 1e15;
    // Each is less than half of what the last digit of the total stands for, and alone changes nothing.
    let small = 0.05;
    assert!(large + small == large);
    for (time, value) in [large, small, small, small, small, small].into_iter().enumerate() {
        let collect = Collect::start(&flags);
        let value = Some(number_data_point::Value::AsDouble(value));
        let time = T + time as u64 + 1;
        let point = NumberDataPoint { value, ..number("a".to_owned(), T, time, 0) };
        let body = request(vec![counter("jobs", AggregationTemporality::Delta, vec![point])]);
        assert_eq!(collect.post(body), Some(200));
        if time.is_multiple_of(2) { collect.kill() } else { drop(collect.stop()) }
    }
    let _collect = Collect::start(&flags);
    eventually("the total with all that was added", || {
        let total: f64 = newest(&carbon, "jobs;k=a;service.name=shop")?.parse().ok()?;
        (total == large + 0.25).then_some(())
    });
}

/// The newest value that a connection had of a path.
fn newest(carbon: &Carbon, path: &str) -> Option<String> {
    let lines = carbon.connections().into_iter().flatten();
    let mut of_path = lines.filter_map(|line| Some(line.strip_prefix(path)?.strip_prefix(' ')?.to_owned()));
    of_path.next_back().and_then(|line| Some(line.split_once(' ')?.0.to_owned()))
}

#[test]
fn what_statsd_added_up_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = Carbon::listen();
    let flags = format!("{} --statsd-flush 1s", spooling(folder.path(), carbon.address()));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let counts = [("gorets", 5, 8, 11), ("fuel", 10, 11, 12), ("glork.count", 1, 2, 3)];
    let mut sent = "gorets:5|c\nfuel:10|g\nglork:250|ms";
    for round in 0..3 {
        let collect = Collect::start(&flags);
        client.send_to(sent.as_bytes(), collect.address("statsd")).unwrap();
        sent = "gorets:3|c\nfuel:+1|g\nglork:250|ms";
        for (path, first, second, third) in counts {
            let wanted = [first, second, third][round].to_string();
            eventually(path, || (newest(&carbon, path)? == wanted).then_some(()));
        }
        if round == 1 { drop(collect.stop()) } else { collect.kill() }
    }
    // The last connection has all of it from the window, and so one beginning at most.
    let last = carbon.connections().pop().unwrap();
    let values: Vec<u64> = last
        .iter()
        .filter_map(|line| line.strip_prefix("gorets ")?.split_once(' ')?.0.parse().ok())
        .collect();
    assert!(values.is_sorted() && values.contains(&5) && values.contains(&11), "{values:?}");
    assert!(values.iter().filter(|value| **value == 0).count() <= 1, "{values:?}");
}

fn send_until_killed(collect: &Collect, sender: usize, answers: &mut Vec<(u64, Answer)>) {
    loop {
        let number = answers.len() as u64;
        let answer = match collect.post(deltas(sender, number)) {
            Some(200) => Answer::Acknowledged,
            Some(503) => Answer::Refused,
            Some(status) => panic!("request {number}: {status}"),
            None => Answer::None,
        };
        answers.push((number, answer));
        if answer == Answer::None {
            return;
        }
    }
}

#[test]
fn every_acknowledged_delta_is_counted_once_whenever_the_process_is_killed() {
    let mut chance = Chance::new();
    let folder = tempfile::tempdir().unwrap();
    let (carbon, away) = (Carbon::listen(), Away::new());
    // Small, so that segments go, and what they held beside lines is taken over.
    let small =
        |address| format!("{} --spool-limit 4MiB --graphite-replay 1s", spooling(folder.path(), address));
    let mut answers = vec![Vec::new(); SENDERS];
    for _ in 0..kills() {
        let address = if chance.below(4) > 0 { carbon.address() } else { away.address() };
        let collect = &Collect::start(&small(address));
        let id = collect.id().to_string();
        thread::scope(|scope| {
            for (sender, answers) in answers.iter_mut().enumerate() {
                scope.spawn(move || send_until_killed(collect, sender, answers));
            }
            // The moment of the kill is what is tried, not waited for.
            thread::sleep(Duration::from_millis(chance.below(200)));
            let killed = Command::new("sh").args(["-c", "kill -s KILL \"$1\"", "sh", &id]).status().unwrap();
            assert!(killed.success());
        });
    }
    let collect = Collect::start(&small(carbon.address()));
    for (sender, answers) in answers.iter_mut().enumerate() {
        let number = answers.len() as u64;
        eventually("room", || (collect.post(deltas(sender, number)) == Some(200)).then_some(()));
        answers.push((number, Answer::Acknowledged));
        until_taken(&carbon, second(number), &format!("slow.count;k={sender}-{};", SERIES - 1));
    }
    let taken = taken(&carbon);
    let counted: u64 =
        (0..SENDERS).map(|sender| assert_each_counted_once(sender, &answers[sender], &taken)).sum();
    let refused = answers.iter().flatten().filter(|(_, answer)| *answer == Answer::Refused).count();
    println!("{counted} requests counted, {refused} refused");
    assert_eq!(collect.own("spool_damaged_total", "reason=\"damaged\""), 0, "{}", collect.log());
    assert_eq!(collect.own("spool_damaged_total", "reason=\"state\""), 0, "{}", collect.log());
}
