//! Ports that are free and stay so until a peer takes them, also where it is stopped and started again.

use std::{
    net::{TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Below the ports that systems give to outgoing connections, so that none of those takes a port whose peer is stopped.
const PORTS: std::ops::Range<u16> = 15_000..30_000;
/// So many of the ports behind those of one call may be somebody else's until the next call's begin.
const SPARE: usize = 32;

/// `COUNT` ports that were free a moment ago for TCP and UDP, and that no other call in this process gave.
pub(super) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    // Other runs on this machine begin elsewhere.
    let begin = process::id() as usize + GIVEN.fetch_add(COUNT + SPARE, Ordering::Relaxed);
    let mut candidates = PORTS.cycle().skip(begin % PORTS.len()).take(COUNT + SPARE);
    let mut held = Vec::new();
    [(); COUNT].map(|()| {
        candidates
            .find(|port| {
                let free = TcpListener::bind(("127.0.0.1", *port))
                    .ok()
                    .zip(UdpSocket::bind(("127.0.0.1", *port)).ok());
                free.map(|sockets| held.push(sockets)).is_some()
            })
            .expect("a free port")
    })
}
