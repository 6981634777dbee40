//! Bodies that come slowly hold memory for what they sent, and give way to those that come quickly.

use std::time::{Duration, Instant};

use pushpull::collector::receive::otlp::Limits;
use tokio::task::JoinSet;

use crate::support::*;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const MIB: usize = 1024 * 1024;

/// A request of about that size.
fn body(bytes: usize) -> Vec<u8> {
    wire(&traces_of(vec![span(&"x".repeat(bytes))]))
}

/// Sends most of a body at once, and the rest never; gives the answer's status and when to come again.
async fn stalled(address: std::net::SocketAddr, body: &[u8]) -> (Client, usize) {
    let mut client = Client::connect(address).await;
    client.write(&head("POST", "/v1/traces", &[PROTOBUF], body.len())).await;
    (client, body.len() - 1)
}

#[tokio::test]
async fn slow_bodies_give_way_and_may_come_again() {
    let receiver = Receiver::http(Limits { bodies: 256 * 1024, body: 200 * 1024, ..Limits::default() }).await;
    let body = body(180_000);
    let (mut slow, _) = stalled(receiver.address, &body).await;
    slow.write(&body[..170_000]).await;
    let deadline = Instant::now() + PATIENCE;
    // From the moment on at which the receiver has read the first there is no room for the other.
    let refused = loop {
        assert!(Instant::now() < deadline, "never let go");
        let answer = send(&receiver, "POST", "/v1/traces", &[PROTOBUF], &body).await;
        assert_eq!(answer.status, 200);
        receiver.batch();
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(10), slow.answer()).await {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    assert!(refused.text().contains("more slowly than others"), "{}", refused.text());
    receiver.no_batch();
}

#[tokio::test]
async fn a_slow_body_that_is_in_nobodys_way_is_taken() {
    let receiver = Receiver::http(Limits::default()).await;
    let body = body(300_000);
    let (mut slow, _) = stalled(receiver.address, &body).await;
    let (first, last) = body.split_at(200_000);
    for part in first.chunks(100_000) {
        slow.write(part).await;
        // Others come and go meanwhile, for longer than it takes to be called slow.
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            assert_eq!(send(&receiver, "POST", "/v1/traces", &[PROTOBUF], &body).await.status, 200);
            receiver.batch();
        }
    }
    slow.write(last).await;
    assert_eq!(slow.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_senders_of_large_bodies_are_served_beside_many_slow_ones() {
    let receiver = Receiver::http(Limits::default()).await;
    let address = receiver.address;
    let large: &'static [u8] = body(16 * MIB - 1024).leak();
    let mut slow = JoinSet::new();
    for _ in 0..8 {
        slow.spawn(async move {
            let (mut client, end) = stalled(address, large).await;
            let mut sent = 0;
            loop {
                // Nearly all at once, then a byte now and then.
                let to = if sent < end - 200 { (sent + MIB).min(end - 200) } else { (sent + 1).min(end) };
                let writing = client.write(&large[sent..to]);
                if tokio::time::timeout(PATIENCE, writing).await.is_err() || to == end {
                    return;
                }
                if sent >= end - 200 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                sent = to;
            }
        });
    }
    let mut honest = JoinSet::new();
    let began = Instant::now();
    for size in [16 * MIB - 1024, 8 * MIB, 100_000, 16 * MIB - 1024, 100, 8 * MIB] {
        let body = body(size);
        honest.spawn(async move {
            for _ in 0..3 {
                let mut client = Client::connect(address).await;
                client.write(&head("POST", "/v1/traces", &[PROTOBUF], body.len())).await;
                client.write(&body).await;
                let answer = client.answer().await;
                assert_eq!(answer.status, 200, "{} bytes: {}", body.len(), answer.text());
            }
        });
    }
    while let Some(served) = honest.join_next().await {
        served.unwrap();
    }
    assert!(began.elapsed() < 2 * PATIENCE);
    slow.abort_all();
}
