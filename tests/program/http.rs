//! One HTTP/1.1 request over a connection of its own, and what was answered to it.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    thread::{self, JoinHandle},
};

use crate::process::DEADLINE;

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.iter().filter(|(header, _)| header == name).collect();
        let [(_, value)] = values[..] else { panic!("not one {name} in {:?}", self.headers) };
        value
    }

    /// All values of a header, in the order of the answer.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(header, _)| header == name);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a sample of an exposition, by its name and labels as they are written there.
    pub(crate) fn sample(&self, series: &str) -> Option<f64> {
        let mut values = self.body.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = values.next().map(|value| value.parse().unwrap());
        assert_eq!(values.next(), None, "{series} twice");
        value
    }

    /// The sum of the samples of a name that have all of the `labels`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.body.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let wanted = samples.filter(|sample| labels.iter().all(|label| sample.contains(label)));
        wanted.map(|sample| sample.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

/// Sends `METHOD PATH` and reads the whole answer.
pub(crate) fn try_ask(address: &str, method_and_path: &str) -> io::Result<Answer> {
    try_ask_with(address, method_and_path, &[], "")
}

/// The same with headers of the test's own, and a body.
fn try_ask_with(
    address: &str,
    method_and_path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "{method_and_path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    if !body.is_empty() {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    write!(stream, "\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Ok(Answer { status, headers, body: body.to_owned() })
}

pub(crate) fn ask(address: &str, method_and_path: &str) -> Answer {
    try_ask(address, method_and_path).unwrap_or_else(|error| panic!("{method_and_path}: {error}"))
}

pub(crate) fn ask_with(address: &str, method_and_path: &str, headers: &[(&str, &str)]) -> Answer {
    let asked = try_ask_with(address, method_and_path, headers, "");
    asked.unwrap_or_else(|error| panic!("{method_and_path}: {error}"))
}

/// The same with a body.
pub(crate) fn send(address: &str, method_and_path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let asked = try_ask_with(address, method_and_path, headers, body);
    asked.unwrap_or_else(|error| panic!("{method_and_path}: {error}"))
}

/// A request on a thread of its own.
pub(crate) fn ask_meanwhile(address: &str, method_and_path: &str) -> JoinHandle<io::Result<Answer>> {
    let (address, method_and_path) = (address.to_owned(), method_and_path.to_owned());
    thread::spawn(move || try_ask(&address, &method_and_path))
}
