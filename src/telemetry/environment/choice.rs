//! Lists of words, as the variables have them that choose exporters and propagators.

use super::Signal;

/// What `OTEL_TRACES_EXPORTER` and its like can choose.
const OTLP: &str = "otlp";
const PROMETHEUS: &str = "prometheus";
/// What `OTEL_PROPAGATORS` can choose.
const TRACE_CONTEXT: &str = "tracecontext";
const BAGGAGE: &str = "baggage";
/// The word for an empty list.
const NONE: &str = "none";

/// Where the telemetry of one signal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Exporters {
    /// It is pushed by OTLP.
    pub(in super::super) otlp: bool,
    /// It can be scraped. Metrics alone can.
    pub(in super::super) prometheus: bool,
}

impl Exporters {
    pub(super) const NONE: Self = Self { otlp: false, prometheus: false };

    /// All that there is for a signal: both views of metrics, of the others the one.
    pub(super) fn default_of(signal: Signal) -> Self {
        Self { otlp: true, prometheus: signal == Signal::Metrics }
    }

    pub(super) fn parse(signal: Signal, list: &str) -> Result<Self, String> {
        let known: &[_] = if signal == Signal::Metrics { &[OTLP, PROMETHEUS] } else { &[OTLP] };
        let chosen = chosen(list, known)?;
        Ok(Self { otlp: chosen.contains(&OTLP), prometheus: chosen.contains(&PROMETHEUS) })
    }
}

/// Which contexts are taken from and given to other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Propagators {
    /// W3C Trace Context.
    pub(in super::super) trace_context: bool,
    /// W3C Baggage.
    pub(in super::super) baggage: bool,
}

impl Propagators {
    pub(super) const DEFAULT: Self = Self { trace_context: true, baggage: true };

    pub(super) fn parse(list: &str) -> Result<Self, String> {
        let chosen = chosen(list, &[TRACE_CONTEXT, BAGGAGE])?;
        Ok(Self { trace_context: chosen.contains(&TRACE_CONTEXT), baggage: chosen.contains(&BAGGAGE) })
    }
}

/// The words of a list with commas, each one of `known`; `none` stands alone. Case does not matter, a word that
/// stands twice counts once.
fn chosen(list: &str, known: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let mut words = list.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_none() {
        return Err(format!("names none of {}", known.join(", ")));
    }
    let mut chosen = Vec::new();
    let mut none = false;
    for word in words {
        match known.iter().find(|known| known.eq_ignore_ascii_case(word)) {
            Some(known) => chosen.push(*known),
            None if word.eq_ignore_ascii_case(NONE) => none = true,
            None => return Err(format!("names {word:?}, which is none of {}, {NONE}", known.join(", "))),
        }
    }
    match none && !chosen.is_empty() {
        true => Err(format!("names {NONE} beside others")),
        false => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_specification_writes_them() {
        let known = ["otlp", "prometheus"];
        for (list, expected) in [
            ("otlp", vec!["otlp"]),
            (" OTLP , Prometheus,", vec!["otlp", "prometheus"]),
            ("otlp,otlp", vec!["otlp", "otlp"]),
            ("none", vec![]),
            ("none,NONE", vec![]),
        ] {
            assert_eq!(chosen(list, &known), Ok(expected), "{list}");
        }
        for list in ["console", "otlp,console", "otlp;prometheus", "none,otlp", " ", ",", "otlp prometheus"] {
            assert!(chosen(list, &known).is_err(), "{list}");
        }
    }

    #[test]
    fn metrics_alone_can_be_scraped() {
        assert_eq!(
            Exporters::parse(Signal::Metrics, "prometheus"),
            Ok(Exporters { otlp: false, prometheus: true })
        );
        assert!(Exporters::parse(Signal::Traces, "prometheus").is_err());
        assert!(Exporters::parse(Signal::Logs, "otlp,prometheus").is_err());
    }
}
