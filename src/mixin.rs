//! Rules, alerts and dashboards of a service, as files: a mixin, in the layout that mixins have.
//!
//! Every query comes from `signals`. The same configuration gives the same bytes. It must not touch a file or ask anyone.

mod alerts;
mod config;
mod dashboards;
mod panels;
mod rules;
mod yaml;

pub use config::{Burn, Config, DEFAULT, Datasources, Hold, Jobs, Links, Thresholds, Windows};

/// Where the configuration stands in the mixin's folder.
pub const CONFIG: &str = "config.json";

/// The tag of every dashboard that was written here.
const TAG: &str = "pushpull-mixin";

/// Whether a text is a file of a mixin that was written here, by its heading or its tag.
#[must_use]
pub fn is_written_here(text: &str) -> bool {
    text.starts_with("# Written by `pushpull mixin`") || text.contains(&format!("\"{TAG}\""))
}

/// A file of the mixin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path in the mixin's folder.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Every file but the configuration.
#[must_use]
pub fn files(config: &Config) -> Vec<File> {
    let mut files = vec![
        File { path: "rules/rules.yml".to_owned(), text: rules::text(config) },
        File { path: "alerts/alerts.yml".to_owned(), text: alerts::text(config) },
    ];
    files.extend(dashboards::files(config));
    files
}

/// The service's name as a part of a file's name, of a URL and of a dashboard's uid, which has 40 characters at the most.
fn slug(service: &str) -> String {
    let valid = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    service.chars().take(24).map(valid).collect()
}
