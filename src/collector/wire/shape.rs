//! What each message of OTLP may hold, and whether bytes are such a message: what `prost` decodes, found without
//! allocating.
//!
//! A message that fits its shape decodes without an error. A test compares both over mutated encodings.

use super::{
    Read,
    ReadError::Unusual,
    fields::{Field, Fields, short_text},
};

/// The highest number of a known field, and one.
const FIELDS: usize = 17;

/// The known fields of a message, by number.
pub(super) struct Shape([Want; FIELDS]);

/// The wire type of a known field, and what its bytes must be.
#[derive(Clone, Copy)]
enum Want {
    /// The field is not known: it may be anything that can be skipped.
    Anything,
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
    Text,
    Message(&'static Shape),
    /// A `KeyValue`: nearly all are two short texts.
    Attribute,
}

const fn shape(known: &[(usize, Want)]) -> Shape {
    let mut wants = [Want::Anything; FIELDS];
    let mut at = 0;
    while at < known.len() {
        wants[known[at].0] = known[at].1;
        at += 1;
    }
    Shape(wants)
}

pub(super) static ANY_VALUE: Shape = shape(&[
    (1, Want::Text),
    (2, Want::Varint),
    (3, Want::Varint),
    (4, Want::Fixed64),
    (5, Want::Message(&ARRAY_VALUE)),
    (6, Want::Message(&KEY_VALUE_LIST)),
    (7, Want::Bytes),
    (8, Want::Varint),
]);
static ARRAY_VALUE: Shape = shape(&[(1, Want::Message(&ANY_VALUE))]);
static KEY_VALUE_LIST: Shape = shape(&[(1, Want::Attribute)]);
pub(super) static KEY_VALUE: Shape =
    shape(&[(1, Want::Text), (2, Want::Message(&ANY_VALUE)), (3, Want::Varint)]);
pub(super) static ENTITY_REF: Shape =
    shape(&[(1, Want::Text), (2, Want::Text), (3, Want::Text), (4, Want::Text)]);
pub(super) static RESOURCE: Shape =
    shape(&[(1, Want::Attribute), (2, Want::Varint), (3, Want::Message(&ENTITY_REF))]);
pub(super) static SCOPE: Shape =
    shape(&[(1, Want::Text), (2, Want::Text), (3, Want::Attribute), (4, Want::Varint)]);
pub(super) static EXEMPLAR: Shape = shape(&[
    (2, Want::Fixed64),
    (3, Want::Fixed64),
    (4, Want::Bytes),
    (5, Want::Bytes),
    (6, Want::Fixed64),
    (7, Want::Attribute),
]);
pub(super) static SPAN: Shape = shape(&[
    (1, Want::Bytes),
    (2, Want::Bytes),
    (3, Want::Text),
    (4, Want::Bytes),
    (5, Want::Text),
    (6, Want::Varint),
    (7, Want::Fixed64),
    (8, Want::Fixed64),
    (9, Want::Attribute),
    (10, Want::Varint),
    (11, Want::Message(&EVENT)),
    (12, Want::Varint),
    (13, Want::Message(&LINK)),
    (14, Want::Varint),
    (15, Want::Message(&STATUS)),
    (16, Want::Fixed32),
]);
static EVENT: Shape = shape(&[(1, Want::Fixed64), (2, Want::Text), (3, Want::Attribute), (4, Want::Varint)]);
static LINK: Shape = shape(&[
    (1, Want::Bytes),
    (2, Want::Bytes),
    (3, Want::Text),
    (4, Want::Attribute),
    (5, Want::Varint),
    (6, Want::Fixed32),
]);
static STATUS: Shape = shape(&[(2, Want::Text), (3, Want::Varint)]);
pub(super) static LOG_RECORD: Shape = shape(&[
    (1, Want::Fixed64),
    (2, Want::Varint),
    (3, Want::Text),
    (5, Want::Message(&ANY_VALUE)),
    (6, Want::Attribute),
    (7, Want::Varint),
    (8, Want::Fixed32),
    (9, Want::Bytes),
    (10, Want::Bytes),
    (11, Want::Fixed64),
    (12, Want::Text),
]);

impl Shape {
    /// Whether `message` fits, with at most `depth` messages within each other.
    pub(super) fn check(&self, message: &[u8], depth: usize) -> Read<()> {
        Fields::of(message).try_for_each(|field| {
            let (number, field) = field?;
            self.check_field(number, field, depth)
        })
    }

    /// Whether one field of a message fits.
    #[inline]
    pub(super) fn check_field(&self, number: u32, field: Field<'_>, depth: usize) -> Read<()> {
        let want = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        match (want.copied().unwrap_or(Want::Anything), field) {
            (Want::Anything, _)
            | (Want::Varint, Field::Varint(_))
            | (Want::Fixed32, Field::Fixed32)
            | (Want::Fixed64, Field::Fixed64(_))
            | (Want::Bytes, Field::Bytes(_)) => Ok(()),
            (Want::Text, Field::Bytes(bytes)) => is_text(bytes),
            (Want::Attribute, Field::Bytes(attribute)) => match short_text(attribute) {
                Some([key, value]) if depth > 1 => is_text(key).and_then(|()| is_text(value)),
                _ => KEY_VALUE.check(attribute, depth.checked_sub(1).ok_or(Unusual)?),
            },
            (Want::Message(shape), Field::Bytes(message)) => {
                shape.check(message, depth.checked_sub(1).ok_or(Unusual)?)
            }
            _ => Err(Unusual),
        }
    }
}

#[inline]
fn is_text(bytes: &[u8]) -> Read<()> {
    match bytes.is_ascii() || str::from_utf8(bytes).is_ok() {
        true => Ok(()),
        false => Err(Unusual),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList},
        logs::v1::LogRecord,
        metrics::v1::Exemplar,
        resource::v1::Resource,
        trace::v1::{Span, Status, span},
    };
    use prost::Message;

    use super::*;

    /// Every field number with every wire type, with bytes that are no text and no message among them.
    fn fields() -> impl Iterator<Item = Vec<u8>> {
        let contents: [(u8, &[u8]); 7] = [
            (0, &[1]),
            (1, &[0; 8]),
            (2, &[0]),
            (2, &[1, 0xff]),
            (2, &[2, b'a', b'b']),
            (2, &[2, 0x0a, 0]),
            (5, &[0; 4]),
        ];
        let number = |number: u32, wire_type: u8| match number << 3 | u32::from(wire_type) {
            key @ ..0x80 => vec![key as u8],
            key => vec![(key & 0x7f | 0x80) as u8, (key >> 7) as u8],
        };
        (1..40).flat_map(move |at| {
            contents.map(|(wire_type, content)| [&number(at, wire_type), content].concat())
        })
    }

    fn is_as_prost_has_it<M: Message + Default>(shape: &Shape) {
        for field in fields() {
            let by_prost = M::decode(field.as_slice());
            assert_eq!(shape.check(&field, 90).is_ok(), by_prost.is_ok(), "{field:?}");
        }
    }

    #[test]
    fn what_fits_is_what_prost_decodes() {
        is_as_prost_has_it::<AnyValue>(&ANY_VALUE);
        is_as_prost_has_it::<ArrayValue>(&ARRAY_VALUE);
        is_as_prost_has_it::<KeyValueList>(&KEY_VALUE_LIST);
        is_as_prost_has_it::<KeyValue>(&KEY_VALUE);
        is_as_prost_has_it::<EntityRef>(&ENTITY_REF);
        is_as_prost_has_it::<Resource>(&RESOURCE);
        is_as_prost_has_it::<InstrumentationScope>(&SCOPE);
        is_as_prost_has_it::<Exemplar>(&EXEMPLAR);
        is_as_prost_has_it::<Span>(&SPAN);
        is_as_prost_has_it::<span::Event>(&EVENT);
        is_as_prost_has_it::<span::Link>(&LINK);
        is_as_prost_has_it::<Status>(&STATUS);
        is_as_prost_has_it::<LogRecord>(&LOG_RECORD);
    }

    #[test]
    fn what_is_nested_too_deep_does_not_fit() {
        let mut value = AnyValue { value: None }.encode_to_vec();
        let nested = (0..10).map(|_| {
            let length = |message: &[u8]| u8::try_from(message.len()).unwrap();
            value.splice(0..0, [0x0a, length(&value)]);
            value.splice(0..0, [0x2a, length(&value)]);
            value.clone()
        });
        for (at, value) in nested.enumerate() {
            assert!(ANY_VALUE.check(&value, 2 * at + 2).is_ok(), "{at}");
            assert!(ANY_VALUE.check(&value, 2 * at + 1).is_err(), "{at}");
        }
    }
}
