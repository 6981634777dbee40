//! Plain values from text: counts, times, sizes, bucket bounds, words.
//!
//! Must not know which flag a value belongs to; each fault names what to give instead.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::invalid::{Fault, shown};

/// The longest time of a setting about the age of points and series.
pub(super) const TEN_YEARS: Duration = Duration::from_secs(10 * 31_557_600);

/// A whole number within the range.
pub(super) fn count<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, Fault> {
    let fault =
        |reason| Fault::new(reason, format!("give a whole number from {} to {}", range.start(), range.end()));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault("not a whole number"));
    }
    // Digits alone fail to parse only where there are too many of them.
    let number = text.parse().unwrap_or(u64::MAX);
    match T::try_from(number) {
        Ok(value) if range.contains(&number) => Ok(value),
        _ if number < *range.start() => Err(fault("too small")),
        _ => Err(fault("too large")),
    }
}

/// A number within the range.
pub(super) fn number(text: &str, range: RangeInclusive<f64>) -> Result<f64, Fault> {
    let fault =
        |reason| Fault::new(reason, format!("give a number from {} to {}", range.start(), range.end()));
    match text.parse::<f64>() {
        // Adding zero turns -0 into 0, which is how the number is to be printed.
        Ok(number) if range.contains(&number) => Ok(number + 0.0),
        Ok(number) if number < *range.start() => Err(fault("too small")),
        Ok(number) if number > *range.end() => Err(fault("too large")),
        _ => Err(fault("not a number")),
    }
}

/// A number above zero, up to `most`.
pub(super) fn positive(text: &str, most: f64) -> Result<f64, Fault> {
    let fault = |reason| Fault::new(reason, format!("give a number above 0, up to {most}"));
    match text.parse::<f64>() {
        Ok(number) if number.is_nan() => Err(fault("not a number")),
        Ok(number) if number <= 0.0 => Err(fault("not above 0")),
        Ok(number) if number > most => Err(fault("too large")),
        Ok(number) => Ok(number),
        Err(_) => Err(fault("not a number")),
    }
}

/// A time such as `5s` or `500ms`, within the range.
pub(super) fn time(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Fault> {
    let fault = |reason| {
        let [least, most] = [range.start(), range.end()].map(|bound| humantime::format_duration(*bound));
        Fault::new(reason, format!("give a time such as 5s or 500ms, from {least} to {most}"))
    };
    match humantime::parse_duration(text) {
        Ok(time) if range.contains(&time) => Ok(time),
        Ok(time) if time < *range.start() => Err(fault("too short")),
        Ok(_) => Err(fault("too long")),
        Err(_) if text.parse::<f64>().is_ok() => Err(fault("a time without a unit")),
        Err(_) => Err(fault("not a time")),
    }
}

/// A time within the range, or `off`.
pub(super) fn time_or_off(text: &str, range: RangeInclusive<Duration>) -> Result<Option<Duration>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    time(text, range)
        .map(Some)
        .map_err(|fault| Fault { remedy: format!("{}, or off", fault.remedy), ..fault })
}

/// A size in bytes: a whole number with B, kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024), or none.
pub(super) fn size(text: &str, range: RangeInclusive<u64>) -> Result<usize, Fault> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("b", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
    ];
    let fault = |reason| {
        let [least, most] = [*range.start(), *range.end()].map(binary_size);
        Fault::new(
            reason,
            format!("give a size such as 64MiB, 100kB or a number of bytes, from {least} to {most}"),
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(fault("not a size"));
    };
    if number.is_empty() {
        return Err(fault("not a size"));
    }
    let bytes = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(*factor);
    match usize::try_from(bytes) {
        Ok(size) if range.contains(&bytes) => Ok(size),
        _ if bytes < *range.start() => Err(fault("too small")),
        _ => Err(fault("too large")),
    }
}

fn binary_size(bytes: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Bucket bounds in seconds: numbers with commas between, none negative, each above the one before.
pub(super) fn bounds(text: &str) -> Result<Vec<f64>, Fault> {
    const MOST: usize = 200;
    let fault = |reason: String| {
        Fault::new(reason, format!("give up to {MOST} ascending numbers of seconds, such as 0.01,0.1,1,10"))
    };
    let mut bounds: Vec<f64> = Vec::new();
    for piece in text.split(',').map(str::trim) {
        let bound = match piece.parse::<f64>() {
            // Adding zero turns -0 into 0, which is how the bound is to be printed.
            Ok(bound) if bound.is_finite() && bound >= 0.0 => bound + 0.0,
            _ => {
                return Err(fault(format!("{} is not a number of seconds", shown(piece))));
            }
        };
        match bounds.last() {
            Some(last) if *last >= bound => {
                return Err(fault(format!("{bound} does not ascend from {last}")));
            }
            _ => bounds.push(bound),
        }
    }
    if bounds.len() > MOST {
        return Err(fault(format!("{} bounds", bounds.len())));
    }
    Ok(bounds)
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Fault::new("unknown", format!("give {}", known.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T>(result: Result<T, Fault>) -> String {
        result.err().map(|fault| fault.reason).unwrap_or_default()
    }

    #[test]
    fn counts() {
        assert_eq!(count::<u32>("8", 1..=1024), Ok(8));
        for (text, expected) in [
            ("0", "too small"),
            ("1025", "too large"),
            ("99999999999999999999999", "too large"),
            ("-1", "not a whole number"),
            ("+8", "not a whole number"),
            ("8.0", "not a whole number"),
        ] {
            assert_eq!(reason(count::<u32>(text, 1..=1024)), expected, "{text}");
        }
        assert_eq!(reason(count::<u8>("256", 1..=1024)), "too large");
    }

    #[test]
    fn positive_numbers() {
        assert_eq!(positive("0.25", 1000.0), Ok(0.25));
        for (text, expected) in [
            ("0", "not above 0"),
            ("-1", "not above 0"),
            ("inf", "too large"),
            ("NaN", "not a number"),
            ("x", "not a number"),
        ] {
            assert_eq!(reason(positive(text, 1000.0)), expected, "{text}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number("0.25", 0.0..=1.0), Ok(0.25));
        assert!(number("-0", 0.0..=1.0).is_ok_and(f64::is_sign_positive));
        for (text, expected) in [
            ("-0.1", "too small"),
            ("1.1", "too large"),
            ("inf", "too large"),
            ("NaN", "not a number"),
            ("", "not a number"),
        ] {
            assert_eq!(reason(number(text, 0.0..=1.0)), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        let range = Duration::from_millis(10)..=Duration::from_secs(3600);
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("0.5s", 500), ("1h", 3_600_000), ("1m 30s", 90_000)]
        {
            assert_eq!(time(text, range.clone()), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for (text, expected) in [
            ("0s", "too short"),
            ("0", "too short"),
            ("1day", "too long"),
            ("5", "a time without a unit"),
            ("-5s", "not a time"),
            ("soon", "not a time"),
            ("99999999999999999999999s", "not a time"),
        ] {
            assert_eq!(reason(time(text, range.clone())), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let range = 1024..=1 << 36;
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("100kB", 100_000),
            ("2 MB", 2_000_000),
            ("4096", 4096),
            ("4096B", 4096),
        ] {
            assert_eq!(size(text, range.clone()), Ok(bytes), "{text}");
        }
        for (text, expected) in [
            ("1", "too small"),
            ("65GiB", "too large"),
            ("99999999999999999999GiB", "too large"),
            ("64M", "not a size"),
            ("MiB", "not a size"),
            ("-1MiB", "not a size"),
            ("1.5MiB", "not a size"),
        ] {
            assert_eq!(reason(size(text, range.clone())), expected, "{text}");
        }
        assert_eq!([1 << 36, 65_536, 1000].map(binary_size), ["64GiB", "64KiB", "1000B"]);
    }

    #[test]
    fn bucket_bounds() {
        assert_eq!(bounds("0.1, 1,2.5"), Ok(vec![0.1, 1.0, 2.5]));
        assert!(bounds("-0").is_ok_and(|bounds| bounds[0].is_sign_positive()));
        for (text, expected) in [
            ("1,1", "1 does not ascend from 1"),
            ("2,1", "1 does not ascend from 2"),
            ("1,,2", "\"\" is not a number of seconds"),
            ("1,inf", "\"inf\" is not a number of seconds"),
            ("-1", "\"-1\" is not a number of seconds"),
        ] {
            assert_eq!(reason(bounds(text)), expected, "{text}");
        }
        let many: Vec<String> = (0..201).map(|bound| bound.to_string()).collect();
        assert_eq!(reason(bounds(&many.join(","))), "201 bounds");
    }
}
