//! The spans or log records of a request, left where they lie in its protobuf encoding: validated and counted, and read
//! one by one only by whoever looks at them.
//!
//! Nothing is allocated.

use std::borrow::Cow;

use super::{
    Attribute, MAX_DEPTH, Read,
    ReadError::Unusual,
    fields::{Field, Fields},
    read::owner,
    shape::{LOG_RECORD, RESOURCE, SCOPE, SPAN, Shape},
};

/// In how many messages each stands.
const RESOURCE_LEVEL: usize = 2;
const SCOPE_LEVEL: usize = 3;
const ITEM_LEVEL: usize = 3;
const TRACE_ID_LENGTH: usize = 16;
const SPAN_ID_LENGTH: usize = 8;

/// The spans of an `ExportTraceServiceRequest`, or the log records of an `ExportLogsServiceRequest`.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    wire: &'a [u8],
    len: u64,
    has_invalid_ids: bool,
}

/// A resource with its spans or log records.
#[derive(Clone, Copy, Debug)]
pub struct OfResource<'a> {
    resource: &'a [u8],
    message: &'a [u8],
}

/// Where a message has its ids, and whether each may be left out.
struct Ids {
    trace: u32,
    span: u32,
    parent: Option<u32>,
    required: bool,
}

impl<'a> Items<'a> {
    /// The spans of an `ExportTraceServiceRequest`.
    ///
    /// # Errors
    /// [`Unusual`]: `prost` must decode the request and write it anew first.
    pub fn spans(wire: &'a [u8]) -> Read<Self> {
        let ids = Ids { trace: 1, span: 2, parent: Some(4), required: true };
        Self::read(wire, &SPAN, &ids)
    }

    /// The log records of an `ExportLogsServiceRequest`.
    ///
    /// # Errors
    /// As for [`Items::spans`].
    pub fn logs(wire: &'a [u8]) -> Read<Self> {
        let ids = Ids { trace: 9, span: 10, parent: None, required: false };
        Self::read(wire, &LOG_RECORD, &ids)
    }

    fn read(wire: &'a [u8], shape: &Shape, ids: &Ids) -> Read<Self> {
        let mut items = Self { wire, len: 0, has_invalid_ids: false };
        for field in Fields::of(wire) {
            match field? {
                (1, Field::Bytes(resource)) => {
                    RESOURCE.check(owner(resource)?.0, MAX_DEPTH - RESOURCE_LEVEL)?;
                    for scope in second_fields(resource) {
                        SCOPE.check(owner(scope)?.0, MAX_DEPTH - SCOPE_LEVEL)?;
                        for item in second_fields(scope) {
                            items.len += 1;
                            items.has_invalid_ids |= !ids.check(shape, item)?;
                        }
                    }
                }
                (2.., _) => {}
                _ => return Err(Unusual),
            }
        }
        Ok(items)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether an id of one of them has a wrong length or is all zero: it is to be taken out, or its item.
    #[must_use]
    pub const fn has_invalid_ids(&self) -> bool {
        self.has_invalid_ids
    }

    /// The resources; one that comes twice is there twice.
    pub fn resources(&self) -> impl Iterator<Item = OfResource<'a>> + use<'a> {
        let resources = Fields::of(self.wire).filter_map(|field| match field {
            Ok((1, Field::Bytes(message))) => Some(message),
            _ => None,
        });
        resources.map(|message| OfResource {
            resource: owner(message).map(|(resource, _)| resource).unwrap_or_default(),
            message,
        })
    }
}

impl<'a> OfResource<'a> {
    /// The text of a resource attribute; empty where there is none.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Cow<'a, str> {
        let attributes = Fields::of(self.resource).filter_map(|field| match field {
            Ok((1, Field::Bytes(attribute))) => Attribute::read(attribute, RESOURCE_LEVEL + 1).ok(),
            _ => None,
        });
        let mut found = attributes.filter(|attribute| attribute.key == key);
        found.next().map(|attribute| attribute.value.text()).unwrap_or_default()
    }

    /// The encoded spans or log records.
    pub fn messages(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        second_fields(self.message).flat_map(second_fields)
    }
}

/// The messages of the list in field 2: of the scopes in a resource, and of the items in a scope.
fn second_fields(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    Fields::of(message).filter_map(|field| match field {
        Ok((2, Field::Bytes(message))) => Some(message),
        _ => None,
    })
}

impl Ids {
    /// Whether the message fits its shape, and then whether its ids are valid.
    fn check(&self, shape: &Shape, message: &[u8]) -> Read<bool> {
        let (mut trace, mut span, mut parent) = (&[][..], &[][..], &[][..]);
        for field in Fields::of(message) {
            match field? {
                (number, Field::Bytes(id)) if number == self.trace => trace = id,
                (number, Field::Bytes(id)) if number == self.span => span = id,
                (number, Field::Bytes(id)) if Some(number) == self.parent => parent = id,
                (number, field) => shape.check_field(number, field, MAX_DEPTH - ITEM_LEVEL)?,
            }
        }
        let lacks = |id: &[u8]| !self.required && id.is_empty();
        Ok((lacks(trace) || is_id(trace, TRACE_ID_LENGTH))
            && (lacks(span) || is_id(span, SPAN_ID_LENGTH))
            && matches!(parent.len(), 0 | SPAN_ID_LENGTH))
    }
}

fn is_id(id: &[u8], length: usize) -> bool {
    id.len() == length && id.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests;
