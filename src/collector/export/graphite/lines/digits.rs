//! Numbers as text, and other texts of a few bytes: lines are made of little else.
//!
//! It must write what [`Number`] displays, and nothing else; but where two texts of a double are as short and as near,
//! it may be the other one. The processor cannot foresee how long such a text is, so that a register of it is copied,
//! and what is too much is cut off again.

use std::io::Write as _;

use crate::exposition::family::Number;

/// A text of that many bytes is copied as one register.
const REGISTER: usize = size_of::<u64>();
/// A number below this has as many digits at most.
const BEYOND: u64 = 100_000_000;

/// The value as it displays itself: a double by the fewest digits that read back the same.
pub(super) fn push_number(lines: &mut Vec<u8>, value: Number) {
    match value {
        Number::Uint(value) => push_integer(lines, value),
        Number::Int(value) => {
            if value < 0 {
                lines.push(b'-');
            }
            push_integer(lines, value.unsigned_abs());
        }
        Number::Float(float) if Number::PLAIN.contains(&float.abs()) => {
            lines.extend_from_slice(ryu_js::Buffer::new().format_finite(float).as_bytes());
        }
        // Writing to a vector cannot fail.
        Number::Float(_) => drop(write!(lines, "{value}")),
    }
}

/// The first `length` bytes of `text`, which had better go on behind them.
pub(super) fn push_first(lines: &mut Vec<u8>, text: &[u8], length: usize) {
    match text.first_chunk() {
        Some(register) if length <= REGISTER => push_register(lines, register, length),
        _ => lines.extend_from_slice(&text[..length]),
    }
}

fn push_register(lines: &mut Vec<u8>, text: &[u8; REGISTER], length: usize) {
    let end = lines.len() + length;
    lines.extend_from_slice(text);
    lines.truncate(end);
}

fn push_integer(lines: &mut Vec<u8>, value: u64) {
    if value >= BEYOND {
        return lines.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
    // Two numbers of four digits, made four of two, and these eight of one, each in the bytes of its own; the first one
    // in the lowest byte. Multiplied and shifted instead of divided, which is exact for numbers as small as these.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | ((twos - tens * 10) << 8);
    // The last digit stands also where it is zero.
    let leading_zeros = (ones | 1 << 56).trailing_zeros() / 8;
    let text = (ones | u64::from_le_bytes([b'0'; REGISTER])) >> (8 * leading_zeros);
    push_register(lines, &text.to_le_bytes(), REGISTER - leading_zeros as usize);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(value: Number) -> String {
        let mut line = b"path ".to_vec();
        push_number(&mut line, value);
        String::from_utf8(line).unwrap()
    }

    fn displayed(value: Number) -> String {
        format!("path {value}")
    }

    #[test]
    fn integers_around_each_power_of_ten_and_of_two() {
        let tens = (0..20).map(|power| 10_u64.pow(power));
        let twos = (0..64).map(|power| 1 << power);
        for value in tens.chain(twos).flat_map(|at| [at - 1, at, at.saturating_add(1)]) {
            assert_eq!(pushed(Number::Uint(value)), displayed(Number::Uint(value)));
            let negative = Number::Int(value.cast_signed().wrapping_neg());
            assert_eq!(pushed(negative), displayed(negative));
        }
        for value in 0..=10_000 {
            assert_eq!(
                pushed(Number::Uint(value * 10_000 - value)),
                displayed(Number::Uint(value * 10_000 - value))
            );
        }
    }

    #[test]
    fn floats_where_their_form_changes() {
        for at in [0.0, 1e-7, 1e-6, 1e-5, 1.0, 1e15, 1e16, 1e17, 1e21, 1e22, f64::MIN_POSITIVE, f64::MAX] {
            for value in
                [at, at.next_down(), at.next_up(), at * 1.1].into_iter().flat_map(|value| [value, -value])
            {
                assert_eq!(pushed(Number::Float(value)), displayed(Number::Float(value)));
            }
        }
    }

    #[test]
    fn a_text_that_ends_or_goes_on() {
        for (text, length) in
            [("", 0), ("a", 1), ("12345678", 8), ("0.5110", 3), ("0.000123456789", 12), ("0.000123456", 11)]
        {
            let mut line = b"le=".to_vec();
            push_first(&mut line, text.as_bytes(), length);
            assert_eq!(line, ["le=", &text[..length]].concat().as_bytes());
        }
    }

    /// The text that a number displays, or the other one where a double lies in the middle between two.
    fn is_as_displayed(value: Number) -> bool {
        let (pushed, displayed) = (pushed(value), displayed(value));
        if pushed == displayed {
            return true;
        }
        let Number::Float(value) = value else { return false };
        // As many decimals as any double has.
        let whole = format!("path {value:.1074}");
        let is_in_the_middle = whole
            .trim_end_matches('0')
            .strip_suffix('5')
            .is_some_and(|start| start.len() == displayed.len() && pushed.len() == displayed.len());
        is_in_the_middle && pushed.strip_prefix("path ").unwrap().parse() == Ok(value)
    }

    #[test]
    fn a_double_between_two_texts() {
        let between = Number::Float(767_688_832_615_988.0 + 0.25);
        assert_ne!(pushed(between), displayed(between));
        assert!(is_as_displayed(between), "{}", pushed(between));
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_they_display(integer: u64, shift in 0_u32..64, bits: u64, plain in -1e9..1e9) {
            for value in [
                Number::Uint(integer >> shift),
                Number::Int(integer.cast_signed() >> shift),
                Number::Float(f64::from_bits(bits)),
                Number::Float(plain),
            ] {
                prop_assert!(is_as_displayed(value), "{} instead of {}", pushed(value), displayed(value));
            }
        }
    }
}
