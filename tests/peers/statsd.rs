//! The `StatsD` client for Python counts into the collector.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::exposition::Exposition;
use super::installed::python_script;
use super::process::{PATIENCE, eventually, run};
use super::product::Product;

#[derive(Deserialize)]
struct Pushed {
    /// How many of the increments with a sample rate of one half were sent at all.
    sampled_sent: u32,
}

#[test]
fn the_python_client_counts_exactly() {
    let product = Product::collect(&["--statsd-flush", "200ms", "--graphite", "-"]);
    let statsd = product.address("statsd");
    let printed =
        run(python_script("statsd_push.py").args([statsd.ip().to_string(), statsd.port().to_string()]), "")
            .expect("the client's run");
    let pushed: Pushed = serde_json::from_str(&printed).expect("what the script prints");

    let expected = [
        ("till_hits_total", 124.0),
        ("till_sampled_total", f64::from(pushed.sampled_sent) * 2.0),
        ("till_batched_total", 1000.0),
        ("till_queue", 10.0),
        ("till_balance", -3.0),
        ("till_checkout_seconds_count", 4.0),
    ];
    let exposition = eventually("the client's metrics to be shown", PATIENCE, || {
        let exposition = Exposition::of(&product, "exposition", "/metrics")?;
        for (name, value) in expected {
            if exposition.value(name, &[]) != Some(value) {
                return Err(format!("{name} is not {value} in {exposition:?}"));
            }
        }
        Ok(exposition)
    });
    for (family, kind) in [
        ("till_hits", "counter"),
        ("till_queue", "gauge"),
        ("till_customers", "gauge"),
        ("till_checkout_seconds", "histogram"),
    ] {
        assert_eq!(exposition.kind(family), Some(kind), "the type of {family}");
    }
    let seconds = exposition.value("till_checkout_seconds_sum", &[]).expect("the sum of the timer");
    assert!((seconds - 3.35).abs() < 1e-9, "20, 250, 3000 and 80 ms are 3.35 s, not {seconds}");
    let up_to = |bound: f64| {
        exposition.buckets("till_checkout_seconds", &[]).into_iter().find(|(le, _)| *le == bound)
    };
    assert_eq!(
        [up_to(0.025), up_to(0.25), up_to(2.5)],
        [Some((0.025, 1.0)), Some((0.25, 3.0)), Some((2.5, 3.0))]
    );

    // A set begins again at each flush, so its value is there for one interval only. The printed lines keep it.
    let customers = |lines: &str| -> BTreeSet<String> {
        let of_the_set = lines.lines().filter_map(|line| line.strip_prefix("till.customers "));
        of_the_set.filter_map(|rest| Some(rest.split_once(' ')?.0.to_owned())).collect()
    };
    eventually("the set to be counted and to begin again", PATIENCE, || {
        let seen = customers(&product.stdout());
        if seen == ["0", "3"].map(str::to_owned).into() { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}
