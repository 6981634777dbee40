//! Expositions as the parser of Prometheus's Python client reads them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::installed::python_script;
use super::process::{PATIENCE, eventually, run};
use super::product::Product;

/// A sound exposition: every sample in its declared family, none twice, no histogram that contradicts itself.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Exposition {
    families: Vec<Family>,
}

#[derive(Debug, Deserialize)]
struct Family {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    samples: Vec<(String, BTreeMap<String, String>, String)>,
}

impl Exposition {
    /// What the parser makes of `text`; `Err` with its reasons where it or our rules refuse it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let json = run(&mut python_script("exposition.py"), text)?;
        serde_json::from_str(&json).map_err(|error| format!("{error} in {json}"))
    }

    /// The exposition at `path` of a listener.
    ///
    /// # Panics
    /// Where it is not sound: asking again must not hide that.
    pub(super) fn of(product: &Product, listener: &str, path: &str) -> Result<Self, String> {
        let text = product.get(listener, path)?;
        Ok(Self::parse(&text).unwrap_or_else(|flaws| panic!("{flaws}\n--- in the exposition:\n{text}")))
    }

    /// The type that the family is declared with.
    pub(super) fn kind(&self, family: &str) -> Option<&str> {
        self.families.iter().find(|candidate| candidate.name == family).map(|found| found.kind.as_str())
    }

    /// The value of the sample with this name and exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeMap<&str, &str> = labels.iter().copied().collect();
        self.samples(name)
            .find(|(found, _)| {
                found.len() == wanted.len()
                    && found.iter().all(|(k, v)| wanted.get(k.as_str()) == Some(&v.as_str()))
            })
            .map(|(_, value)| value)
    }

    /// The buckets of a histogram's series as (`le`, cumulative count), ascending.
    pub(super) fn buckets(&self, family: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let name = format!("{family}_bucket");
        let mut buckets: Vec<(f64, f64)> = self
            .samples(&name)
            .filter(|(found, _)| {
                found.len() == labels.len() + 1
                    && labels.iter().all(|(k, v)| found.get(*k).is_some_and(|f| f == v))
            })
            .map(|(found, value)| (number(&found["le"]), value))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// The label sets and values of all samples with this name.
    pub(super) fn samples(&self, name: &str) -> impl Iterator<Item = (&BTreeMap<String, String>, f64)> {
        self.families
            .iter()
            .flat_map(|family| &family.samples)
            .filter(move |(found, ..)| found == name)
            .map(|(_, labels, value)| (labels, number(value)))
    }
}

/// Rust reads what Python and Prometheus write: `12.0`, `nan`, `+Inf`.
fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|error| panic!("'{text}' is no number: {error}"))
}

#[test]
fn the_reader_refuses_what_is_not_sound() {
    let sound = "# TYPE a_total counter\na_total 1\n\
                 # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    Exposition::parse(sound).expect("a sound exposition");
    let flawed = [
        ("a_total 1\n", "a_total 1\na_total 1\n", "there twice"),
        ("a_total 1\n", "a_total 1\nb 1\n", "no declared type"),
        ("a_total 1\n", "a_total one\n", "could not convert"),
        ("h_count 2", "h_count 3", "last bucket"),
        ("h_bucket{le=\"1\"} 1", "h_bucket{le=\"1\"} 5", "fall"),
        (
            "# TYPE h histogram\n",
            "# TYPE h histogram\n# TYPE a_total counter\na_total{b=\"c\"} 1\n# TYPE h histogram\n",
            "there twice",
        ),
    ];
    for (good, bad, reason) in flawed {
        let text = sound.replacen(good, bad, 1);
        let refusal = Exposition::parse(&text).expect_err(&text);
        assert!(refusal.contains(reason), "{text}\nis refused, but for: {refusal}");
    }
}

#[test]
fn both_expositions_of_the_service_are_read_with_the_same_values() {
    let mut product = Product::serve(&[]);
    for _ in 0..20 {
        product.get("service", "/").expect("an answer of /");
    }
    for _ in 0..6 {
        product.get("service", "/database").expect("an answer of /database");
    }

    let pulled = Exposition::of(&product, "service", "/metrics/").expect("the service's exposition");
    assert_eq!(pulled.kind("requests"), Some("counter"));
    assert_eq!(pulled.kind("slow"), Some("histogram"));
    assert_eq!(pulled.value("requests_total", &[("endpoint", "/")]), Some(20.0));
    assert_eq!(pulled.value("requests_total", &[("endpoint", "/database")]), Some(6.0));
    assert_eq!(pulled.samples("requests_total").count(), 2, "{pulled:?}");
    assert_eq!(pulled.value("slow_count", &[("endpoint", "/database")]), Some(6.0));
    let bounds: Vec<f64> =
        pulled.buckets("slow", &[("endpoint", "/database")]).iter().map(|(le, _)| *le).collect();
    let expected =
        [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, f64::INFINITY];
    assert_eq!(bounds, expected);

    // What was pushed is the same to the bit, the job and the instance beside it.
    eventually("the collector to show what the service shows", PATIENCE, || {
        let pushed = Exposition::of(&product, "exposition", "/metrics")?;
        for name in ["requests_total", "slow_bucket", "slow_sum", "slow_count"] {
            let without_source = pushed.samples(name).map(|(labels, value)| {
                assert_eq!(labels.get("job").map(String::as_str), Some("pushpull"), "{name}{labels:?}");
                assert!(labels.contains_key("instance"), "{name}{labels:?}");
                let rest = labels.iter().filter(|(key, _)| !["job", "instance"].contains(&key.as_str()));
                (rest.map(|(key, value)| (key.clone(), value.clone())).collect(), value.to_bits())
            });
            let pushed: BTreeMap<BTreeMap<String, String>, u64> = without_source.collect();
            let pulled =
                pulled.samples(name).map(|(labels, value)| (labels.clone(), value.to_bits())).collect();
            if pushed != pulled {
                return Err(format!("{name}: pushed {pushed:?}, pulled {pulled:?}"));
            }
        }
        assert_eq!(pushed.kind("requests"), Some("counter"));
        assert_eq!(pushed.kind("slow"), Some("histogram"));
        Ok(())
    });
    product.stop();
}
