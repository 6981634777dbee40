//! The OpenTelemetry Python SDK pushes all three signals into the collector, over each protocol.

use serde::Deserialize;

use super::exposition::Exposition;
use super::installed::python_script;
use super::process::{PATIENCE, eventually, run};
use super::product::Product;

/// What the SDK made up while it pushed.
#[derive(Deserialize)]
struct Pushed {
    trace_id: String,
}

#[test]
fn the_python_sdk_pushes_all_signals_over_grpc() {
    pushes_all_signals("grpc", "otlp_grpc");
}

#[test]
fn the_python_sdk_pushes_all_signals_over_http() {
    pushes_all_signals("http/protobuf", "otlp_http");
}

fn pushes_all_signals(protocol: &str, listener: &str) {
    let mut product = Product::collect(&["--exposition-scope", "off"]);
    let printed = run(python_script("otlp_push.py").args([protocol, &product.url(listener, "")]), "")
        .unwrap_or_else(|complaints| panic!("the SDK complains: {complaints}"));
    let pushed: Pushed = serde_json::from_str(&printed).expect("what the script prints");

    let exposition = eventually("the SDK's metrics to be shown", PATIENCE, || {
        let exposition = Exposition::of(&product, "exposition", "/metrics")?;
        if exposition.kind("orders").is_none() {
            return Err(format!("{exposition:?}"));
        }
        Ok(exposition)
    });
    shows_the_metrics(&exposition, &format!("oven-{protocol}"));
    eventually("everything to be counted as accepted, once", PATIENCE, || accepted(&product, listener));

    eventually("the spans and the log record to be on the console", PATIENCE, || {
        let page = product.get("console", "/")?;
        let trace = between(&page, &format!("id=\"trace-{}\"", pushed.trace_id), "</article>")?;
        // The child below its parent, one level deeper.
        between(trace, ">bake<", "level 2:")?;
        between(trace, "level 2:", ">knead<")?;
        // The record leads to the trace in which it was made.
        let record = between(&page, "the dough is sticky", "</tr>")?;
        between(record, &format!("#trace-{}", pushed.trace_id), "</a>")?;
        Ok(())
    });
    assert_eq!(product.stdout(), "");
    product.stop();
}

/// The values that `otlp_push.py` recorded, under the names and labels that the stock Collector gives them.
fn shows_the_metrics(exposition: &Exposition, instance: &str) {
    let source = [("instance", instance), ("job", "shop/bakery")];
    let with = |label: (&'static str, &'static str)| [source[0], source[1], label];

    assert_eq!(exposition.kind("orders"), Some("counter"));
    assert_eq!(exposition.value("orders_total", &with(("region", "north"))), Some(5.0));
    assert_eq!(exposition.value("orders_total", &with(("region", "south"))), Some(7.0));
    assert_eq!(exposition.samples("orders_total").count(), 2);

    assert_eq!(exposition.kind("open_carts"), Some("gauge"));
    assert_eq!(exposition.value("open_carts", &source), Some(5.0));

    assert_eq!(exposition.kind("oven_temperature_celsius"), Some("gauge"));
    assert_eq!(exposition.value("oven_temperature_celsius", &with(("oven", "left"))), Some(-12.5));

    assert_eq!(exposition.kind("delivery_seconds"), Some("histogram"));
    assert_eq!(
        exposition.buckets("delivery_seconds", &source),
        [(0.5, 2.0), (1.0, 2.0), (5.0, 3.0), (f64::INFINITY, 4.0)]
    );
    assert_eq!(exposition.value("delivery_seconds_sum", &source), Some(68.75));
    assert_eq!(exposition.value("delivery_seconds_count", &source), Some(4.0));

    // The bounds of an exponential histogram are the collector's choice; count and sum are not.
    assert_eq!(exposition.kind("weight_grams"), Some("histogram"));
    assert_eq!(exposition.value("weight_grams_sum", &source), Some(1029.5));
    assert_eq!(exposition.value("weight_grams_count", &source), Some(5.0));

    let info: Vec<_> = exposition.samples("target_info").collect();
    assert_eq!(info.len(), 1, "{info:?}");
    let (labels, value) = info[0];
    assert_eq!(value, 1.0);
    assert_eq!(labels["job"], "shop/bakery");
    assert_eq!(labels["instance"], instance);
    assert_eq!(labels["telemetry_sdk_language"], "python");
}

/// `Ok` where the collector took 6 points, 2 spans and 1 log record from this listener, and counts no loss.
fn accepted(product: &Product, listener: &str) -> Result<(), String> {
    let exposition = Exposition::of(product, "exposition", "/metrics")?;
    for (signal, items) in [("metrics", 6.0), ("traces", 2.0), ("logs", 1.0)] {
        let labels = [("receiver", listener), ("signal", signal)];
        let accepted = exposition.value("pushpull_collector_accepted_total", &labels);
        if accepted != Some(items) {
            return Err(format!("{signal}: {accepted:?} and not {items}"));
        }
    }
    for lost in ["refused", "dropped"] {
        let counted: Vec<_> = exposition.samples(&format!("pushpull_collector_{lost}_total")).collect();
        assert!(counted.iter().all(|(_, items)| *items == 0.0), "{lost}: {counted:?}");
    }
    Ok(())
}

/// What stands between two texts of a page.
fn between<'page>(page: &'page str, before: &str, behind: &str) -> Result<&'page str, String> {
    let (_, rest) = page.split_once(before).ok_or_else(|| format!("no {before} in {page}"))?;
    let (found, _) =
        rest.split_once(behind).ok_or_else(|| format!("no {behind} behind {before} in {rest}"))?;
    Ok(found)
}
