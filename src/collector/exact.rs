//! Adding doubles without losing what rounding takes away.
//!
//! This module must not know what the numbers are.

/// Doubles hold whole numbers up to here, and increments may be so large: beyond, the digits of small ones would not
/// fit into a double and its rest for long.
pub(super) const LARGEST: f64 = 9_007_199_254_740_992.0;
/// The same as an integer.
pub(super) const LARGEST_WHOLE: u64 = 1 << 53;

/// The rounded sum of two doubles and what is missing in it, exactly (Knuth).
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}
