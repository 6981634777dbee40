//! How much memory a request takes once decoded, told from its protobuf encoding before anything is built.
//!
//! Two bytes on the wire can become a struct of 150, so a bound on the body alone bounds nothing. It must
//! not decode: the answer is an estimate from above, and an encoding that it cannot follow is malformed.

use prost::encoding::WireType;

use super::{
    schema::{Kind, Message},
    walk::{self, Field},
};

/// Messages within messages; the decoder itself stops at 100.
const MAX_DEPTH: usize = 100;
/// A vector that grows one by one may hold twice what it needs.
const GROWTH: usize = 2;

/// Bytes that `message`, encoded in `wire`, takes once decoded.
///
/// # Errors
/// Why the encoding cannot be followed.
pub(super) fn decoded(message: &'static Message, wire: &[u8]) -> Result<usize, String> {
    Ok(message.size + content(message, wire, 0)?)
}

fn content(message: &'static Message, wire: &[u8], depth: usize) -> Result<usize, String> {
    if depth == MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} messages within each other"));
    }
    let mut bytes = 0;
    walk::each(wire, |Field { number, wire_type, content: part, .. }| {
        bytes += match wire_type {
            WireType::Varint | WireType::SixtyFourBit => GROWTH * size_of::<u64>(),
            WireType::ThirtyTwoBit => 0,
            WireType::LengthDelimited => match message.field(number).map(|field| field.kind) {
                Some(Kind::Message(child)) => {
                    GROWTH * child.size
                        + content(child, part, depth + 1)
                            .map_err(|reason| format!("{}: {reason}", name(message, number)))?
                }
                Some(Kind::Text | Kind::Id | Kind::Bytes) => part.len() + GROWTH * size_of::<String>(),
                Some(_) => GROWTH * size_of::<u64>() * part.len(),
                None => 0,
            },
            WireType::StartGroup | WireType::EndGroup => {
                return Err(format!("{} is a group, which OTLP has none of", name(message, number)));
            }
        };
        Ok(())
    })?;
    Ok(bytes)
}

fn name(message: &'static Message, number: u32) -> String {
    message.field(number).map_or_else(|| format!("field {number}"), |field| field.name.to_owned())
}
