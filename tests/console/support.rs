//! A console, and the endpoints that it pulls, on real sockets; and a client that reads the page.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::Router;
use pushpull::{
    collector::view::{Hidden, Log, Series, Service, Source, Span},
    console::{Console, Listening},
    net,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::Url;

/// How long anything here may take before it counts as never.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A source of made data.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) series: Vec<Series>,
    pub(crate) spans: Vec<Arc<Span>>,
    pub(crate) logs: Vec<Arc<Log>>,
    pub(crate) losses: Vec<(String, String, String, u64)>,
    pub(crate) services: Vec<Service>,
    pub(crate) hidden: Vec<Hidden>,
}

impl Source for Made {
    fn series(&self) -> Vec<Series> {
        self.series.clone()
    }
    fn spans(&self) -> Vec<Arc<Span>> {
        self.spans.clone()
    }
    fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.clone()
    }
    fn losses(&self) -> Vec<(String, String, String, u64)> {
        self.losses.clone()
    }
    fn hidden(&self) -> Vec<Hidden> {
        self.hidden.clone()
    }
    fn services(&self) -> Vec<Service> {
        self.services.clone()
    }
}

/// A console that has nothing to show.
pub(crate) fn nothing() -> Console {
    Console {
        links: Vec::new(),
        listening: Vec::new(),
        source: None,
        pull: Vec::new(),
        pushed: None,
        token: None,
        hosts: pushpull::hosts::AllowedHosts::default().on_loopback(),
        controls: None,
    }
}

/// A router on a port of its own, until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: net::Stop,
}

impl Served {
    pub(crate) async fn new(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = net::Stop::default();
        tokio::spawn(net::serve(listener, router, stop.clone()));
        Self { address, stop }
    }

    pub(crate) async fn console(made: Made, listening: Vec<Listening>, pull: Vec<Url>) -> Self {
        Self::of(Console { listening, source: Some(Arc::new(made)), pull, ..nothing() }).await
    }

    pub(crate) async fn of(console: Console) -> Self {
        Self::new(pushpull::console::router(console)).await
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    /// The page's HTML.
    pub(crate) async fn page(&self) -> String {
        let answer = self.ask("GET / HTTP/1.1", &["Host: localhost"]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The answer to one request; the headers are given in full, the Host too.
    pub(crate) async fn ask(&self, request: &str, headers: &[&str]) -> Answer {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("{request}\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(DEADLINE, exchange).await.expect("the console answers in time");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cut();
    }
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        let value = &values.next().unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).1;
        assert!(values.next().is_none(), "{name} twice in {:?}", self.headers);
        value
    }
}

/// The HTML of one section.
pub(crate) fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("no section {id}"));
    let end = page[start..].find("</section>").unwrap();
    &page[start..start + end]
}

/// The texts of the cells of each body row.
pub(crate) fn rows(html: &str) -> Vec<Vec<String>> {
    let bodies = html.split("<tbody>").skip(1).map(|body| body.split("</tbody>").next().unwrap());
    bodies.flat_map(|body| body.split("</tr>").filter(|row| !row.is_empty()).map(cells)).collect()
}

fn cells(row: &str) -> Vec<String> {
    let row = row.replace("</th>", "</td>");
    row.split("</td>").map(text).filter(|cell| !cell.is_empty()).collect()
}

/// What a person reads: without tags, entities resolved.
pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    for (index, part) in html.split('<').enumerate() {
        text.push_str(if index == 0 { part } else { part.split_once('>').unwrap().1 });
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

pub(crate) fn ago(seconds: f64) -> SystemTime {
    SystemTime::now() - Duration::from_secs_f64(seconds)
}

pub(crate) fn labels(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn series(
    service: &str,
    instance: &str,
    sample: &str,
    own: &[(&str, &str)],
    value: f64,
) -> Series {
    let mut all = labels(own);
    all.extend(labels(&[("instance", instance), ("job", service)]));
    all.sort();
    Series {
        service: service.to_owned(),
        instance: instance.to_owned(),
        sample: sample.to_owned(),
        labels: all,
        value,
        at: ago(1.2),
        graphite: Some(format!("{sample};service.name={service}")),
    }
}

pub(crate) fn span(trace_id: &str, span_id: &str, parent_id: &str, name: &str, start: SystemTime) -> Span {
    Span {
        service: "flash".to_owned(),
        trace_id: trace_id.to_owned(),
        span_id: span_id.to_owned(),
        parent_id: parent_id.to_owned(),
        name: name.to_owned(),
        kind: "internal",
        start,
        duration: Duration::from_millis(5),
        error: false,
        attributes: Vec::new(),
    }
}

pub(crate) fn log(body: &str, trace_id: &str) -> Log {
    Log {
        service: "flash".to_owned(),
        at: ago(3.0),
        severity: "INFO".to_owned(),
        body: body.to_owned(),
        attributes: Vec::new(),
        trace_id: trace_id.to_owned(),
        span_id: String::new(),
    }
}

pub(crate) fn listening(what: &str, address: &str, url: Option<&str>) -> Listening {
    Listening {
        what: what.to_owned(),
        address: address.to_owned(),
        url: url.map(str::to_owned),
        note: format!("the {what}"),
    }
}
