//! Whole numbers that are written with a fraction or an exponent, as protobuf's JSON mapping allows: `5.0`, `1e2`.
//!
//! It must not go through a double, which would round large ones.

/// Digits of the largest number that any field has room for, and some.
const MOST_DIGITS: usize = 30;

/// The whole number that `text` is, whatever it is written like; `None` where it is no number, or none that is whole
/// and within 30 digits.
pub(super) fn whole(text: &str) -> Option<i128> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (before, after) = match mantissa.split_once('.') {
        Some((before, after)) if is_digits(after) => (before, after),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    if !is_digits(before) {
        return None;
    }
    let exponent = exponent.map_or(Some(0), power)?;
    let all = before.bytes().chain(after.bytes()).skip_while(|digit| *digit == b'0');
    // Zeros at the end say nothing, wherever the point is; what is left must be before it.
    let zeros = before.bytes().chain(after.bytes()).rev().take_while(|digit| *digit == b'0').count();
    let length = all.clone().count();
    if length == 0 {
        return Some(0);
    }
    let shift =
        exponent.checked_sub(i64::try_from(after.len()).ok()?)?.checked_add(i64::try_from(zeros).ok()?)?;
    let shift = usize::try_from(shift).ok()?;
    let significant = length - zeros;
    if significant.checked_add(shift)? > MOST_DIGITS {
        return None;
    }
    let number = all.take(significant).fold(0_i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    let number = number * 10_i128.pow(u32::try_from(shift).ok()?);
    Some(if is_negative { -number } else { number })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An exponent; one that is beyond all bounds is as good as any other such.
fn power(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let power = if is_digits(digits) { digits.parse().unwrap_or(i64::from(i32::MAX)) } else { return None };
    Some(if is_negative { -power } else { power }.clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_any_form() {
        for (text, expected) in [
            ("5.0", Some(5)),
            ("1e2", Some(100)),
            ("1E+2", Some(100)),
            ("-12.50e1", Some(-125)),
            ("100e-2", Some(1)),
            ("0e999999999999999999999", Some(0)),
            ("0.000", Some(0)),
            ("-0", Some(0)),
            ("007", Some(7)),
            ("9.223372036854775807e18", Some(i128::from(i64::MAX))),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1e29", Some(100_000_000_000_000_000_000_000_000_000)),
            ("1e30", None),
            ("1e99999999999999999999", None),
            ("1e-1", None),
            ("5.5", None),
            ("15e-1", None),
            ("", None),
            ("-", None),
            ("+5", None),
            (".5e1", None),
            ("5.", None),
            ("1e", None),
            ("1e+", None),
            ("0x10", None),
            (" 5", None),
            ("1_000", None),
            ("NaN", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}
