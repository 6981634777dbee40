//! Walks over the fields of a message in its protobuf encoding, whatever they are.

use bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'w> {
    pub(super) number: u32,
    pub(super) wire_type: WireType,
    /// What it holds where it has a length or is of a fixed size; a varint and a group have nothing here.
    pub(super) content: &'w [u8],
    /// All of its bytes.
    pub(super) raw: &'w [u8],
}

impl<'w> Field<'w> {
    /// What is in it, where it has a length: a text, bytes, a list or a message.
    pub(super) fn payload(&self) -> Option<&'w [u8]> {
        (self.wire_type == WireType::LengthDelimited).then_some(self.content)
    }
}

/// Hands on each field of a message. A group, which OTLP has none of, is to be refused by `hand_on`.
///
/// # Errors
/// Why the encoding cannot be followed, or what `hand_on` says.
pub(super) fn each<'w>(
    mut wire: &'w [u8],
    mut hand_on: impl FnMut(Field<'w>) -> Result<(), String>,
) -> Result<(), String> {
    while !wire.is_empty() {
        let whole = wire;
        let (number, wire_type) = decode_key(&mut wire).map_err(|error| error.to_string())?;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(&mut wire).map_err(|error| error.to_string())?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => decode_varint(&mut wire).map_err(|error| error.to_string())?,
            WireType::StartGroup | WireType::EndGroup => 0,
        };
        let content =
            usize::try_from(length).ok().and_then(|length| wire.get(..length)).ok_or_else(|| {
                format!("field {number} has {length} bytes by its length, but only {} follow", wire.len())
            })?;
        wire.advance(content.len());
        hand_on(Field { number, wire_type, content, raw: &whole[..whole.len() - wire.len()] })?;
    }
    Ok(())
}
