//! Any datagrams by StatsD, over a real socket: good lines, those of the daemon's own kind too.
#![no_main]

use std::{net::UdpSocket, time::Duration};

use libfuzzer_sys::fuzz_target;
use pushpull::{
    collector::receive::statsd::{self, Settings},
    config::{GraphiteNames, StatsdExpiry, StatsdNames, StatsdTags},
    net::Stop,
};
use pushpull_fuzz::{Bridge, carbon, run};

fuzz_target!(|input: &[u8]| {
    let [choice, datagrams @ ..] = input else { return };
    let bridge = Bridge::new(GraphiteNames::Tagged);
    let names = [None, Some(StatsdNames::Legacy), Some(StatsdNames::New)][usize::from(*choice) % 3];
    let settings = Settings {
        flush: Duration::from_secs(3_600),
        histogram_bounds: vec![0.1, 1.0],
        max_series: 100,
        expiry: StatsdExpiry::default(),
        tags: StatsdTags::ALL,
        max_age: None,
        bare_sums: false,
        names,
        kept: None,
    };
    run(async {
        let server = statsd::bind(([127, 0, 0, 1], 0).into()).expect("a socket");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.connect(server.local_addr().expect("its address")).expect("its address");
        for datagram in datagrams.split(|byte| *byte == 0xff).take(16) {
            client.send(datagram).expect("a datagram that fits");
        }
        // Stopped before it begins, it reads what is there, flushes and returns.
        let stop = Stop::default();
        stop.drain();
        let server = tokio::net::UdpSocket::from_std(server).expect("a socket");
        statsd::serve(server, bridge.pipeline.clone(), settings, stop).await;
    });
    match names {
        None => carbon::keeps_all(&bridge.lines()),
        Some(_) => carbon::keeps_lines(&bridge.lines()),
    }
});
