//! Where telemetry goes, in the words of the start-up text.

use url::Url;

use super::names::{self, Names};
use crate::telemetry::{Environment, Signal, exporter_variable};

/// What is pushed where and what is not, and whether metrics can be pulled, on as few lines as it takes.
pub(super) fn lines(environment: &Environment, embedded: bool, names: &Names) -> Vec<String> {
    if environment.is_disabled() {
        return vec!["OTEL_SDK_DISABLED is true: nothing is measured, traced or pushed".to_owned()];
    }
    let (pushed, held): (Vec<_>, Vec<_>) =
        Signal::ALL.into_iter().partition(|signal| environment.pushes(*signal));
    let mut lines = match embedded {
        true => vec![format!(
            "{} goes by OTLP to the collector in this process, since no OTEL_EXPORTER_OTLP_ENDPOINT is set",
            telemetry(&pushed)
        )],
        false => endpoints(environment, &pushed, names),
    };
    if !held.is_empty() {
        let reason = |signal: &Signal| {
            let variable = exporter_variable(*signal);
            let value = environment.value(variable).unwrap_or_default();
            format!("{} ({variable}={value})", signal.as_str())
        };
        lines.push(format!("Not pushed: {}", held.iter().map(reason).collect::<Vec<_>>().join(", ")));
    }
    if !environment.exposes_metrics() {
        lines.push(
            "/metrics/ shows no metrics, since OTEL_METRICS_EXPORTER does not name prometheus".to_owned(),
        );
    }
    lines
}

/// The names of the hosts that telemetry is pushed to.
pub(super) fn hosts(environment: &Environment) -> Vec<String> {
    let pushed = Signal::ALL.into_iter().filter(|signal| environment.pushes(*signal));
    pushed.filter_map(|signal| host(&environment.endpoint(signal))).collect()
}

fn host(endpoint: &str) -> Option<String> {
    names::of_url(&Url::parse(endpoint).ok()?)
}

fn endpoints(environment: &Environment, pushed: &[Signal], hosts: &Names) -> Vec<String> {
    let mut endpoints: Vec<(String, Vec<Signal>)> = Vec::new();
    for signal in pushed {
        let endpoint = environment.endpoint(*signal);
        match endpoints.iter_mut().find(|(known, _)| *known == endpoint) {
            Some((_, signals)) => signals.push(*signal),
            None => endpoints.push((endpoint, vec![*signal])),
        }
    }
    let line = |(endpoint, signals): (String, Vec<Signal>)| {
        let names: Vec<_> = signals.into_iter().map(Signal::as_str).collect();
        let flaws = hosts.flaws(host(&endpoint));
        format!("Telemetry ({}) goes by OTLP to {endpoint}{flaws}", names.join(", "))
    };
    endpoints.into_iter().map(line).collect()
}

/// All of it, or which of it.
fn telemetry(signals: &[Signal]) -> String {
    match signals.len() == Signal::ALL.len() {
        true => "Telemetry".to_owned(),
        false => {
            let names: Vec<_> = signals.iter().map(|signal| signal.as_str()).collect();
            format!("Telemetry ({})", names.join(", "))
        }
    }
}
