//! statsd's own daemon and `--statsd-names`: the same datagram to both, the same lines from both; and of forms that the
//! daemon does not know, the lines of what it is told in its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

use super::{
    installed::peer,
    ports::free_ports,
    process::{PATIENCE, Running, eventually},
    product::Product,
};

/// What every type, rate, sign, separator and name can be; and what is none.
const DATAGRAM: &str = "gorets:1|c\ngorets:2|c|@0.1\ngorets:1|c|@0.3\nfractions:0.1|c\nfractions:0.2|c\n\
    glork:320|ms\nglork:12.5|ms|@0.1\nglork:7|ms\nglork:7|ms\nglork:99|ms\nglork:1000|ms\nglork:3|ms\nglork:4|ms\n\
    glork:8|ms\nglork:15|ms\nglork:16|ms\nglork:23|ms\nalone:0.1|ms\npair:1|ms\npair:2|ms|@0.5\nzero:0|ms\n\
    gaugor:333|g\ngaugor:-10|g\ngaugor:+4|g\nfresh:-7|g\nempty:0|g\nempty:-3|g\nlarge:1e21|g\nsmall:0.0000001|g\n\
    uniques:765|s\nuniques:765|s\nuniques:a b|s\nuniques:|s\nsizes:240|h\npacked:1|c:2|c:5|ms\n\
    a name/with: 3 |c\nk\u{e4}se!:1|c\ndots..in.it:1|c\n.lead:1|c\ntagged:1|c|#route:/a b,method:GET\ntagged;x=y:2|c\n\
    tagged:5|ms|#b:2,a:1\nhex:0x10|c\nspaced: |c\nnegative:-5|c\nexponent:1e3|ms\nodd:1|ms \nstrange:4|q\n\
    multi:3|ms:6|ms\nmulti:1|c:2|c|@0.5:7|g:x|s\nblanks: 3 | c\nblanks:5 |ms|@0.5\n\
    some tags:1|c|#a:b, #c:d,#e:f\nmeter:5|m\n\
    by,k=v:1|c\nby;k=v:1|c\nby#k=v:1|c\nby[k=v]:1|c\nboth:1|c\nboth:2|ms\nboth:3|g\nboth:4|s\n\
    octal:0o17|c\nsigned:+0x10|c\nwide:\u{3000}7\u{feff}|c\n\
    \nbad\nbad:\nbad:x|c\nbad:1\nbad:1|c|0.1\nbad:-1|ms\nbad:1|c|@x\n:|c\nlast:1|c\r";

/// Forms that the daemon calls bad and that the series have, each with how the daemon is told the same.
const FORMS: [[&str; 2]; 7] = [
    ["sizes:1:2:3|d", "sizes:1|d:2|d:3|d"],
    ["blanks:4|c | @0.5", "blanks:4|c|@0.5"],
    ["stamped:1|c|T1700000000", "stamped:1|c"],
    ["stamped:2|g|T1700000000:3|g", "stamped:2|g:3|g"],
    ["by[k=http://v]:1|c", "by[k=http--v]:1|c"],
    ["odd:\u{85}7|c", "odd:7|c"],
    ["tagged:1|c|#k:v|c:box", "tagged:1|c|#k:v"],
];

/// A carbon that keeps every line, by its second.
struct Sink {
    address: SocketAddr,
    lines: Arc<Mutex<BTreeMap<u64, Vec<String>>>>,
}

impl Sink {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let lines = Arc::<Mutex<BTreeMap<u64, Vec<String>>>>::default();
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        let (rest, second) = line.rsplit_once(' ').expect("a time");
                        let second = second.parse().expect("a whole second");
                        kept.lock().expect("the lines").entry(second).or_default().push(rest.to_owned());
                    }
                });
            }
        });
        Self { address, lines }
    }

    /// The lines of the flush that has the datagram, and those of the flush behind it, without what a daemon tells of
    /// its own work and clock.
    fn flushes(&self) -> Result<[Vec<String>; 2], String> {
        let lines = self.lines.lock().expect("the lines");
        let marked = |lines: &Vec<String>| {
            lines.iter().any(|line| {
                line.ends_with("statsd.packets_received 1")
                    || line.ends_with("statsd.packets_received.count 1")
            })
        };
        let (first, found) =
            lines.iter().find(|(_, lines)| marked(lines)).ok_or("no flush with the datagram")?;
        let (_, next) = lines.range(first + 1..).next().ok_or("no flush behind it")?;
        // A flush is whole once the one behind it has begun.
        if lines.range(first + 1..).count() < 2 {
            return Err("the flush behind it may not be whole".to_owned());
        }
        let own = ["calculationtime", "processing_time", "graphiteStats.", "timestamp_lag"];
        Ok([found, next].map(|lines| {
            let mut lines: Vec<String> = lines
                .iter()
                .filter(|line| line.starts_with("stats") && own.iter().all(|own| !line.contains(own)))
                .cloned()
                .collect();
            lines.sort();
            lines
        }))
    }

    /// The names of what a daemon tells of its own work and clock.
    fn own(&self) -> Vec<String> {
        let lines = self.lines.lock().expect("the lines");
        let newest = lines.values().nth_back(1).expect("a flush that is whole");
        let mut names: Vec<String> = newest
            .iter()
            .filter(|line| line.contains("statsd."))
            .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
            .collect();
        names.sort();
        names
    }
}

/// statsd's daemon, which flushes each second.
fn daemon(folder: &TempDir, sink: &Sink, legacy: bool) -> (Running, SocketAddr) {
    let [port, management] = free_ports();
    let package = peer("statsd").join("node_modules/statsd");
    let configuration = serde_json::json!({
        "address": "127.0.0.1", "port": port,
        "mgmt_address": "127.0.0.1", "mgmt_port": management,
        "graphiteHost": "127.0.0.1", "graphitePort": sink.address.port(),
        "graphite": { "legacyNamespace": legacy },
        "backends": ["./backends/graphite"], "flushInterval": 1000,
    });
    let file = folder.path().join("statsd.js");
    fs::write(&file, configuration.to_string()).expect("a file");
    let mut command = Command::new("node");
    command.arg(package.join("stats.js")).arg(&file).current_dir(&package);
    (Running::start("statsd", &mut command, folder.path()), SocketAddr::from(([127, 0, 0, 1], port)))
}

fn writes_the_same(names: &str) {
    let folder = TempDir::new().expect("a folder");
    let (theirs, ours) = (Sink::open(), Sink::open());
    let (_daemon, their_address) = daemon(&folder, &theirs, names == "legacy");
    let product = Product::collect(&[
        "--statsd-names",
        names,
        "--statsd-flush",
        "1s",
        "--graphite",
        &ours.address.to_string(),
    ]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for (sink, address) in [(&theirs, their_address), (&ours, product.address("statsd"))] {
        eventually("the first flush", PATIENCE, || {
            let flushed = !sink.lines.lock().expect("the lines").is_empty();
            flushed.then_some(()).ok_or_else(|| "no line".to_owned())
        });
        let form = usize::from(address == their_address);
        let forms = FORMS.map(|forms| forms[form]).join("\n");
        socket.send_to(format!("{DATAGRAM}\n{forms}").as_bytes(), address).expect("a datagram");
    }
    let [theirs_then, theirs_next] = eventually("statsd's lines", PATIENCE, || theirs.flushes());
    let [ours_then, ours_next] = eventually("our lines", PATIENCE, || ours.flushes());
    assert!(theirs_then.len() > 100, "{theirs_then:#?}");
    assert_eq!(ours_then, theirs_then);
    assert_eq!(ours_next, theirs_next, "what is idle");
    assert_eq!(ours.own(), theirs.own());
}

#[test]
fn the_daemons_legacy_names_are_its_own() {
    writes_the_same("legacy");
}

#[test]
fn the_daemons_new_names_are_its_own() {
    writes_the_same("new");
}
