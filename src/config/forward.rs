//! The OTLP endpoints that everything, or some signals, are sent on to.
//!
//! Must not connect to any of them, and must not show what may be secret.

use url::Url;

use super::invalid::Fault;
use super::targets::plain_url;

/// An OTLP endpoint to send on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardTarget {
    /// An `http` or `https` URL, whatever the scheme that was given, without user, query and fragment.
    /// For [`ForwardProtocol::Http`] the base, to which `/v1/metrics`, `/v1/traces` or `/v1/logs` is appended.
    pub url: Url,
    /// The form of OTLP that it takes.
    pub protocol: ForwardProtocol,
    /// What it gets.
    pub signals: ForwardSignals,
    /// What it is called in counts and in the log: scheme, host and port, as they were given; no two are called the
    /// same. A path is left out, since a token may be in it.
    pub label: String,
}

/// The signals that an endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardSignals {
    /// Metrics.
    pub metrics: bool,
    /// Traces.
    pub traces: bool,
    /// Logs.
    pub logs: bool,
}

impl ForwardSignals {
    /// All of them.
    pub const ALL: Self = Self { metrics: true, traces: true, logs: true };

    /// In words for people.
    #[must_use]
    pub fn words(self) -> String {
        if self == Self::ALL {
            return "everything".to_owned();
        }
        let chosen = [(self.metrics, "metrics"), (self.traces, "traces"), (self.logs, "logs")];
        let chosen: Vec<_> =
            chosen.into_iter().filter(|(is_sent, _)| *is_sent).map(|(_, name)| name).collect();
        chosen.join(" and ")
    }
}

/// What deltas are sent on as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardTemporality {
    /// Deltas, as they came.
    Unchanged,
    /// The totals that they add up to.
    Cumulative,
}

/// The two forms of OTLP that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardProtocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

/// One `--forward`.
pub(super) fn forward(text: &str) -> Result<ForwardTarget, Fault> {
    const GRPC_PORT: u16 = 4317;
    let fault = |reason| Fault::new(reason, "give a URL such as grpc://HOST:4317 or http://HOST:4318");
    // What stands before the = is no part of a URL that begins with a scheme.
    let (signals, text) = match text.split_once('=') {
        Some((signals, url)) if !signals.contains(['/', ':']) => (signals_of(signals)?, url),
        _ => (ForwardSignals::ALL, text),
    };
    let url = plain_url(text).map_err(fault)?;
    let scheme = url.scheme().to_owned();
    let (protocol, web) = match url.scheme() {
        "grpc" => (ForwardProtocol::Grpc, Some("http")),
        "grpcs" => (ForwardProtocol::Grpc, Some("https")),
        "http" | "https" if url.port() == Some(GRPC_PORT) => (ForwardProtocol::Grpc, None),
        "http" | "https" => (ForwardProtocol::Http, None),
        _ => return Err(fault("neither grpc://, grpcs://, http:// nor https://")),
    };
    if protocol == ForwardProtocol::Grpc && !matches!(url.path(), "" | "/") {
        return Err(fault("OTLP over gRPC (which port 4317 means too) has no path"));
    }
    if protocol == ForwardProtocol::Http
        && ["metrics", "traces", "logs"].iter().any(|signal| ends_with(&url, signal))
    {
        return Err(fault("not the base URL: /v1/metrics, /v1/traces and /v1/logs are appended to it"));
    }
    let url = match web {
        None => url,
        Some(_) if url.port().is_none() => return Err(fault("no port")),
        Some(web) => {
            // `Url` refuses to turn a scheme that it does not know into one that it knows, so the text is turned.
            let rest = text.split_once(':').map_or("", |(_, rest)| rest);
            plain_url(&format!("{web}:{rest}")).map_err(fault)?
        }
    };
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let label = format!("{scheme}://{host}:{port}");
    Ok(ForwardTarget { url, protocol, signals, label })
}

fn signals_of(text: &str) -> Result<ForwardSignals, Fault> {
    let fault = |reason: &str| {
        Fault::new(
            reason,
            "give metrics, traces or logs, with + between several, such as metrics+traces=grpc://HOST:4317",
        )
    };
    let mut signals = ForwardSignals { metrics: false, traces: false, logs: false };
    for word in text.split('+') {
        let signal = match word {
            "metrics" => &mut signals.metrics,
            "traces" => &mut signals.traces,
            "logs" => &mut signals.logs,
            _ => return Err(fault("not a signal before the =")),
        };
        if std::mem::replace(signal, true) {
            return Err(fault("the same signal twice"));
        }
    }
    Ok(signals)
}

/// Tells the labels of targets apart that have the same scheme, host and port.
pub(super) fn tell_apart(targets: &mut [ForwardTarget]) {
    for at in 1..targets.len() {
        let (before, this) = targets.split_at_mut(at);
        let label = this[0].label.clone();
        let same =
            before.iter().filter(|target| target.label.split('#').next() == Some(label.as_str())).count();
        if same > 0 {
            this[0].label = format!("{label}#{}", same + 1);
        }
    }
}

fn ends_with(url: &Url, signal: &str) -> bool {
    url.path().trim_end_matches('/').ends_with(&format!("/v1/{signal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_targets() {
        use ForwardProtocol::{Grpc, Http};
        for (text, url, protocol) in [
            ("grpc://host:9999", "http://host:9999/", Grpc),
            ("grpcs://host:443", "https://host/", Grpc),
            ("GRPC://host:4317/", "http://host:4317/", Grpc),
            ("http://host:4317", "http://host:4317/", Grpc),
            ("https://host:4317", "https://host:4317/", Grpc),
            ("http://host:4318", "http://host:4318/", Http),
            ("https://host/otlp", "https://host/otlp", Http),
            ("grpc://[::1]:4317", "http://[::1]:4317/", Grpc),
            ("metrics=http://host:4318/a=b", "http://host:4318/a=b", Http),
            ("http://host:4318/a=b", "http://host:4318/a=b", Http),
        ] {
            let target = forward(text).unwrap();
            assert_eq!((target.url.as_str(), target.protocol), (url, protocol), "{text}");
        }
        for (text, reason) in [
            ("host:4317", "a URL without a host"),
            ("127.0.0.1:4317", "not a URL"),
            ("grpc://host", "no port"),
            ("grpc://:4317", "not a URL"),
            ("ftp://host:1", "neither grpc://, grpcs://, http:// nor https://"),
            ("http://host:4317/v1/metrics", "OTLP over gRPC (which port 4317 means too) has no path"),
            ("metric=grpc://host:1", "not a signal before the ="),
            ("=grpc://host:1", "not a signal before the ="),
            ("logs+logs=grpc://host:1", "the same signal twice"),
            ("logs=host:4317", "a URL without a host"),
            ("http://host:0", "port 0 cannot be connected to"),
            ("http://user:secret@host", "a URL with a user or a password, which is not supported"),
            ("http://host?token=secret", "a URL with a query or a fragment, which is not supported"),
            (
                "http://host:4318/v1/traces",
                "not the base URL: /v1/metrics, /v1/traces and /v1/logs are appended to it",
            ),
        ] {
            assert_eq!(forward(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn labels_are_scheme_host_and_port_each_for_one_target() {
        let mut targets: Vec<_> = [
            "GRPC://Host:4317/",
            "metrics=https://host/a-secret/otlp",
            "https://host:443/another",
            "http://host:4317",
            "logs=grpc://host:4317",
            "traces=https://host",
        ]
        .into_iter()
        .map(|text| forward(text).unwrap())
        .collect();
        tell_apart(&mut targets);
        let labels: Vec<_> = targets.iter().map(|target| target.label.as_str()).collect();
        let expected = [
            "grpc://host:4317",
            "https://host:443",
            "https://host:443#2",
            "http://host:4317",
            "grpc://host:4317#2",
            "https://host:443#3",
        ];
        assert_eq!(labels, expected);
        let words: Vec<_> = targets.iter().map(|target| target.signals.words()).collect();
        assert_eq!(words, ["everything", "metrics", "everything", "everything", "logs", "traces"]);
        assert_eq!(forward("logs+metrics=grpc://host:1").unwrap().signals.words(), "metrics and logs");
    }
}
