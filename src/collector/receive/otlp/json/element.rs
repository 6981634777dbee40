//! One value of OTLP/JSON in its protobuf encoding: numbers, strings, ids, bytes, or a message.
//!
//! It must not accept what the mapping does not name, such as an enumeration by name: an error here is what
//! keeps a value from being lost.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, Unexpected, Visitor};

use super::{
    super::schema::{self, Field, Kind},
    Lacking, Object, Writer, decimal,
};
use crate::collector::{refusals::shortened, wire::MAX_DEPTH};

/// Points with null for a number of which the place is given.
const MOST_NAMED: usize = 3;

/// Protobuf's JSON mapping accepts base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One value: of a field, or in a list; `keyed` where the field's number goes before it.
pub(super) struct Element<'w> {
    pub(super) field: &'static Field,
    pub(super) keyed: bool,
    pub(super) writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Kind::Message(message) = self.field.kind else {
            return deserializer.deserialize_any(self);
        };
        let before = self.writer.wire.len();
        let start = self.writer.open(self.field.number);
        if self.writer.level == MAX_DEPTH {
            // Reading on would take one stack frame a level; that it is there is enough to refuse what it is in.
            deserializer.deserialize_ignored_any(IgnoredAny)?;
            return self.writer.close(start);
        }
        self.writer.level += 1;
        Object { message, writer: &mut *self.writer }.deserialize(deserializer)?;
        self.writer.level -= 1;
        if schema::is_metric(message) {
            let unnamed = self.writer.named.iter_mut().filter(|lacking| lacking.metric.is_none());
            for lacking in unnamed {
                lacking.metric = Some(shortened(&self.writer.metric).to_owned());
            }
        }
        if schema::is_point(message)
            && let Some(path) = self.writer.lacking.take()
        {
            // A number of protobuf is 0 where it is missing: the point is left out.
            self.writer.wire.truncate(before);
            self.writer.nulls += 1;
            if self.writer.named.len() < MOST_NAMED {
                self.writer.named.push(Lacking { path, metric: None });
            }
            return Ok(());
        }
        self.writer.close(start)
    }
}

impl Element<'_> {
    fn key(&mut self, wire_type: WireType) {
        if self.keyed {
            encode_key(self.field.number, wire_type, &mut self.writer.wire);
        }
    }

    fn varint(mut self, value: u64) {
        self.key(WireType::Varint);
        encode_varint(value, &mut self.writer.wire);
    }

    fn eight_bytes(mut self, value: [u8; 8]) {
        self.key(WireType::SixtyFourBit);
        self.writer.wire.extend_from_slice(&value);
    }

    fn double(self, value: f64) {
        self.eight_bytes(value.to_le_bytes());
    }

    fn integer<E: Error>(mut self, value: i128) -> Result<(), E> {
        let out_of_range =
            |_| E::custom(format_args!("{value} is out of range for {}", expected(self.field.kind)));
        match self.field.kind {
            Kind::Double => self.double(value as f64),
            Kind::Fixed64 => {
                let value = u64::try_from(value).map_err(out_of_range)?;
                self.eight_bytes(value.to_le_bytes());
            }
            Kind::Sfixed64 => {
                let value = i64::try_from(value).map_err(out_of_range)?;
                self.eight_bytes(value.to_le_bytes());
            }
            Kind::Fixed32 => {
                let value = u32::try_from(value).map_err(out_of_range)?;
                self.key(WireType::ThirtyTwoBit);
                self.writer.wire.extend_from_slice(&value.to_le_bytes());
            }
            Kind::Uint32 => {
                let value = u32::try_from(value).map_err(out_of_range)?;
                self.varint(value.into());
            }
            Kind::Uint64 => {
                let value = u64::try_from(value).map_err(out_of_range)?;
                self.varint(value);
            }
            Kind::Int32 | Kind::Enum => {
                // Protobuf writes a negative 32-bit varint as the 64-bit one.
                let value = i32::try_from(value).map_err(out_of_range)?;
                self.varint(i64::from(value).cast_unsigned());
            }
            Kind::Int64 => {
                let value = i64::try_from(value).map_err(out_of_range)?;
                self.varint(value.cast_unsigned());
            }
            Kind::Sint32 => {
                let value = i32::try_from(value).map_err(out_of_range)?;
                self.varint(((value << 1) ^ (value >> 31)).cast_unsigned().into());
            }
            Kind::Bool | Kind::Text | Kind::Id | Kind::Bytes | Kind::Message(_) => {
                return Err(E::custom(format_args!("{value} is not {}", expected(self.field.kind))));
            }
        }
        Ok(())
    }
}

impl Visitor<'_> for Element<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(expected(self.field.kind))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.field.kind, Kind::Bool) {
            return Err(E::invalid_type(Unexpected::Bool(value), &self));
        }
        self.varint(value.into());
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => {
                self.double(value);
                Ok(())
            }
            // The mapping takes 1.0 and 1e3 for integers too; beyond 2^64 no field has room anyway.
            kind if kind.is_packed() && value.fract() == 0.0 && value.abs() < 2_f64.powi(65) => {
                self.integer(value as i128)
            }
            _ => Err(E::invalid_type(Unexpected::Float(value), &self)),
        }
    }

    /// In a list: of a number, without which its point is left out.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.field.kind {
            kind if kind.is_packed() && !self.keyed => {
                self.writer.lacks();
                Ok(())
            }
            _ => Err(E::invalid_type(Unexpected::Unit, &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let number = self.field.number;
        match self.field.kind {
            Kind::Text => {
                if self.field.name == "name" {
                    text.clone_into(&mut self.writer.metric);
                }
                self.writer.bytes(number, text.as_bytes())
            }
            Kind::Id => match hex(text) {
                Some(id) => self.writer.bytes(number, &id),
                None => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
            Kind::Bytes => match BASE64.decode(text.replace('-', "+").replace('_', "/")) {
                Ok(bytes) => self.writer.bytes(number, &bytes),
                Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
            Kind::Double => match double(text) {
                Some(value) => {
                    self.double(value);
                    Ok(())
                }
                None => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
            Kind::Bool | Kind::Enum | Kind::Message(_) => Err(E::invalid_type(Unexpected::Str(text), &self)),
            _ => match decimal::whole(text) {
                Some(value) => self.integer(value),
                None => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
        }
    }
}

const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        Kind::Fixed32 | Kind::Uint32 => "an unsigned 32-bit integer",
        Kind::Fixed64 | Kind::Uint64 => "an unsigned 64-bit integer",
        Kind::Int32 | Kind::Sint32 => "a 32-bit integer",
        Kind::Int64 | Kind::Sfixed64 => "a 64-bit integer",
        Kind::Enum => "the number of an enumeration's value (OTLP/JSON allows no names)",
        Kind::Text => "a string",
        Kind::Id => "an id in hex",
        Kind::Bytes => "bytes in base64",
        Kind::Message(_) => "an object",
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    // The decoder would take a 0x for granted; OTLP has none.
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| const_hex::decode(text).ok())?
}

/// A double that is written as a string: a number within range, or one of the three special names.
fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust's own parser would take "inf" and "nan" in any case, and "+1".
        _ if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            text.parse().ok().filter(|value: &f64| value.is_finite())
        }
        _ => None,
    }
}
