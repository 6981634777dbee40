//! A connection that ends after every single byte of what is written, with all that it had taken thrown away.

use std::{path::Path, sync::Arc, time::Duration};

use pushpull::{
    collector::{
        batch::Signal,
        export::{
            State,
            graphite::{
                Backlog, Lines, Outgoing, PLACE, connection,
                spool::{Entries, Need, Spool},
            },
        },
        queue::Queue,
        stats::{Event, Stats},
    },
    config::SpoolSettings,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::points::PATIENCE;

const FIRST: &str = "loaves;oven=left 1 1700000000\nloaves;oven=right 2 1700000000\n";
const SECOND: &str = "loaves;oven=left 3 1700000001\nloaves;oven=right 4 1700000001\n";
const LIVE: &str = "loaves;oven=left 5 1700000002\n";

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
}

fn in_memory() -> (Backlog, Outgoing) {
    let queue = Queue::new(1 << 20);
    (Backlog::Memory(Arc::clone(&queue)), Outgoing::of_queue(queue))
}

fn on_disk(folder: &Path) -> (Backlog, Outgoing) {
    let settings = SpoolSettings { folder: folder.to_owned(), limit: 1 << 20, age: None };
    let (spool, reader) = Spool::open(&settings, Duration::from_secs(60), Arc::default()).unwrap();
    (Backlog::Spool(spool), Outgoing::of_spool(reader))
}

fn put(backlog: &Backlog, text: &str) {
    backlog
        .reserve(Need { lines: text.len(), ..Need::default() })
        .unwrap()
        .commit(Lines { text: text.to_owned().into(), points: 1 }, &Entries::default());
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept()).await.expect("nobody connects").unwrap().0
}

async fn read(stream: &mut TcpStream, bytes: usize) -> String {
    let mut read = vec![0; bytes];
    timeout(PATIENCE, stream.read_exact(&mut read)).await.expect("nothing comes").unwrap();
    String::from_utf8(read).unwrap()
}

async fn ends_after(bytes: usize, end: End, (backlog, outgoing): (Backlog, Outgoing)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![listener.local_addr().unwrap().to_string()];
    let stats = Arc::new(Stats::default());
    put(&backlog, FIRST);
    put(&backlog, SECOND);
    let mut running = JoinSet::new();
    running.spawn(connection::run(addresses, outgoing, Arc::clone(&stats), State::new(PLACE)));

    let mut lost = accept(&listener).await;
    read(&mut lost, bytes).await;
    if matches!(end, End::Reset) {
        socket2::SockRef::from(&lost).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(lost);

    let mut kept = accept(&listener).await;
    let again = [FIRST, SECOND].concat();
    assert_eq!(read(&mut kept, again.len()).await, again, "after {bytes} bytes and {end:?}");
    put(&backlog, LIVE);
    assert_eq!(read(&mut kept, LIVE.len()).await, LIVE, "after {bytes} bytes and {end:?}");
    backlog.emptied().await;
    let sent: u64 = stats
        .snapshot()
        .iter()
        .filter(|(count, _)| (count.event, count.signal) == (Event::Sent, Signal::Metrics))
        .map(|(_, points)| points)
        .sum();
    assert_eq!(sent, 3, "each point counts once");
}

#[tokio::test]
async fn everything_is_written_again_in_order_whatever_the_byte_that_a_connection_ends_after() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = JoinSet::new();
    let mut ended = 0;
    for bytes in 0..=FIRST.len() + SECOND.len() {
        for end in [End::Close, End::Reset] {
            cases.spawn(ends_after(bytes, end, in_memory()));
            let folder = folder.path().join(format!("{bytes}{end:?}"));
            cases.spawn(ends_after(bytes, end, on_disk(&folder)));
        }
        // Each has some files open.
        while cases.len() > 64 {
            cases.join_next().await.unwrap().unwrap();
            ended += 1;
        }
    }
    ended += cases.join_all().await.len();
    assert_eq!(ended, 4 * (FIRST.len() + SECOND.len() + 1));
}
