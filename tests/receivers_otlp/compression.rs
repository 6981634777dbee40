//! Every compression that senders have, by HTTP and by gRPC: what is taken, and that the bounds hold for each.

use std::io::Write as _;

use pushpull::collector::{batch::Signal, receive::otlp::Limits};
use tonic::Code;

use crate::{
    grpc::{METRICS, call, channel, framed},
    support::*,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const MIB: usize = 1024 * 1024;

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// With a window of that many bytes as a power of two, and without the size of what is in it, as who streams does.
fn zstd_with_window(bytes: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(log)).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

fn skippable(length: usize) -> Vec<u8> {
    [&[0x5a, 0x2a, 0x4d, 0x18][..], &u32::try_from(length).unwrap().to_le_bytes(), &vec![7; length]].concat()
}

/// What a sender has under each name of HTTP.
fn compressed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    vec![
        ("gzip", gzip(bytes)),
        ("x-gzip", gzip(bytes)),
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("deflate", zlib(bytes)),
        ("zlib", zlib(bytes)),
        ("Deflate", zlib(bytes)),
        ("zstd", zstd(bytes)),
        ("zstd", zstd_with_window(bytes, 25)),
        ("zstd", [skippable(5), zstd(first), skippable(0), zstd(b""), zstd_with_window(second, 10)].concat()),
    ]
}

async fn post(receiver: &Receiver, encoding: &str, body: &[u8]) -> Answer {
    send(receiver, "POST", "/v1/metrics", &[PROTOBUF, ("content-encoding", encoding)], body).await
}

#[tokio::test]
async fn every_compression_of_the_senders_is_taken() {
    let (http, grpc) = (Receiver::http(Limits::default()).await, Receiver::grpc(Limits::default()).await);
    let mut channel = channel(&grpc).await;
    let plain = wire(&metrics());
    for (name, body) in compressed(&plain) {
        let answer = post(&http, name, &body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(http.batch().wire, plain, "{name}");
        if ["gzip", "deflate", "zstd"].contains(&name) {
            let (status, _) = call(&mut channel, METRICS, &[("grpc-encoding", name)], framed(1, &body)).await;
            assert_eq!(status.code(), Code::Ok, "{name}: {status}");
            assert_eq!(grpc.batch().wire, plain, "{name}");
            // A single message may be left as it is.
            let (status, _) =
                call(&mut channel, METRICS, &[("grpc-encoding", name)], framed(0, &plain)).await;
            assert_eq!(status.code(), Code::Ok, "{name}: {status}");
            grpc.batch();
        }
    }
}

#[tokio::test]
async fn other_compressions_are_refused_with_what_to_set_instead() {
    let (http, grpc) = (Receiver::http(Limits::default()).await, Receiver::grpc(Limits::default()).await);
    let mut channel = channel(&grpc).await;
    for name in ["snappy", "x-snappy-framed", "lz4", "br"] {
        let answer = post(&http, name, b"whatever").await;
        assert_eq!(
            (answer.status, answer.header("accept-encoding")),
            (415, Some("gzip, deflate, zstd")),
            "{name}"
        );
        let message = answer.status_message().message;
        assert!(
            message.contains(&format!("{name:?}")) && message.contains("compression to gzip, zstd"),
            "{message}"
        );
        let (status, _) =
            call(&mut channel, METRICS, &[("grpc-encoding", name)], framed(1, b"whatever")).await;
        assert_eq!(status.code(), Code::Unimplemented, "{name}");
        assert!(status.message().contains("gzip, zstd"), "{status}");
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip,deflate,zstd");
    }
    http.no_batch();
    grpc.no_batch();
}

#[tokio::test]
async fn what_is_larger_than_the_limit_once_decompressed_is_refused() {
    let limits = Limits { body: MIB, ..Limits::default() };
    let (http, grpc) = (Receiver::http(limits).await, Receiver::grpc(limits).await);
    let mut channel = channel(&grpc).await;
    for (name, body) in compressed(&vec![0; 8 * MIB]) {
        assert!(body.len() < MIB, "{name}");
        let answer = post(&http, name, &body).await;
        assert_eq!(answer.status, 413, "{name}: {}", answer.text());
        assert!(
            answer.status_message().message.contains("decompressed body is larger than 1048576"),
            "{name}"
        );
        if ["gzip", "deflate", "zstd"].contains(&name) {
            let (status, _) = call(&mut channel, METRICS, &[("grpc-encoding", name)], framed(1, &body)).await;
            assert_eq!(status.code(), Code::ResourceExhausted, "{name}");
        }
    }
    http.no_batch();
    grpc.no_batch();
}

#[tokio::test]
async fn a_window_is_measured_before_it_is_made() {
    let receiver = Receiver::http(Limits::default()).await;
    let plain = wire(&metrics());
    // Of 64 MiB; of 3.75 TiB, the largest that can be said.
    for body in [zstd_with_window(&plain, 26), [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff][..], &[0; 64]].concat()]
    {
        let answer = post(&receiver, "zstd", &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let message = answer.status_message().message;
        assert!(message.contains("window") && message.contains("33554432"), "{message}");
    }
    // A frame that says that 4 GiB are in it.
    let said = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &[0xff; 4], &[0; 64]].concat();
    assert_eq!(post(&receiver, "zstd", &said).await.status, 413);
    receiver.no_batch();
}

#[tokio::test]
async fn what_is_broken_is_malformed() {
    let receiver = Receiver::http(Limits::default()).await;
    let plain = wire(&metrics());
    let raw = &zlib(&plain)[2..];
    for (name, whole) in compressed(&plain) {
        // The first piece of several may end where it is cut.
        for cut in [whole.len() - 1, whole.len() / 2 + 3, 1] {
            let answer = post(&receiver, name, &whole[..cut]).await;
            assert_eq!(answer.status, 400, "{name} cut at {cut}: {}", answer.text());
        }
        let answer = post(&receiver, name, &[&whole[..], b"more"].concat()).await;
        assert_eq!(answer.status, 400, "{name} with more behind it: {}", answer.text());
    }
    for (name, body) in
        [("deflate", raw), ("zstd", b""), ("deflate", b""), ("zstd", &gzip(&plain)), ("zlib", &plain)]
    {
        let answer = post(&receiver, name, body).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    receiver.no_batch();
    assert!(
        receiver
            .counts()
            .iter()
            .all(|(_, _, signal, reason, _)| { (*signal, *reason) == (Signal::Metrics, "malformed") })
    );
}

#[tokio::test]
async fn many_members_are_taken_where_there_is_something_in_them() {
    let receiver = Receiver::http(Limits::default()).await;
    let plain = wire(&metrics());
    for (name, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let many = compress(b"").repeat(8 * MIB / compress(b"").len());
        let answer = post(&receiver, name, &many).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert!(answer.text().contains("members or frames"), "{name}: {}", answer.text());
        let some = [compress(b"").repeat(1000), compress(&plain)].concat();
        assert_eq!(post(&receiver, name, &some).await.status, 200, "{name}");
        // An unknown field that is large enough for its pieces.
        let large = [&[0xfa, 0x7f, 0x80, 0x80, 0x80, 0x04][..], &vec![0; 8 * MIB]].concat();
        let pieces: Vec<u8> = large.chunks(4096).flat_map(compress).collect();
        let answer = post(&receiver, name, &pieces).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}
