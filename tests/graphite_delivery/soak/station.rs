//! A carbon that goes wrong when it is told to; several of them are in front of one store.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::store::Store;

/// How often it looks whether it is told something.
const LOOK: Duration = Duration::from_millis(10);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Read,
    Stall,
    /// Ends it in peace; what comes behind that is thrown away.
    Close,
    /// Ends it in the middle of a line, with what is on its way.
    Reset,
}

/// One address with its connections.
pub(super) struct Station {
    pub(super) address: SocketAddr,
    open: AtomicBool,
    order: Mutex<Order>,
    pub(super) connected: AtomicUsize,
    store: Arc<Mutex<Store>>,
}

impl Station {
    /// Listens on a port of an address of the loopback network that nobody else takes a port of, so that the port
    /// is still there after it was closed.
    pub(super) fn open_for(store: &Arc<Mutex<Store>>) -> Arc<Self> {
        let listener = TcpListener::bind("127.77.7.7:0").unwrap();
        let station = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            open: AtomicBool::new(true),
            order: Mutex::new(Order::Read),
            connected: AtomicUsize::new(0),
            store: Arc::clone(store),
        });
        let weak = Arc::downgrade(&station);
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let mut listener = Some(listener);
            while let Some(station) = weak.upgrade() {
                match (&listener, station.open.load(Ordering::SeqCst)) {
                    (Some(listener), true) => {
                        while let Ok((stream, _)) = listener.accept() {
                            let station = Arc::clone(&station);
                            thread::spawn(move || station.serve(stream));
                        }
                    }
                    (Some(_), false) => listener = None,
                    (None, true) => {
                        // Again at the next look, where the port is not free yet.
                        listener = TcpListener::bind(station.address).ok();
                        listener.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
                    }
                    (None, false) => {}
                }
                drop(station);
                thread::sleep(LOOK);
            }
        });
        station
    }

    /// Whether its port takes connections; closing it ends those that there are.
    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }

    pub(super) fn order(&self) -> Order {
        *self.order.lock().unwrap()
    }

    /// Tells it something; an end of a connection is followed by reading the next one.
    pub(super) fn tell(&self, order: Order) {
        *self.order.lock().unwrap() = order;
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
        self.connected.fetch_add(1, Ordering::SeqCst);
        self.store.lock().unwrap().connections += 1;
        self.read(stream);
        self.connected.fetch_sub(1, Ordering::SeqCst);
    }

    fn read(&self, mut stream: TcpStream) {
        let (mut read, mut newest) = (Vec::new(), HashMap::new());
        let mut part = vec![0; 64 * 1024];
        loop {
            let order = if self.open.load(Ordering::SeqCst) { self.order() } else { Order::Close };
            let most = match order {
                Order::Stall => {
                    thread::sleep(LOOK);
                    continue;
                }
                Order::Close => {
                    self.lose();
                    stream.shutdown(Shutdown::Write).ok();
                    while stream.read(&mut part).is_ok_and(|length| length > 0) {}
                    return;
                }
                Order::Reset if !read.is_empty() => {
                    self.lose();
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                // Fewer bytes than any line has, until a read ends within one.
                Order::Reset => 7,
                Order::Read => part.len(),
            };
            match stream.read(&mut part[..most]) {
                Ok(0) => return,
                Ok(length) => {
                    read.extend_from_slice(&part[..length]);
                    let end = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    self.store.lock().unwrap().take(&read[..end], &mut newest);
                    read.drain(..end);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    /// Loses what a carbon has not brought to its files, as it ends.
    fn lose(&self) {
        self.store.lock().unwrap().forget();
        let mut order = self.order.lock().unwrap();
        if matches!(*order, Order::Close | Order::Reset) {
            *order = Order::Read;
        }
    }
}
