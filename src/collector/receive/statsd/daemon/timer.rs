//! The figures of one timer in one interval.
//!
//! Each is computed in the daemon's own order of steps, so that it is equal to the last bit.

/// The share of the values, from the least on, that the figures with `_90` are of.
const PERCENT: f64 = 90.0;

/// The values of one interval.
#[derive(Debug, Default)]
pub(super) struct Timer {
    values: Vec<f64>,
    /// How many they stand for, by their sample rates.
    count: f64,
}

impl Timer {
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        self.values.push(value);
        self.count += weight;
    }

    /// Forgets the values; clearing would keep the room of the fullest interval there ever was.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// Hands each figure with its name to `write`; an interval without values has only their counts.
    pub(super) fn figures(&mut self, interval: f64, mut write: impl FnMut(&str, f64)) {
        self.values.sort_unstable_by(f64::total_cmp);
        let values = self.values.as_slice();
        let (Some(min), Some(max)) = (values.first().copied(), values.last().copied()) else {
            write("count", 0.0);
            return write("count_ps", 0.0);
        };
        let count = values.len() as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        let within = if values.len() == 1 { 1.0 } else { (PERCENT / 100.0 * count + 0.5).floor() };
        let mut counted = 0.0;
        for value in values {
            sum += value;
            squares += value * value;
            counted += 1.0;
            if counted == within {
                write("count_90", within);
                write("mean_90", sum / within);
                write("upper_90", *value);
                write("sum_90", sum);
                write("sum_squares_90", squares);
            }
        }
        let mean = sum / count;
        let differences = values.iter().fold(0.0, |total, value| total + (value - mean) * (value - mean));
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        write("std", (differences / count).sqrt());
        write("upper", max);
        write("lower", min);
        write("count", self.count);
        write("count_ps", self.count / interval);
        write("sum", sum);
        write("sum_squares", squares);
        write("mean", mean);
        write("median", median);
    }
}
