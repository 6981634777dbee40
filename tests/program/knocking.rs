//! Many who connect and say nothing, begin something and do not end it, or take no answer; and few places. Senders are served
//! all the same, and the process has files left for itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use pushpull::net::OpenFiles;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest, Ready},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    task::JoinSet,
    time::timeout,
};

use crate::process::{DEADLINE, Launch, Program};

/// Silent clients, and how many of them connect at the same time.
const SILENT: usize = 5_000;
const AT_ONCE: usize = 500;
/// Files that the program may have open; it leaves 128 of them for itself.
const FILES: usize = 512;
const PLACES: usize = FILES - 128;

const EXPORT: &str = "POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                      Content-Length: 2\r\n\r\n{}";

/// What a client sends, and then no more. HTTP/2 stands for itself: at an address of HTTP/1 it is a bad request.
const SENT: [&[u8]; 7] = [
    b"",
    b"POST /v1/metrics HTTP/1.1\r\nHost:",
    b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{",
    // `GET /`, whose stream has no end.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x03\x01\x04\0\0\0\x01\x82\x84\x86",
];
/// A complete request whose answer has no window, and one whose answer nobody reads.
const NOT_TAKEN: [&[u8]; 2] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x86",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
];
/// A body that comes byte by byte, in [`DRIPS`] of them.
const DRIPPED: [&[u8]; 1] =
    [b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                               Content-Length: 1000000\r\n\r\n"];
const DRIPS: usize = 1_000;

/// What the clients send, by turns.
type Sent = &'static [&'static [u8]];

/// The address that a client of this number comes from.
type Origin = fn(usize) -> Ipv4Addr;

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// Silent clients that stay as long as the server lets them.
struct Knocking {
    clients: JoinSet<()>,
    connected: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Knocking {
    fn at(doors: &[SocketAddr], origin: Origin, sent: Sent) -> Self {
        let (connected, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let at_once = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let mut clients = JoinSet::new();
        let doors_in_all = doors.len();
        for number in 0..SILENT {
            let door = doors[number % doors.len()];
            let (connected, open) = (Arc::clone(&connected), Arc::clone(&open));
            let at_once = Arc::clone(&at_once);
            clients.spawn(async move {
                let turn = at_once.acquire_owned().await.unwrap();
                let mut stream = connect(origin(number), door).await;
                drop(turn);
                // The server may close first.
                let _ = stream.write_all(sent[number / doors_in_all % sent.len()]).await;
                open.fetch_add(1, Ordering::Relaxed);
                connected.fetch_add(1, Ordering::Relaxed);
                let (mut reader, mut writer) = stream.split();
                let drip = async {
                    for _ in 0..if sent == DRIPPED { DRIPS } else { 0 } {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        if writer.write_all(b" ").await.is_err() {
                            break;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                let taken = async {
                    if sent == NOT_TAKEN {
                        // Only that it is readable, with no more taken, until there is an error.
                        while !reader.ready(Interest::READABLE | Interest::WRITABLE).await.is_ok_and(is_over)
                        {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    } else {
                        // It ends, or is reset.
                        let _ = reader.read(&mut [0]).await;
                    }
                };
                tokio::select! {
                    () = drip => {}
                    () = taken => {}
                }
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Self { clients, connected, open }
    }

    fn all_have_knocked(&self) -> bool {
        self.connected.load(Ordering::Relaxed) == SILENT
    }
}

fn is_over(ready: Ready) -> bool {
    ready.is_read_closed() || ready.is_write_closed()
}

/// Exports once over a connection that stays open, and reads the whole answer.
async fn export(stream: &mut TcpStream) {
    stream.write_all(EXPORT.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n{}") {
        let mut buffer = [0; 1_024];
        let read = timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Exports nothing over a connection of HTTP/2 that stays open.
async fn call(client: &mut h2::client::SendRequest<Bytes>) {
    let path = "http://localhost/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    let request = http::Request::post(path).header("content-type", "application/grpc").body(()).unwrap();
    let mut ready = client.clone().ready().await.unwrap();
    let (answer, mut body) = ready.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let mut answer = timeout(DEADLINE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    while answer.body_mut().data().await.is_some() {}
    let trailers = answer.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

/// The answer to a request over a new connection.
async fn get(exposition: SocketAddr, path: &str) -> String {
    let mut stream = connect(Ipv4Addr::LOCALHOST, exposition).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

/// What the program counted of connections that it closed to make room.
async fn evicted(exposition: SocketAddr) -> usize {
    let page = get(exposition, "/metrics").await;
    let count = |line: &str| line.strip_prefix("pushpull_collector_evicted_connections_total ")?.parse().ok();
    page.lines().find_map(count).unwrap()
}

async fn senders_are_served(program: &Program, origin: Origin, sent: Sent, senders_in_all: usize) {
    let address = |listener| program.address(listener).parse::<SocketAddr>().unwrap();
    let (grpc, http, exposition) = (address("otlp_grpc"), address("otlp_http"), address("exposition"));
    let mut kept = connect(Ipv4Addr::LOCALHOST, http).await;
    let (mut client, connection) =
        h2::client::handshake(connect(Ipv4Addr::LOCALHOST, grpc).await).await.unwrap();
    let connection = tokio::spawn(connection);
    export(&mut kept).await;
    call(&mut client).await;
    let mut senders = Vec::new();
    for _ in 0..senders_in_all {
        let mut sender = connect(Ipv4Addr::LOCALHOST, http).await;
        export(&mut sender).await;
        senders.push(sender);
    }
    let knocking = Knocking::at(&[grpc, http, exposition], origin, sent);
    // Where others make complete requests, too, a sender cannot know that its connection is not the oldest of all.
    let keeps = sent != NOT_TAKEN;
    let mut rounds = 0;
    while !knocking.all_have_knocked() || rounds < 20 {
        if keeps {
            export(&mut kept).await;
            call(&mut client).await;
        }
        export(&mut connect(Ipv4Addr::LOCALHOST, http).await).await;
        rounds += 1;
        get(exposition, "/healthz").await;
    }
    for sender in &mut senders {
        export(sender).await;
    }
    let few = async {
        while knocking.open.load(Ordering::Relaxed) > PLACES {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, few).await.unwrap();
    let evicted = evicted(exposition).await;
    assert!(evicted > PLACES - senders_in_all, "{evicted}");
    drop(knocking.clients);
    connection.abort();
}

fn senders_are_served_while_clients_knock(origin: Origin, sent: Sent, senders: usize) {
    let files = OpenFiles::raise();
    assert!(files.limit > SILENT as u64 + 500, "these tests need more open files: {files:?}");
    let program = Launch::collect_under(&format!("ulimit -n {FILES}")).start();
    Runtime::new().unwrap().block_on(senders_are_served(&program, origin, sent, senders));
    let said = program.stderr();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("all places for connections")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains(&format!("\"places\":{PLACES}")), "{lines:?}");
    program.stop().assert_orderly();
}

#[test]
fn senders_are_served_while_silent_clients_knock_from_one_address() {
    senders_are_served_while_clients_knock(|_| Ipv4Addr::LOCALHOST, &SENT[..1], 0);
}

#[test]
fn senders_are_served_while_clients_begin_what_they_do_not_end() {
    senders_are_served_while_clients_knock(|_| Ipv4Addr::LOCALHOST, &SENT, 0);
}

#[test]
fn senders_are_served_while_clients_take_no_answer() {
    senders_are_served_while_clients_knock(|_| Ipv4Addr::LOCALHOST, &NOT_TAKEN, 0);
}

#[test]
fn senders_are_served_while_bodies_come_byte_by_byte() {
    senders_are_served_while_clients_knock(|_| Ipv4Addr::LOCALHOST, &DRIPPED, 0);
}

/// Two thirds of all places are theirs, and each connection is used again when all clients have knocked.
#[test]
fn many_senders_keep_their_connections_while_silent_clients_knock() {
    senders_are_served_while_clients_knock(|_| Ipv4Addr::LOCALHOST, &SENT[..1], PLACES * 2 / 3);
}

#[cfg(target_os = "linux")]
#[test]
fn senders_are_served_while_silent_clients_knock_from_many_addresses() {
    let origin = |number| {
        let number = u32::try_from(number).unwrap();
        Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
    };
    senders_are_served_while_clients_knock(origin, &SENT[..1], 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_open_files_is_raised_as_far_as_the_system_lets() {
    let program = Launch::collect_under("ulimit -S -n 128 && ulimit -H -n 700").start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).collect::<Vec<_>>(), ["700", "700", "files"]);
    assert!(!program.stderr().contains("open files"), "{}", program.stderr());
}
