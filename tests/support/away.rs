//! A port that is known before anyone listens there. It must not answer in anyone's place.

use std::net::{SocketAddr, TcpListener};

/// A TCP port that is taken and refuses connections until it [listens](Self::listen).
pub(crate) struct Away(socket2::Socket);

impl Away {
    pub(crate) fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // So that another can listen here once it has gone.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    pub(crate) fn listen(self) -> TcpListener {
        self.0.listen(128).unwrap();
        self.0.into()
    }
}
