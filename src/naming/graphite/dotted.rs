//! `PREFIX.service_name.NAME.attribute_value…`, in components that every part of Graphite can handle.

use super::{Path, Series, clean};

/// A path is a file's: the system takes some 4,000 bytes, the root and what is appended included.
const MAX_PATH: usize = 2_048;
/// What stands for a value that is empty, and for a service that is not known.
const NONE: &str = "_";

pub(super) fn path(prefix: &str, series: &Series<'_>) -> Path {
    let service = series.service.map_or(NONE.into(), clean::component);
    let name = clean::dotted_name(series.name, MAX_PATH / 2);
    let mut text = format!("{prefix}{service}.{name}");
    // The service has its own place.
    let resource = series.resource.iter().filter(|(key, _)| key != "service.name");
    let resource = resource.map(|(key, value)| (key.as_str(), value.as_str()));
    let mut values: Vec<_> = series.attributes.iter().copied().chain(resource).collect();
    values.sort_by_key(|(key, _)| *key);
    let mut rest = String::new();
    for (_, value) in &values {
        rest.push('.');
        rest.push_str(&if value.is_empty() { NONE.into() } else { clean::component(value) });
    }
    if text.len() + rest.len() > MAX_PATH {
        // Components are cut as a whole; what stands for them tells all of them.
        let kept = rest[..MAX_PATH - text.len() - "cut".len() - clean::HASH - 1].rfind('.').unwrap_or(0);
        let cut = clean::with_hash("cut".to_owned(), rest.as_bytes());
        rest.truncate(kept);
        rest.push('.');
        rest.push_str(&cut);
    }
    text.push_str(&rest);
    Path::new(&text, &[])
}
