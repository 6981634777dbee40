//! What the carbon exporter of the OpenTelemetry Collector (its last versions, up to 0.140) wrote, wherever
//! carbon keeps that; what carbon would not keep is replaced as in a tagged path.
//!
//! Two different inputs may share a path here, as they did there.

use super::{Path, Series, clean, tagged};

/// What the exporter wrote for an empty value.
const EMPTY: &str = "<empty>";

pub(super) fn path(prefix: &str, series: &Series<'_>) -> Path {
    let resource = series.resource.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let attributes = || series.attributes.iter().copied().chain(resource.clone());
    let written: Vec<String> = attributes().map(|(key, value)| written(key, value)).collect();
    let limit = tagged::name_limit(prefix, series.shape);
    let name = format!("{prefix}{}", series.name);
    if keeps(&name, &written, limit + prefix.len()) {
        return unsorted(&name, &written);
    }
    let own = attributes().map(|(key, value)| {
        let value = if value.is_empty() { EMPTY.into() } else { clean::value(value) };
        format!(";{}={value}", clean::key(&exporter_key(key)))
    });
    let mut tags: Vec<String> = own.collect();
    let name = match tags.is_empty() {
        true => clean::dotted_name(series.name, limit),
        false => clean::name(series.name, limit),
    };
    let name = format!("{prefix}{name}");
    tagged::cut(&mut tags, tagged::MAX_PATH - name.len());
    unsorted(&name, &tags)
}

/// The exporter kept the order of the attributes, and put its own tags behind them.
fn unsorted(name: &str, tags: &[String]) -> Path {
    let mut path = Path::new(name, tags);
    path.le = u16::try_from(path.text.len()).unwrap_or(u16::MAX);
    path.quantile = path.le;
    path
}

fn exporter_key(key: &str) -> String {
    key.replace([';', '!', '^', '='], "_")
}

fn written(key: &str, value: &str) -> String {
    let value = if value.is_empty() { EMPTY } else { value };
    format!(";{}={value}", exporter_key(key))
}

/// Whether carbon keeps and indexes a path as the exporter wrote it, whatever tags the name and the values hold (of a
/// key that is there twice it keeps the last).
fn keeps(name: &str, written: &[String], name_limit: usize) -> bool {
    let path = [name, &written.concat()].concat();
    let within = |part: &str, limit: usize| part.chars().nth(limit).is_none();
    let mut parts = path.split(';');
    let first = parts.next().unwrap_or_default();
    // Without tags it is a path of files, in which some names would be no file, or that of another.
    let named = match path.contains(';') {
        true => true,
        false => first.split(['.', '/']).all(is_file_name),
    };
    named
        // Its index leaves out the `~` that a name begins with.
        && !first.trim_start_matches('~').is_empty()
        && within(first, name_limit)
        && path.len() <= tagged::MAX_PATH
        && !path.chars().any(clean::breaks_lines)
        && !(path.contains('{') && path.ends_with("\"}"))
        && parts.all(|tag| {
            tag.split_once('=').is_some_and(|(key, value)| {
                let key_is_good = !key.is_empty() && key != "name" && !key.contains(['!', '^']);
                let value_is_good = !value.is_empty() && !value.starts_with('~');
                key_is_good
                    && value_is_good
                    && within(key, clean::MAX_CHARS)
                    && within(value, clean::MAX_CHARS)
            })
        })
}

/// Whether a component of an untagged path is stored, and can be asked for.
fn is_file_name(component: &str) -> bool {
    let cannot_be_asked_for = r#"[]{}()'"\|,*?"#;
    (1..=clean::MAX_COMPONENT - clean::HASH).contains(&component.len())
        && component.chars().all(|c| c.is_ascii_graphic() && !cannot_be_asked_for.contains(c))
}
