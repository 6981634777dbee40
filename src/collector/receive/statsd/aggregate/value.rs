//! One value of a line, ready to be added.

use super::super::{
    line::{Kind, Piece},
    number,
    tally::Reason,
    total::LARGEST,
};

/// A value that makes sense as one of its piece's type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    /// In the unit of the series; for a counter times what the sample rate makes it stand for.
    pub(super) value: f64,
    /// Whether a gauge moves by it.
    pub(super) relative: bool,
}

impl Number {
    /// Refuses what is no value of the piece's type. A set's value is no number; it only must be there.
    pub(super) fn of(piece: Piece<'_>, text: &str) -> Result<Self, Reason> {
        if text.is_empty() {
            return Err(Reason::BadValue);
        }
        if piece.kind == Kind::Set {
            return Ok(Self { value: 0.0, relative: false });
        }
        let value = number::parse(text).filter(|value| value.is_finite()).ok_or(Reason::BadValue)?;
        let value = match piece.kind {
            Kind::Counter => value * (1.0 / piece.rate),
            Kind::Timer if value < 0.0 => return Err(Reason::BadValue),
            Kind::Timer => value / 1000.0,
            Kind::Gauge | Kind::Distribution | Kind::Set => value,
        };
        let relative = text.starts_with(['+', '-']);
        // What is added must be fit to with its weight, or a new series would begin with a refusal.
        let added = match piece.kind {
            Kind::Timer | Kind::Distribution => value / piece.rate,
            Kind::Counter => value,
            Kind::Gauge if relative => value,
            Kind::Gauge | Kind::Set => 0.0,
        };
        if added.abs() > LARGEST {
            return Err(Reason::Overflow);
        }
        Ok(Self { value, relative })
    }
}
