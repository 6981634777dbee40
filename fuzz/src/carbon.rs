//! Whether carbon 1.1 keeps a line, indexes it, and goes on with those behind it, also with a `PostgreSQL` tag database.

use std::collections::HashSet;

/// Carbon closes the connection on a longer one.
const LONGEST_LINE: usize = 16_384;
/// What the tag database's columns hold, in characters.
const LONGEST_PART: usize = 191;

/// Judges every line of a text, and that carbon keeps all of its tags: of two with one key it keeps the last.
///
/// # Panics
/// At the first one that carbon would not keep, saying why.
pub fn keeps_all(text: &[u8]) {
    keeps_lines(text);
    judge(text, |line| {
        let mut keys = HashSet::new();
        let path = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let tags = path.split(|byte| *byte == b';').skip(1);
        let once = tags.map(|tag| tag.split(|byte| *byte == b'=').next()).all(|key| keys.insert(key));
        if once { Ok(()) } else { Err("a key twice") }
    });
}

/// Judges every line of a text, but not its tags together: lines as statsd's daemon writes them have what its clients
/// sent.
///
/// # Panics
/// Likewise.
pub fn keeps_lines(text: &[u8]) {
    assert!(text.is_empty() || text.ends_with(b"\n"), "the last line is half a one");
    judge(text, keeps);
}

fn judge(text: &[u8], keeps: impl Fn(&[u8]) -> Result<(), &'static str>) {
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Err(reason) = keeps(line) {
            panic!("{reason}: {:?}", String::from_utf8_lossy(line));
        }
    }
}

fn keeps(line: &[u8]) -> Result<(), &'static str> {
    if line.len() > LONGEST_LINE {
        return Err("longer than carbon reads");
    }
    let line = str::from_utf8(line).map_err(|_| "not UTF-8")?;
    // Python's `str.split` has four control characters more than Rust's white space.
    let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let words: Vec<_> = line.split(is_space).filter(|word| !word.is_empty()).collect();
    let [path, value, seconds] = words[..] else { return Err("not three words") };
    if !value.parse().is_ok_and(f64::is_finite) {
        return Err("not a finite value");
    }
    if !seconds.parse().is_ok_and(|seconds: u32| seconds > 0) {
        return Err("not a time");
    }
    if path.contains('{') && path.ends_with("\"}") {
        return Err("read as OpenMetrics");
    }
    let mut parts = path.split(';');
    let name = parts.next().unwrap_or_default();
    // A path without tags is not indexed; carbon makes folders of its dots, and leaves out what is empty between them.
    if name == path {
        return if name.is_empty() { Err("no path") } else { Ok(()) };
    }
    is_part(name)?;
    for tag in parts {
        let (key, value) = tag.split_once('=').ok_or("a tag without a value")?;
        is_part(key)?;
        is_part(value)?;
        if key == "name" || key.contains(['!', '^']) {
            return Err("a key that carbon does not take");
        }
    }
    Ok(())
}

fn is_part(part: &str) -> Result<(), &'static str> {
    let fits = !part.is_empty() && part.chars().nth(LONGEST_PART).is_none();
    if fits && !part.starts_with('~') && !part.contains('\0') {
        Ok(())
    } else {
        Err("a name, key or value that carbon, or its tag database, does not take")
    }
}
