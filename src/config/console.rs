//! What the console's page needs beside its address: the token's file, links, and where pushed values are read.
//!
//! Must not open any of them.

use std::path::PathBuf;

use url::Url;

use super::{flag::Flag, invalid::Fault, reader::Reader};

/// The longest name of a link, in characters.
const LONGEST_NAME: usize = 40;

/// What the console's page needs beside its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsolePage {
    /// The file that holds the token; made where it is not there.
    pub token_file: Option<PathBuf>,
    /// The `http` exposition that pushed values are read from; none where this process receives them itself.
    pub pushed: Option<Url>,
    /// The links at the top of the page.
    pub links: Vec<ConsoleLink>,
}

/// A link at the top of the console's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLink {
    /// What the page calls it, 1 to 40 characters.
    pub name: String,
    /// An `http` or `https` URL without user and password. The host `0.0.0.0` stands for the one that the browser
    /// asked.
    pub url: Url,
}

impl Reader<'_> {
    /// What `serve` and `collect` both have, each by its own flags.
    pub(super) fn console_page(&mut self, token_file: &Flag, links: &Flag) -> Option<ConsolePage> {
        let token_file = self.read_if_given(token_file, |given| Ok(PathBuf::from(given.text)));
        let links = self.read_list(links, |given| link(given.text));
        Some(ConsolePage { token_file: token_file?, pushed: None, links: links? })
    }
}

/// One `NAME=URL`; a URL without a scheme begins with a port.
fn link(text: &str) -> Result<ConsoleLink, Fault> {
    let fault = |reason| {
        Fault::new(
            reason,
            "give NAME=URL with http:// or https://, or NAME=:PORT/PATH for the host that the browser asked",
        )
    };
    let (name, target) = text.split_once('=').ok_or_else(|| fault("no name before a ="))?;
    let (name, target) = (name.trim(), target.trim());
    if name.is_empty() {
        return Err(fault("no name before the ="));
    }
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(fault("a name of more than 40 characters, or with a control character"));
    }
    let hostless = target.strip_prefix(':').map(|rest| format!("http://0.0.0.0:{rest}"));
    let port_is_given = target.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if hostless.is_some() && !port_is_given {
        return Err(fault("no port behind the :"));
    }
    let url = Url::parse(hostless.as_deref().unwrap_or(target)).map_err(|_| fault("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fault("neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault("a URL with a user or a password, which everyone who opens the page would see"));
    }
    if url.port() == Some(0) {
        return Err(fault("port 0 cannot be connected to"));
    }
    Ok(ConsoleLink { name: name.to_owned(), url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        for (text, name, url) in [
            ("Prometheus=http://prometheus:9090", "Prometheus", "http://prometheus:9090/"),
            (
                "My Grafana = https://grafana.example/d/x?orgId=1#a=b",
                "My Grafana",
                "https://grafana.example/d/x?orgId=1#a=b",
            ),
            ("Graphite=:8080", "Graphite", "http://0.0.0.0:8080/"),
            ("Bridge=:5002/path?x=1", "Bridge", "http://0.0.0.0:5002/path?x=1"),
            ("Six=http://[::1]:80/", "Six", "http://[::1]/"),
        ] {
            let link = link(text).unwrap();
            assert_eq!((link.name.as_str(), link.url.as_str()), (name, url), "{text}");
        }
        for (text, reason) in [
            ("http://prometheus:9090", "no name before a ="),
            ("=http://prometheus:9090", "no name before the ="),
            ("Prometheus=prometheus:9090", "neither http:// nor https://"),
            ("Prometheus=javascript:alert(1)", "neither http:// nor https://"),
            ("Prometheus=/graph", "not a URL"),
            ("Prometheus=", "not a URL"),
            ("Prometheus=:", "no port behind the :"),
            ("Prometheus=:/graph", "no port behind the :"),
            ("Prometheus=:@evil.example/", "no port behind the :"),
            (
                "Prometheus=:9090@evil.example/",
                "a URL with a user or a password, which everyone who opens the page would see",
            ),
            ("Prometheus=:99999/", "not a URL"),
            ("Prometheus=:0/", "port 0 cannot be connected to"),
            (
                "Prometheus=http://u:secret@prometheus",
                "a URL with a user or a password, which everyone who opens the page would see",
            ),
        ] {
            assert_eq!(link(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
        let long = format!("{}=:80", "n".repeat(41));
        assert!(link(&long).is_err());
    }
}
