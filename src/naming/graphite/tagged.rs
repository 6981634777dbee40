//! `NAME;key=value;key=value`, as carbon keeps and indexes it.

use super::{Path, Series, Shape, clean};

/// Carbon closes the connection on a longer line than 16,384 bytes; what stands beside a path has its room.
pub(super) const MAX_PATH: usize = 16_384 - 512;
/// The longest that is appended to the name of a histogram or a summary.
const LONGEST_PART: usize = ".bucket".len();

pub(super) fn path(prefix: &str, series: &Series<'_>) -> Path {
    let mut tags = tags(series);
    tags.sort_unstable();
    let limit = name_limit(prefix, series.shape);
    // Without tags it is a path of files.
    let name = match tags.is_empty() {
        true => clean::dotted_name(series.name, limit),
        false => clean::name(series.name, limit),
    };
    let name = format!("{prefix}{name}");
    cut(&mut tags, MAX_PATH - name.len());
    Path::new(&name, &tags)
}

/// Characters that are left for a metric's own name.
pub(super) const fn name_limit(prefix: &str, shape: Shape) -> usize {
    let part = match shape {
        Shape::Number => 0,
        Shape::Histogram | Shape::Summary => LONGEST_PART,
    };
    clean::MAX_CHARS - part - prefix.len()
}

/// What Prometheus and those who read carbon's lines for it call the metric's name.
const METRIC_NAME: &str = "__name__";
const EXPORTED_METRIC_NAME: &str = "exported_name";

/// The tags in no order. A point's attribute makes way for the tag of a part, for the resource's of the same key and for
/// the metric's name, and becomes `exported_KEY`, as in a scrape by Prometheus.
fn tags(series: &Series<'_>) -> Vec<String> {
    let parts: &[&str] = match series.shape {
        Shape::Number => &[],
        Shape::Histogram => &["le", "quantile"],
        Shape::Summary => &["quantile"],
    };
    let makes_way = |key: &str| parts.contains(&key) || series.resource.iter().any(|(other, _)| other == key);
    let mut own = series.attributes.to_vec();
    // In the order in which they tell series apart: among equal keys, as they were sent.
    own.sort_by_key(|(key, _)| *key);
    let mut tags = Vec::with_capacity(own.len() + series.resource.len());
    let mut repeated: u32 = 0;
    for (at, (key, value)) in own.iter().enumerate() {
        repeated = if at > 0 && own[at - 1].0 == *key { repeated + 1 } else { 0 };
        let value = clean::value(value);
        if repeated > 0 {
            // No text has a byte of this value.
            let original = [key.as_bytes(), &[0xff], &repeated.to_le_bytes()].concat();
            tags.push(format!(";{}={value}", clean::hashed_key(key, &original)));
        } else if *key == METRIC_NAME {
            tags.push(format!(";{EXPORTED_METRIC_NAME}={value}"));
        } else if makes_way(key) {
            tags.push(format!(";{}={value}", exported(key)));
        } else if *key == EXPORTED_METRIC_NAME || key.strip_prefix("exported_").is_some_and(makes_way) {
            tags.push(format!(";{}={value}", clean::hashed_key(key, key.as_bytes())));
        } else {
            tags.push(format!(";{}={value}", clean::key(key)));
        }
    }
    let resource = series.resource.iter();
    tags.extend(resource.map(|(key, value)| format!(";{}={}", clean::key(key), clean::value(value))));
    tags
}

fn exported(key: &str) -> String {
    let exported = format!("exported_{key}");
    match clean::key(&exported) {
        kept if kept == exported => exported,
        _ => clean::hashed_key(&exported, key.as_bytes()),
    }
}

/// Leaves out the last tags where all are longer than `room`; one that tells all of them then stands for them.
pub(super) fn cut(tags: &mut Vec<String>, room: usize) {
    if tags.iter().map(String::len).sum::<usize>() <= room {
        return;
    }
    let all = tags.concat();
    let rest = format!(";{}=cut", clean::with_hash("tags".to_owned(), all.as_bytes()));
    let mut length = rest.len();
    tags.retain(|tag| {
        length += tag.len();
        length <= room
    });
    tags.push(rest);
    tags.sort_unstable();
}
