//! A collector at the far end of what a program pushes or forwards, whose spans, log records and series can
//! be looked at one by one.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use pushpull::{
    collector::{
        Collector, Sockets,
        view::{Log, Series, Source as _, Span},
    },
    config::{self, Command, Outcome},
};
use tokio::runtime::Runtime;

use crate::process::eventually;

pub(crate) struct Watcher {
    collector: Collector,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    // Dropped last: the collector's tasks run on it.
    _runtime: Runtime,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let _entered = runtime.enter();
        let arguments = ["pushpull", "collect"].map(Into::into);
        let Ok(Outcome::Run(settings)) = config::from_args(arguments, []) else { panic!("no settings") };
        let Command::Collect(settings) = settings.command else { panic!("not collect") };
        let [otlp_grpc, otlp_http, exposition] = [(); 3].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let [grpc, http] = [&otlp_grpc, &otlp_http].map(|listener| listener.local_addr().unwrap());
        let sockets = Sockets {
            otlp_grpc: otlp_grpc.into(),
            otlp_http: otlp_http.into(),
            statsd: Vec::new(),
            exposition: exposition.into(),
            tls: None,
            terms: pushpull::net::Terms::default(),
        };
        let collector = Collector::start(&settings.collector, sockets).unwrap();
        drop(_entered);
        Self { collector, grpc, http, _runtime: runtime }
    }

    /// For `--forward`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn spans(&self) -> Vec<Arc<Span>> {
        self.collector.pipeline().spans()
    }

    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        self.collector.pipeline().logs()
    }

    /// The first span of a name, once it has come.
    pub(crate) fn span(&self, name: &str) -> Arc<Span> {
        eventually(name, || self.spans().into_iter().find(|span| span.name == name))
    }

    /// The first log record with a body, once it has come.
    pub(crate) fn log(&self, body: &str) -> Arc<Log> {
        eventually(body, || self.logs().into_iter().find(|log| log.body == body))
    }

    /// The series of a sample's name that has a label, once it stands at `value`.
    pub(crate) fn series(&self, sample: &str, label: (&str, &str), value: f64) -> Series {
        let label = (label.0.to_owned(), label.1.to_owned());
        let wanted = |series: &Series| {
            series.sample == sample && series.labels.contains(&label) && series.value == value
        };
        eventually(sample, || self.collector.pipeline().series().into_iter().find(wanted))
    }
}

/// The value of an attribute.
pub(crate) fn attribute<'a>(attributes: &'a [(String, String)], key: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}
