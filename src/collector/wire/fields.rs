//! The fields of one protobuf message, one after another.
//!
//! It must not copy, and must not know what a field is.

use super::{Read, ReadError::Unusual};

/// A field's value as its wire type has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Numbers and values of the fields that are left.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    #[inline(always)]
    fn read(&mut self) -> Read<(u32, Field<'a>)> {
        let key = u32::try_from(self.varint()?).map_err(|_| Unusual)?;
        let number = key >> 3;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Unusual)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Unusual)?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => {
                self.fixed::<4>()?;
                Field::Fixed32
            }
            _ => return Err(Unusual),
        };
        if number == 0 { Err(Unusual) } else { Ok((number, field)) }
    }

    #[inline]
    fn varint(&mut self) -> Read<u64> {
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Read<u64> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            // Of the tenth byte there is room for one bit.
            if at == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Unusual)
    }

    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Unusual)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Read<(u32, Field<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.read())
    }
}

/// Key and value of an attribute as nearly all are written: the key, then a text, both short. Field by field, these
/// would be most of what there is to read of a request.
pub(super) fn short_text(attribute: &[u8]) -> Option<[&[u8]; 2]> {
    const KEY: u8 = 1 << 3 | 2;
    const VALUE: u8 = 2 << 3 | 2;
    const TEXT: u8 = 1 << 3 | 2;
    let [KEY, length @ ..0x80, rest @ ..] = attribute else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*length))?;
    let [VALUE, whole @ ..0x80, TEXT, length @ ..0x80, text @ ..] = rest else { return None };
    (usize::from(*length) == text.len() && usize::from(*whole) == text.len() + 2).then_some([key, text])
}

/// Sets what is not set yet: protobuf would join a message that comes twice to one.
pub(super) fn once<T>(place: &mut Option<T>, value: T) -> Read<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unusual),
    }
}

pub(super) fn text(field: Field<'_>) -> Read<&str> {
    match field {
        Field::Bytes(bytes) => str::from_utf8(bytes).map_err(|_| Unusual),
        _ => Err(Unusual),
    }
}

pub(super) fn varint(field: Field<'_>) -> Read<u64> {
    match field {
        Field::Varint(number) => Ok(number),
        _ => Err(Unusual),
    }
}

pub(super) fn float(field: Field<'_>) -> Read<f64> {
    match field {
        Field::Fixed64(bits) => Ok(f64::from_bits(bits)),
        _ => Err(Unusual),
    }
}

/// Of a larger number the lower bits count, as for every reader of protobuf.
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are what is meant")]
pub(super) const fn uint32(number: u64) -> u32 {
    number as u32
}

pub(super) const fn int32(number: u64) -> i32 {
    uint32(number).cast_signed()
}

/// In zigzag: 0, -1, 1, -2, …
pub(super) const fn sint32(number: u64) -> i32 {
    let number = uint32(number);
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
