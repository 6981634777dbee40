use std::{
    collections::BTreeMap,
    net::UdpSocket as Client,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{metric::Data, number_data_point},
};
use tokio::sync::mpsc;

use super::*;
use crate::collector::stats::Count;

/// Longer than any run of a test; what is waited for is awaited, not timed.
pub(super) const NEVER: Duration = Duration::from_secs(3600);
/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn settings(flush: Duration) -> Settings {
    Settings {
        flush,
        histogram_bounds: vec![0.1, 1.0],
        max_series: 100,
        expiry: StatsdExpiry::default(),
        tags: StatsdTags::ALL,
        max_age: None,
        bare_sums: false,
        names: None,
        kept: None,
    }
}

/// A receiver's socket on a free port, and a client that sends to it.
fn sockets() -> (UdpSocket, Client) {
    let server = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let client = Client::bind(("127.0.0.1", 0)).expect("a free port");
    client.connect(server.local_addr().expect("an address")).expect("a connected client");
    (UdpSocket::from_std(server).expect("a socket of the runtime"), client)
}

/// The numbers in a batch by name, as they would be forwarded.
fn numbers(batch: &Batch<'_>) -> BTreeMap<String, f64> {
    assert!(matches!(batch.request, Request::Metrics(_)));
    let request = ExportMetricsServiceRequest::decode(batch.wire.as_ref()).expect("metrics");
    let metrics = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = metrics.flat_map(|scope| &scope.metrics);
    let value = |data: &Data| {
        let points = match data {
            Data::Sum(sum) => &sum.data_points,
            Data::Gauge(gauge) => &gauge.data_points,
            other => panic!("not numbers: {other:?}"),
        };
        match points.as_slice() {
            [point] => match point.value {
                Some(number_data_point::Value::AsDouble(value)) => value,
                other => panic!("not a double: {other:?}"),
            },
            other => panic!("not one point: {other:?}"),
        }
    };
    metrics.map(|metric| (metric.name.clone(), value(metric.data.as_ref().expect("data")))).collect()
}

fn counts(stats: &Stats) -> Vec<(Event, &'static str, u64)> {
    let of_statsd = |(count, items): (Count, u64)| {
        assert_eq!((count.place.as_str(), count.signal), ("statsd", Signal::Metrics));
        (count.event, count.reason, items)
    };
    stats.snapshot().into_iter().map(of_statsd).collect()
}

fn refused() -> Refused {
    Refused { sink: "graphite".to_owned(), retry_after: Duration::from_secs(1) }
}

#[tokio::test]
async fn what_the_system_holds_at_the_stop_is_read_and_flushed_once() {
    let (server, client) = sockets();
    for _ in 0..100 {
        client.send(b"gorets:1|c\nnothing\nfuel:0.5|g").expect("sent");
    }
    let stop = Stop::default();
    stop.drain();
    let (stats, batches) = (Stats::default(), Mutex::new(Vec::new()));
    let accept = |batch: Batch<'_>, _: &Entries| {
        batches.lock().expect("no panic").push(numbers(&batch));
        Ok(Accepted::default())
    };
    receive(server, accept, |_| Ok(()), || 100, &stats, settings(NEVER), stop).await;
    let batches = batches.into_inner().expect("no panic");
    assert_eq!(batches.len(), 1);
    let expected = BTreeMap::from([("fuel".to_owned(), 0.5), ("gorets".to_owned(), 100.0)]);
    assert_eq!(batches[0], expected);
    assert_eq!(counts(&stats), [(Event::Accepted, "", 200), (Event::Refused, "malformed_line", 100)]);
}

#[tokio::test]
async fn flushes_follow_each_other_and_a_refused_one_loses_nothing() {
    let (server, client) = sockets();
    let stop = Stop::default();
    let stats = Arc::new(Stats::default());
    let (sender, mut offered) = mpsc::unbounded_channel();
    let room = Arc::new(AtomicBool::new(false));
    let receiver = tokio::spawn({
        let (stop, stats, room) = (stop.clone(), stats.clone(), room.clone());
        async move {
            let accept = move |batch: Batch<'_>, _: &Entries| {
                let taken = room.load(Ordering::SeqCst);
                sender.send((numbers(&batch), taken)).expect("the test listens");
                if taken { Ok(Accepted::default()) } else { Err(refused()) }
            };
            receive(server, accept, |_| Ok(()), || 100, &stats, settings(Duration::from_millis(2)), stop)
                .await;
        }
    });
    let mut next = async |wanted: (&[(&str, f64)], bool)| {
        let wanted_numbers: BTreeMap<_, _> =
            wanted.0.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let found = async {
            while let Some(batch) = offered.recv().await {
                if batch == (wanted_numbers.clone(), wanted.1) {
                    return;
                }
            }
            panic!("the receiver ended before {wanted:?}");
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("never came: {wanted:?}"));
    };

    client.send(b"gorets:3|c\nusers:x|s").expect("sent");
    next((&[("gorets", 3.0), ("users", 1.0)], false)).await;
    client.send(b"gorets:4|c\nusers:y|s").expect("sent");
    next((&[("gorets", 7.0), ("users", 2.0)], false)).await;
    room.store(true, Ordering::SeqCst);
    next((&[("gorets", 7.0), ("users", 2.0)], true)).await;
    // Idle series are told of at every flush; a set begins again once it was taken.
    next((&[("gorets", 7.0), ("users", 0.0)], true)).await;
    next((&[("gorets", 7.0), ("users", 0.0)], true)).await;
    stop.drain();
    tokio::time::timeout(DEADLINE, receiver).await.expect("it stops").expect("it does not panic");
    assert_eq!(counts(&stats), [(Event::Accepted, "", 4)]);
}

#[tokio::test]
async fn points_that_are_refused_at_the_end_or_for_good_are_counted() {
    for (answer, expected) in [
        (Err(refused()), (Event::Dropped, "stopped", 2)),
        (
            Ok(Accepted { rejected: 1, message: "too many series".to_owned() }),
            (Event::Refused, "rejected", 1),
        ),
    ] {
        let (server, client) = sockets();
        client.send(b"gorets:3|c\nusers:x|s").expect("sent");
        let (stats, stop) = (Stats::default(), Stop::default());
        stop.drain();
        receive(
            server,
            |_: Batch<'_>, _: &Entries| answer.clone(),
            |_| Ok(()),
            || 100,
            &stats,
            settings(NEVER),
            stop,
        )
        .await;
        assert_eq!(counts(&stats), [(Event::Accepted, "", 2), expected]);
    }
}

#[tokio::test]
async fn the_longest_datagram_is_read_whole() {
    let (server, client) = sockets();
    // What 16 bits of length leave after the headers of UDP and IPv4.
    let mut datagram = vec![b'\n'; 65_507];
    datagram[..9].copy_from_slice(b"first:1|c");
    datagram[65_507 - 8..].copy_from_slice(b"last:2|c");
    client.send(&datagram).expect("sent");
    let (stats, stop) = (Stats::default(), Stop::default());
    stop.drain();
    let heard = Mutex::new(BTreeMap::new());
    let accept = |batch: Batch<'_>, _: &Entries| {
        *heard.lock().expect("no panic") = numbers(&batch);
        Ok(Accepted::default())
    };
    receive(server, accept, |_| Ok(()), || 100, &stats, settings(NEVER), stop).await;
    let expected = BTreeMap::from([("first".to_owned(), 1.0), ("last".to_owned(), 2.0)]);
    assert_eq!(heard.into_inner().expect("no panic"), expected);
    assert_eq!(counts(&stats), [(Event::Accepted, "", 2)]);
}

#[tokio::test]
async fn nothing_heard_is_nothing_flushed() {
    let (server, _client) = sockets();
    let (stats, stop) = (Stats::default(), Stop::default());
    stop.drain();
    let accept = |_: Batch<'_>, _: &Entries| panic!("there is nothing to accept");
    receive(server, accept, |_| Ok(()), || 100, &stats, settings(Duration::ZERO), stop).await;
    assert_eq!(counts(&stats), []);
}

#[test]
fn a_taken_port_is_an_error() {
    let first = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let taken = first.local_addr().expect("an address");
    assert_eq!(bind(taken).expect_err("the port is taken").kind(), ErrorKind::AddrInUse);
}

#[test]
fn an_address_of_ipv6_is_bound_where_the_system_has_one() {
    match bind("[::1]:0".parse().expect("an address")) {
        Ok(socket) => {
            let address = socket.local_addr().expect("an address");
            let client = Client::bind("[::1]:0").expect("a free port");
            client.send_to(b"gorets:1|c", address).expect("sent");
            assert_eq!(socket.recv(&mut [0; 64]).expect("received"), 10);
        }
        Err(error) => {
            let known = [ErrorKind::AddrNotAvailable, ErrorKind::Unsupported];
            let no_family = Some(97); // EAFNOSUPPORT, for which there is no kind.
            assert!(known.contains(&error.kind()) || error.raw_os_error() == no_family, "{error:?}");
        }
    }
}

/// The future of [`serve`] can be spawned on a runtime of many threads.
const _: fn(UdpSocket, Pipeline, Settings, Stop) =
    |socket, pipeline, settings, stop| drop(tokio::spawn(serve(socket, pipeline, settings, stop)));
