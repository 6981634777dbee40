//! The tags of a line: those of `DogStatsD` in a section of their own, and those in the name, as `InfluxDB`
//! (`name,k=v`), Graphite (`name;k=v`), Librato (`name#k=v`) and `SignalFx` (`name[k=v]`) write them.
//!
//! It must not take for tags what may be a name: where one part is no `KEY=VALUE`, the name is as it was sent.

use std::borrow::Cow;

use super::tally::Reason;
use crate::config::StatsdTags;

/// The longest tags of one line in bytes, as they were sent.
const MAX_TAGS: usize = 2048;
/// What a tag without a value is taken to say.
const FLAG: &str = "true";

/// A tag's key and value.
pub(super) type Tag<'a> = (&'a str, &'a str);

/// The name as it was sent, and what stands behind its colon. A colon between brackets is one of a tag's value.
pub(super) fn split_name(line: &str, dialects: StatsdTags) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(':')?;
    let open = name.rfind('[').filter(|open| dialects.signalfx && !name[*open..].contains(']'));
    let closed = open.and_then(|open| {
        let end = line.find('|')?;
        let close = open + line.get(open..end)?.find(']')?;
        Some(close + line[close..end].find(':')?)
    });
    match closed {
        Some(colon) => Some((&line[..colon], &line[colon + 1..])),
        None => Some((name, rest)),
    }
}

/// The name without its tags, which are added to `tags`.
pub(super) fn of_name<'a>(
    sent: &'a str,
    dialects: StatsdTags,
    tags: &mut Vec<Tag<'a>>,
) -> Result<Cow<'a, str>, Reason> {
    if dialects.signalfx
        && let Some((before, rest)) = sent.split_once('[')
        && let Some((inner, after)) = rest.split_once(']')
        && are_tags(inner, ',')
    {
        pairs(inner, ',').for_each(|tag| tags.extend(tag));
        return Ok(if after.is_empty() { before.into() } else { [before, after].concat().into() });
    }
    let is_mark = |character: char| match character {
        ',' => dialects.influxdb,
        ';' => dialects.graphite,
        '#' => dialects.librato,
        _ => false,
    };
    if let Some(at) = sent.find(is_mark) {
        let separator = if sent[at..].starts_with(';') { ';' } else { ',' };
        let (name, inner) = (&sent[..at], &sent[at + 1..]);
        if are_tags(inner, separator) {
            pairs(inner, separator).for_each(|tag| tags.extend(tag));
            return Ok(name.into());
        }
    }
    Ok(sent.into())
}

/// Adds the tags of a section, without the `#` that it begins with. Some clients write one before each tag.
pub(super) fn of_section<'a>(text: &'a str, tags: &mut Vec<Tag<'a>>) -> Result<(), Reason> {
    for tag in parts(text, ',') {
        let (key, value) = tag.split_once(':').map_or((tag, FLAG), |(key, value)| (key.trim(), value.trim()));
        if key.is_empty() {
            return Err(Reason::BadTag);
        }
        tags.push((key, value));
    }
    Ok(())
}

/// Refuses more bytes of tags than one series may have.
pub(super) fn within(tags: &[Tag<'_>]) -> Result<(), Reason> {
    let bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if bytes > MAX_TAGS + 1 { Err(Reason::TooLong) } else { Ok(()) }
}

/// Clients that join their tags carelessly leave a separator over; that says nothing and spoils nothing.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator)
        .map(|part| part.trim().trim_start_matches('#').trim_start())
        .filter(|part| !part.is_empty())
}

/// Each part as a tag; `None` for one that is none.
fn pairs(text: &str, separator: char) -> impl Iterator<Item = Option<Tag<'_>>> {
    parts(text, separator).map(|part| {
        let (key, value) = part.split_once('=')?;
        (!key.trim().is_empty()).then(|| (key.trim(), value.trim()))
    })
}

fn are_tags(text: &str, separator: char) -> bool {
    let mut pairs = pairs(text, separator).peekable();
    pairs.peek().is_some() && pairs.all(|tag| tag.is_some())
}

/// Writes what tells a series from others of its name: its tags, sorted. Two values of one key are both in it, and become
/// one label by the rules for attributes.
pub(super) fn write_key(tags: &mut [Tag<'_>], key: &mut String) {
    key.clear();
    tags.sort_unstable();
    for (index, tag) in tags.iter().enumerate() {
        if tags.get(index + 1) == Some(tag) {
            continue;
        }
        // No line has its own end in it, so that neither key nor value can.
        for part in [tag.0, tag.1] {
            key.push_str(part);
            key.push('\n');
        }
    }
}

/// The tags in a key that [`write_key`] wrote.
pub(super) fn of_key(key: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut parts = key.split_terminator('\n');
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: StatsdTags = StatsdTags::ALL;

    fn of(sent: &str, dialects: StatsdTags) -> (String, Vec<Tag<'_>>) {
        let mut tags = Vec::new();
        let name = of_name(sent, dialects, &mut tags).unwrap();
        (name.into_owned(), tags)
    }

    #[test]
    fn each_dialect_is_read_where_it_is_wanted() {
        let tags = vec![("k", "v"), ("l", "w x")];
        for (sent, without) in [
            ("req,k=v,l=w x", StatsdTags { influxdb: false, ..ALL }),
            ("req;k=v;l=w x", StatsdTags { graphite: false, ..ALL }),
            ("req#k=v,l=w x", StatsdTags { librato: false, ..ALL }),
            ("req[k=v,l=w x]", StatsdTags { signalfx: false, ..ALL }),
        ] {
            assert_eq!(of(sent, ALL), ("req".to_owned(), tags.clone()), "{sent}");
            assert_eq!(of(sent, StatsdTags::OFF), (sent.to_owned(), vec![]), "{sent}");
            assert_ne!(of(sent, without).1, tags, "{sent}");
        }
        assert_eq!(of("a[k=v].b", ALL), ("a.b".to_owned(), vec![("k", "v")]));
        assert_eq!(of("a;k=x,y", ALL).1, [("k", "x,y")]);
        assert_eq!(of("a, k=v ,,#l=", ALL).1, [("k", "v"), ("l", "")]);
    }

    #[test]
    fn what_is_no_tag_is_of_the_name() {
        for sent in ["a,b", "a;", "a#", "a[]", "a[b", "a]k=v[", "a,k=v,flag", "a;=v", "a[b]c", "größe"] {
            assert_eq!(of(sent, ALL), (sent.to_owned(), vec![]));
        }
    }

    #[test]
    fn a_colon_in_brackets_ends_no_name() {
        let split = |line| split_name(line, ALL);
        assert_eq!(split("a[url=http://x:80]:1|c"), Some(("a[url=http://x:80]", "1|c")));
        assert_eq!(split("a[k=v]:1|c"), Some(("a[k=v]", "1|c")));
        assert_eq!(split("a[k:1|c|#x:]:2"), Some(("a[k", "1|c|#x:]:2")));
        assert_eq!(split_name("a[url=http://x]:1|c", StatsdTags::OFF), Some(("a[url=http", "//x]:1|c")));
        assert_eq!(split("|[:1"), Some(("|[", "1")));
        assert_eq!(split("a"), None);
    }

    #[test]
    fn a_key_gives_its_tags_back() {
        let mut key = String::new();
        write_key(&mut [("b", "1,2:3"), ("a", ""), ("b", "4"), ("c:d", "x")], &mut key);
        assert_eq!(of_key(&key).collect::<Vec<_>>(), [("a", ""), ("b", "1,2:3"), ("b", "4"), ("c:d", "x")]);
        write_key(&mut [], &mut key);
        assert_eq!((key.as_str(), of_key(&key).count()), ("", 0));
    }
}
