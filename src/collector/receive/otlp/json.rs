//! OTLP/JSON to OTLP/protobuf: the JSON is read once, field by field, into the protobuf encoding of the
//! same request.
//!
//! It follows protobuf's JSON mapping with OTLP's exceptions (OTLP specification, "JSON Protobuf Encoding":
//! ids in hex, enumerations as numbers only, unknown fields ignored). It must not lose anything silently:
//! what it cannot carry over is an error that names the field. What a value means is not its business.

use std::fmt::{self, Write as _};

use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    Refusal,
    schema::{self, Field, Message},
};

mod decimal;
mod element;

use element::Element;

/// The protobuf encoding of the message that `json` holds.
///
/// # Errors
/// [`Refusal::Malformed`] with the place and the reason; [`Refusal::TooLarge`] where the encoding would
/// exceed `limit` bytes.
pub(super) fn to_wire(message: &'static Message, json: &[u8], limit: usize) -> Result<Written, Refusal> {
    let mut writer = Writer {
        wire: Vec::new(),
        path: Vec::new(),
        limit,
        over: false,
        level: 0,
        metric: String::new(),
        lacking: None,
        nulls: 0,
        named: Vec::new(),
    };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = Object { message, writer: &mut writer }.deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Ok(()) => Ok(Written {
            wire: writer.wire,
            nulls: writer.nulls,
            named: writer.named.into_iter().map(Lacking::place).collect(),
        }),
        Err(_) if writer.over => Err(Refusal::TooLarge { what: "the request as protobuf", limit }),
        Err(error) => Err(Refusal::Malformed(match place(&writer.path) {
            place if place.is_empty() => error.to_string(),
            place => format!("{place}: {error}"),
        })),
    }
}

/// A request in protobuf.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) wire: Vec<u8>,
    /// How many points were left out since a number of theirs is null, which is what `JavaScript` makes of NaN and of
    /// infinity.
    pub(super) nulls: u64,
    /// Where the first of these numbers are.
    pub(super) named: Vec<String>,
}

/// A number that is null, and the name of its metric, which may come after it.
struct Lacking {
    path: Vec<Step>,
    metric: Option<String>,
}

impl Lacking {
    fn place(self) -> String {
        let (around, within) = self.path.split_at(self.path.len().min(AROUND));
        format!("{} {:?} {}", place(around), self.metric.unwrap_or_default(), place(within))
    }
}

/// Steps to a metric.
const AROUND: usize = 6;

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// The encoding so far, and where in the JSON the reader is. After an error the path is left as it was, so
/// that it tells the place.
struct Writer {
    wire: Vec<u8>,
    path: Vec<Step>,
    limit: usize,
    over: bool,
    /// In how many messages the reader is.
    level: usize,
    /// The name of the metric that is being read, where it has come.
    metric: String,
    /// Where the point that is being read has null for a number.
    lacking: Option<Vec<Step>>,
    nulls: u64,
    named: Vec<Lacking>,
}

fn place(path: &[Step]) -> String {
    let mut place = String::new();
    for step in path {
        let _ = match step {
            Step::Field(name) if place.is_empty() => write!(place, "{name}"),
            Step::Field(name) => write!(place, ".{name}"),
            Step::Index(index) => write!(place, "[{index}]"),
        };
    }
    place
}

impl Writer {
    /// Notes that a number here is null.
    fn lacks(&mut self) {
        if self.lacking.is_none() {
            self.lacking = Some(self.path.clone());
        }
    }

    /// Begins a length-delimited run; the answer is its start, for [`Self::close`].
    fn open(&mut self, number: u32) -> usize {
        encode_key(number, WireType::LengthDelimited, &mut self.wire);
        self.wire.len()
    }

    /// Ends the run: its length is known only now and goes in front of it.
    fn close<E: Error>(&mut self, start: usize) -> Result<(), E> {
        let mut length = Vec::with_capacity(10);
        encode_varint((self.wire.len() - start) as u64, &mut length);
        self.wire.splice(start..start, length);
        if self.wire.len() > self.limit {
            self.over = true;
            return Err(E::custom("too large"));
        }
        Ok(())
    }

    fn bytes<E: Error>(&mut self, number: u32, bytes: &[u8]) -> Result<(), E> {
        let start = self.open(number);
        self.wire.extend_from_slice(bytes);
        self.close(start)
    }
}

/// One message, from a JSON object.
struct Object<'w> {
    message: &'static Message,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, writer } = self;
        let mut given = 0_u32;
        let mut chosen: Option<&str> = None;
        let mut is_null = false;
        if schema::is_metric(message) {
            writer.metric.clear();
        }
        while let Some(known) = map.next_key_seed(Key(message))? {
            let Some((index, field)) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            writer.path.push(Step::Field(field.name));
            if given & (1 << index) != 0 {
                return Err(A::Error::custom("this field is given twice"));
            }
            given |= 1 << index;
            let present = map.next_value_seed(Value { field, writer })?;
            is_null |= !present && schema::is_value(field);
            if !present && schema::is_needed(message, field) {
                writer.lacks();
            }
            if present && field.one_of {
                if let Some(other) = chosen {
                    return Err(A::Error::custom(format_args!("only one of this and {other} may be given")));
                }
                chosen = Some(field.name);
            }
            writer.path.pop();
        }
        if is_null && chosen.is_none() {
            writer.lacks();
        }
        Ok(())
    }
}

/// The name of a field, looked up; `None` for one that is not known.
struct Key(&'static Message);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<(usize, &'static Field)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<(usize, &'static Field)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().enumerate().find(|(_, field)| field.name == name))
    }
}

/// The value of a field; the answer is whether there was one, since null is the same as a missing field.
struct Value<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let Self { field, writer } = self;
        if field.repeated {
            deserializer.deserialize_seq(List { field, writer })?;
        } else {
            Element { field, keyed: true, writer }.deserialize(deserializer)?;
        }
        Ok(true)
    }
}

/// The elements of a list.
struct List<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, writer } = self;
        let packed = field.kind.is_packed().then(|| writer.open(field.number));
        for index in 0.. {
            writer.path.push(Step::Index(index));
            let element = Element { field, keyed: packed.is_none(), writer: &mut *writer };
            let more = list.next_element_seed(element)?.is_some();
            writer.path.pop();
            if !more {
                break;
            }
        }
        packed.map_or(Ok(()), |start| writer.close(start))
    }
}
