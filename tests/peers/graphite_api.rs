//! What Graphite shows, asked as a person's tools would.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::web;

/// A series as the render API shows it, without the empty slots.
#[derive(Debug, Deserialize)]
pub(super) struct Series {
    pub(super) target: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) datapoints: Vec<(f64, u64)>,
}

impl Series {
    pub(super) fn values(&self) -> Vec<f64> {
        self.datapoints.iter().map(|(value, _)| *value).collect()
    }
}

/// The series of the last ten minutes that `target` names, of the graphite-web at `base`.
pub(super) fn render(base: &str, target: &str) -> Result<Vec<Series>, String> {
    render_all(base, &[target.to_owned()], "now")
}

/// The series of the last ten minutes until a time that all of the targets name, of the graphite-web at `base`.
pub(super) fn render_all(base: &str, targets: &[String], until: &str) -> Result<Vec<Series>, String> {
    render_from(base, targets, "-10min", until)
}

/// The series between two times, in Graphite's own words or seconds since 1970.
pub(super) fn render_from(
    base: &str,
    targets: &[String],
    from: &str,
    until: &str,
) -> Result<Vec<Series>, String> {
    let mut form: Vec<_> = targets.iter().map(|target| ("target", target.as_str())).collect();
    form.extend([("from", from), ("until", until), ("format", "json"), ("noNullPoints", "true")]);
    // Many targets are longer than a request line may be.
    let body = web::post_form(&format!("{base}/render"), &form)?;
    serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))
}
