//! Listening sockets: one for an address, or one for each family of `localhost`, under one port number.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// Connections that wait in the kernel to be accepted; it takes less where its own limit (`somaxconn`) is lower. Were it
/// short, a burst of those who say nothing would keep a sender's connection from being made for seconds.
const BACKLOG: i32 = 4_096;
/// How often a free port that is taken in the other family is given up for another.
const TRIES: usize = 32;
/// When a connection on which nothing came is asked by TCP whether the other end is there, and how often from then on.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// How many bytes that were not sent yet the system stores for a client.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 * 1024;

/// What a server accepts connections on.
#[derive(Debug)]
pub struct Listener(Vec<std::net::TcpListener>);

impl From<std::net::TcpListener> for Listener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(vec![listener])
    }
}

impl Listener {
    /// Listens on `address`, and on `second` where this machine has it, under the port number of the former. Returns the
    /// address that it got.
    ///
    /// # Errors
    /// Those of the system, such as [`ErrorKind::AddrInUse`].
    pub fn bind(address: SocketAddr, second: Option<SocketAddr>) -> io::Result<(Self, SocketAddr)> {
        let (sockets, bound) = on_both(address, second, |address| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            // As the standard library does it: a port may be listened on again at once.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            let listener = std::net::TcpListener::from(socket);
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        })?;
        Ok((Self(sockets), bound))
    }

    /// Hands the sockets to the runtime.
    ///
    /// # Errors
    /// Those of the system.
    pub fn into_tokio(self) -> io::Result<Vec<tokio::net::TcpListener>> {
        self.0
            .into_iter()
            .map(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener)
            })
            .collect()
    }
}

/// Binds a socket by `bind` for `address`, and another one for `second` under the port number that the first got. A
/// machine without one of the two addresses has the other alone.
///
/// # Errors
/// Those of `bind` for an address that this machine has.
pub fn on_both<S>(
    address: SocketAddr,
    second: Option<SocketAddr>,
    bind: impl Fn(SocketAddr) -> io::Result<(S, SocketAddr)>,
) -> io::Result<(Vec<S>, SocketAddr)> {
    let absent = |error: &io::Error| {
        matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
    };
    let Some(second) = second else {
        let (socket, bound) = bind(address)?;
        return Ok((vec![socket], bound));
    };
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        let (first, bound) = match bind(address) {
            Ok(first) => first,
            Err(error) if absent(&error) => {
                let (socket, bound) = bind(second)?;
                return Ok((vec![socket], bound));
            }
            Err(error) => return Err(error),
        };
        match bind(SocketAddr::new(second.ip(), bound.port())) {
            Ok((other, _)) => return Ok((vec![first, other], bound)),
            Err(error) if absent(&error) => return Ok((vec![first], bound)),
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sets what a connection needs that the system does not give by itself.
pub(super) fn prepare(stream: &TcpStream) {
    // Small answers must not wait for the peer's delayed acknowledgement; a failure costs only time.
    let _ = stream.set_nodelay(true);
    let (idle, between) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(between);
    // So that a write shows what the client takes, and not what the system stores for it; more is in flight all the same.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    // Without it the bound of an idle connection holds all the same.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_asked_by_tcp_whether_its_other_end_is_there() {
        let (listener, address) = Listener::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let listener = listener.into_tokio().unwrap().remove(0);
        let _client = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        prepare(&accepted);
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE.0);
    }
}
