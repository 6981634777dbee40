//! What `serve` and `collect` read of their collector's settings.
//!
//! Must not know which command it is.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::flag::Flag;
use super::invalid::Fault;
use super::reader::Reader;
use super::{
    CollectorSettings, ForwardTarget, ForwardTemporality, GraphiteTarget, Listen, SpoolSettings, StatsdNames,
    TlsFiles,
};
use super::{cors, flags, forward, hosts, listen, targets, values};

impl Reader<'_> {
    /// The settings of a collector. Those of its addresses that are `fixed` must differ from each other and from
    /// the `others`, and must not be targets of `--forward`.
    pub(super) fn collector(
        &mut self,
        exposition_scope: &Flag,
        fixed: impl Fn(&Listen) -> bool,
        others: [Option<&Listen>; 2],
    ) -> Option<CollectorSettings> {
        let otlp_grpc = self.listen(&flags::OTLP_GRPC);
        let otlp_http = self.listen(&flags::OTLP_HTTP);
        let statsd = self.read(&flags::STATSD, |given| {
            listen::listen_or_off(&flags::STATSD, given, flags::STATSD.example())
        });
        let statsd_flush = self.time(&flags::STATSD_FLUSH, Duration::from_millis(10));
        let statsd_expiry = self.statsd_expiry();
        let statsd_tags = self.statsd_tags();
        let statsd_names = self.read(&flags::STATSD_NAMES, |given| {
            let names =
                [("off", None), ("legacy", Some(StatsdNames::Legacy)), ("new", Some(StatsdNames::New))];
            values::word(given.text, &names)
        });
        let queue_limit =
            self.read(&flags::QUEUE_LIMIT, |given| values::size(given.text, 64 << 10..=64 << 30));
        let max_series = self.read(&flags::MAX_SERIES, |given| values::count(given.text, 1..=100_000_000));
        let histogram_bounds = self.read(&flags::HISTOGRAM_BOUNDS, |given| values::bounds(given.text));
        let exposition = self.listen(&flags::EXPOSITION);
        let exposition_labels = self.exposition_labels(exposition_scope);
        let graphite = self.read_all(&flags::GRAPHITE, |given| targets::graphite(given.text));
        let graphite_lines = self.graphite_lines();
        let receivers = [&otlp_grpc, &otlp_http].map(|listen| listen.as_ref().filter(|listen| fixed(listen)));
        let forward = self.forward(receivers);
        let forward_temporality = self.forward_temporality();
        let allowed_hosts = self.read_list(&flags::ALLOWED_HOSTS, |given| hosts::allowed(given.text));
        let otlp_cors = self.read_list(&flags::OTLP_CORS, |given| cors::origin(given.text));
        if graphite
            .as_ref()
            .is_some_and(|targets| targets.len() > 1 && targets.contains(&GraphiteTarget::Stdout))
        {
            let fault = Fault::new("stands beside other targets", "give - alone, or addresses alone");
            self.problems.push(fault.of(flags::GRAPHITE.long, Some("-")));
        }
        if matches!(statsd_names, Some(Some(_))) && graphite.as_ref().is_some_and(Vec::is_empty) {
            let fault =
                Fault::new("names for Graphite, but no Graphite", "give --graphite too, or leave it out");
            self.problems.push(fault.of(flags::STATSD_NAMES.long, None));
        }
        let spool = self.spool(graphite.as_deref());
        let graphite_replay = self.time(&flags::GRAPHITE_REPLAY, Duration::from_secs(1));
        let exposed = exposition.as_ref().filter(|listen| fixed(listen));
        let tcp: Vec<&Listen> = others.into_iter().chain(receivers).chain([exposed]).flatten().collect();
        self.problems.extend(listen::conflicts(&tcp));
        Some(CollectorSettings {
            otlp_grpc: otlp_grpc?,
            otlp_http: otlp_http?,
            statsd: statsd?,
            statsd_flush: statsd_flush?,
            statsd_expiry: statsd_expiry?,
            statsd_tags: statsd_tags?,
            statsd_names: statsd_names?,
            exposition: exposition?,
            exposition_labels: exposition_labels?,
            graphite: graphite?,
            graphite_lines: graphite_lines?,
            spool: spool?,
            graphite_replay: graphite_replay?,
            forward: forward?,
            forward_temporality: forward_temporality?,
            otlp_cors: otlp_cors?,
            allowed_hosts: allowed_hosts?,
            queue_limit: queue_limit?,
            max_series: max_series?,
            histogram_bounds: histogram_bounds?,
        })
    }

    fn forward(&mut self, receivers: [Option<&Listen>; 2]) -> Option<Vec<ForwardTarget>> {
        let mut targets = self.read_all(&flags::FORWARD, |given| {
            forward::forward(given.text).and_then(|target| foreign(target, receivers))
        })?;
        forward::tell_apart(&mut targets);
        Some(targets)
    }

    fn forward_temporality(&mut self) -> Option<ForwardTemporality> {
        let words =
            [("unchanged", ForwardTemporality::Unchanged), ("cumulative", ForwardTemporality::Cumulative)];
        self.read(&flags::FORWARD_TEMPORALITY, |given| values::word(given.text, &words))
    }

    fn spool(&mut self, graphite: Option<&[GraphiteTarget]>) -> Option<Option<SpoolSettings>> {
        let folder = self.read_if_given(&flags::SPOOL, |given| Ok(PathBuf::from(given.text)));
        let limit = self.read(&flags::SPOOL_LIMIT, |given| values::size(given.text, 1 << 20..=16 << 40));
        let age = self.read(&flags::SPOOL_AGE, |given| {
            values::time_or_off(given.text, Duration::from_secs(60)..=Duration::from_secs(365 * 24 * 3600))
        });
        let folder = folder?;
        let addressed = |target: &GraphiteTarget| matches!(target, GraphiteTarget::Address(_));
        if let (Some(folder), Some(targets)) = (&folder, graphite)
            && !targets.iter().any(addressed)
        {
            let fault = Fault::new("keeps nothing without a carbon", "give --graphite HOST:PORT too");
            self.problems.push(fault.of(flags::SPOOL.long, folder.to_str()));
        }
        let (limit, age) = (limit?, age?);
        Some(folder.map(|folder| SpoolSettings { folder, limit, age }))
    }

    pub(super) fn tls(&mut self) -> Option<Option<TlsFiles>> {
        let mut file = |flag| self.read_if_given(flag, |given| Ok(PathBuf::from(given.text)));
        let [cert, key, client_ca] =
            [&flags::TLS_CERT, &flags::TLS_KEY, &flags::TLS_CLIENT_CA].map(&mut file);
        let (cert, key, client_ca) = (cert?, key?, client_ca?);
        let alone = |flag: &Flag, reason: &str, missing: &Flag| {
            Some(Fault::new(reason, format!("give {} too", missing.long)).of(flag.long, None))
        };
        let problem = match (cert, key, client_ca) {
            (Some(cert), Some(key), client_ca) => return Some(Some(TlsFiles { cert, key, client_ca })),
            (None, None, None) => return Some(None),
            (Some(_), None, _) => alone(&flags::TLS_CERT, "a certificate without its key", &flags::TLS_KEY),
            (None, Some(_), _) => alone(&flags::TLS_KEY, "a key without its certificate", &flags::TLS_CERT),
            (None, None, Some(_)) => {
                alone(&flags::TLS_CLIENT_CA, "clients show certificates only over TLS", &flags::TLS_CERT)
            }
        };
        self.problems.extend(problem);
        None
    }
}

/// Refuses a target that is a receiver of the same collector: what it sends would come back for ever.
fn foreign(target: ForwardTarget, receivers: [Option<&Listen>; 2]) -> Result<ForwardTarget, Fault> {
    let address = local(&target.url);
    let own = |receiver: &&Listen| {
        address.is_some_and(|address| receiver.addresses().any(|own| listen::overlap(own, address)))
    };
    match receivers.into_iter().flatten().find(own) {
        None => Ok(target),
        Some(receiver) => Err(Fault::new(
            format!("this collector's own {}", receiver.flag),
            "give the address of another collector",
        )),
    }
}

/// The address of a URL whose host is an IP address or `localhost`; other names are not resolved for this.
fn local(url: &Url) -> Option<SocketAddr> {
    let ip = match url.host()? {
        url::Host::Ipv4(ip) => IpAddr::V4(ip),
        url::Host::Ipv6(ip) => IpAddr::V6(ip),
        url::Host::Domain("localhost") => IpAddr::from([127, 0, 0, 1]),
        url::Host::Domain(_) => return None,
    };
    Some(SocketAddr::new(ip, url.port_or_known_default()?))
}
