//! Names of other hosts, looked up at the start. One that cannot be resolved is reported, and delays nothing.
//!
//! A look-up cannot be cancelled. Each has a thread of its own, which is left behind where it takes too long.

use std::{
    collections::BTreeMap,
    net::{IpAddr, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use url::{Host, Url};

use crate::config::{CollectorSettings, GraphiteTarget};

/// How long all look-ups together may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the names of other hosts are resolved to, or why they are not.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Result<Vec<IpAddr>, String>>);

impl Names {
    /// Looks all names up at the same time.
    pub(super) fn look_up(hosts: impl IntoIterator<Item = String>) -> Self {
        let late = || Err(format!("no answer within {PATIENCE:?}"));
        let mut names: BTreeMap<_, _> = hosts.into_iter().map(|host| (host, late())).collect();
        let (sender, receiver) = mpsc::channel();
        for host in names.keys().cloned() {
            let sender = sender.clone();
            // Where there is no thread to be had, there is no answer either.
            let _ = thread::Builder::new().name("look-up".to_owned()).spawn(move || {
                let found = (host.as_str(), 0).to_socket_addrs();
                let found = found.map(|found| found.map(|address| address.ip()).collect());
                let _ = sender.send((host, found.map_err(|error| error.to_string())));
            });
        }
        // Without a sender left, nobody waits.
        drop(sender);
        let deadline = Instant::now() + PATIENCE;
        while let Ok((host, found)) =
            receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            names.insert(host, found);
        }
        Self(names)
    }

    /// The addresses of a name that was resolved.
    pub(super) fn addresses(&self, host: &str) -> &[IpAddr] {
        self.0.get(host).and_then(|found| found.as_deref().ok()).unwrap_or_default()
    }

    /// The end of a sentence that names these hosts: which of them cannot be resolved.
    pub(super) fn flaws(&self, hosts: impl IntoIterator<Item = String>) -> String {
        let flaw = |host: String| {
            let reason = self.0.get(&host)?.as_ref().err()?;
            Some(format!("; but {host} cannot be resolved now ({reason}), which is tried again"))
        };
        hosts.into_iter().filter_map(flaw).collect()
    }
}

/// The names that a collector sends to.
pub(super) fn of_collector(settings: &CollectorSettings) -> impl Iterator<Item = String> {
    let forwards = settings.forward.iter().filter_map(|target| of_url(&target.url));
    settings.graphite.iter().filter_map(of_carbon).chain(forwards)
}

/// The host of a URL, where it is a name.
pub(super) fn of_url(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// The host of a carbon, where it is a name.
pub(super) fn of_carbon(target: &GraphiteTarget) -> Option<String> {
    let GraphiteTarget::Address(address) = target else { return None };
    let (host, _) = address.rsplit_once(':')?;
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    (!is_address).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_resolved_or_reported() {
        let names = Names::look_up(["localhost", "nosuch.invalid"].map(str::to_owned));
        assert!(names.addresses("localhost").iter().all(IpAddr::is_loopback));
        assert!(!names.addresses("localhost").is_empty());
        assert!(names.addresses("nosuch.invalid").is_empty());
        assert_eq!(names.flaws(["localhost".to_owned(), "unknown".to_owned()]), "");
        let flaw = names.flaws(["nosuch.invalid".to_owned()]);
        assert!(flaw.starts_with("; but nosuch.invalid cannot be resolved now ("), "{flaw}");
    }

    #[test]
    fn addresses_need_no_look_up() {
        let carbon = |address: &str| of_carbon(&GraphiteTarget::Address(address.to_owned()));
        assert_eq!(carbon("carbon:2003").as_deref(), Some("carbon"));
        assert_eq!(
            [carbon("127.0.0.1:2003"), carbon("[::1]:2003"), of_carbon(&GraphiteTarget::Stdout)],
            [const { None }; 3]
        );
        let url = |text| of_url(&Url::parse(text).unwrap());
        assert_eq!(url("http://Collector:4318/x").as_deref(), Some("collector"));
        assert_eq!([url("http://127.0.0.1:4318"), url("http://[::1]:4318")], [const { None }; 2]);
    }
}
