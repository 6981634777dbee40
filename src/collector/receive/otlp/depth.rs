//! Takes out of a request what nests too deep, so that one sender's point does not cost those of others in its batch.
//!
//! It must not decode: it walks the encoding, and copies what stays. An encoding that it cannot follow is left as it is.

use prost::encoding::{WireType, encode_key, encode_varint};

use super::{
    check::Findings,
    schema::{self, Kind, Message},
    sender, walk,
};
use crate::collector::{batch::Signal, wire::MAX_DEPTH};

/// What was found, or why the request cannot be followed.
type Walked<T> = Result<T, String>;

/// The same request without the items that nest deeper than [`MAX_DEPTH`], or whose metric, scope or resource does;
/// `None` where there is none.
pub(super) fn without_deep(signal: Signal, wire: &[u8]) -> Option<(Vec<u8>, Findings)> {
    let message = schema::request(signal);
    if is_within(message, wire, 0).unwrap_or(true) {
        return None;
    }
    let mut pruning = Pruning {
        lists: lists(signal),
        path: Vec::new(),
        service: String::new(),
        findings: Findings::default(),
    };
    let mut kept = Vec::new();
    match pruning.children(message, wire, &mut kept) {
        Ok(()) => Some((kept, pruning.findings)),
        Err(_) => None,
    }
}

/// The numbers of the fields that lead from the request to its items, level by level.
const fn lists(signal: Signal) -> &'static [&'static [u32]] {
    match signal {
        Signal::Metrics => &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]],
        Signal::Traces | Signal::Logs => &[&[1], &[2], &[2]],
    }
}

struct Pruning {
    lists: &'static [&'static [u32]],
    /// The fields to where it is, and which of each list.
    path: Vec<(&'static str, Option<usize>)>,
    service: String,
    findings: Findings,
}

impl Pruning {
    fn leads_on(&self, level: usize, number: u32) -> bool {
        self.lists.get(level).is_some_and(|numbers| numbers.contains(&number))
    }

    /// Writes what stays of a message's content, of which itself is known to stay.
    fn children(&mut self, message: &'static Message, wire: &[u8], kept: &mut Vec<u8>) -> Walked<()> {
        let level = self.path.len();
        let mut index = 0;
        each(wire, |number, payload, raw| {
            let child = message.field(number).filter(|_| self.leads_on(level, number));
            let (Some(field), Some(payload)) = (child, payload) else {
                kept.extend_from_slice(raw);
                return Ok(());
            };
            let Kind::Message(child) = field.kind else {
                return Err("a list of items is no message".to_owned());
            };
            self.path.push((field.name, field.repeated.then_some(index)));
            index += 1;
            if level == 0 {
                self.service = sender::service(payload).unwrap_or_else(|| "unknown".to_owned());
            }
            if !self.stays(child, payload)? {
                let items = count(child, payload, level + 1, self.lists)?;
                self.refuse(items);
            } else if level + 1 == self.lists.len() {
                kept.extend_from_slice(raw);
            } else {
                let mut inner = Vec::with_capacity(payload.len());
                self.children(child, payload, &mut inner)?;
                encode_key(number, WireType::LengthDelimited, kept);
                encode_varint(inner.len() as u64, kept);
                kept.append(&mut inner);
            }
            self.path.pop();
            Ok(())
        })
    }

    /// Whether nothing of a message's own, which all of its items have, nests too deep.
    fn stays(&self, message: &'static Message, wire: &[u8]) -> Walked<bool> {
        let level = self.path.len();
        let mut stays = true;
        each(wire, |number, payload, _| {
            if let (Some(field), Some(payload)) = (message.field(number), payload)
                && let Kind::Message(child) = field.kind
                && !self.leads_on(level, number)
            {
                stays &= is_within(child, payload, level + 1)?;
            }
            Ok(())
        })?;
        Ok(stays)
    }

    fn refuse(&mut self, items: u64) {
        let steps = self.path.iter().map(|(name, index)| match index {
            Some(index) => format!("{name}[{index}]"),
            None => (*name).to_owned(),
        });
        let place = steps.collect::<Vec<_>>().join(".");
        let fault =
            format_args!("more than {MAX_DEPTH} messages within each other: values are nested too deep");
        self.findings.add_of(items, &self.service, place, fault);
    }
}

/// The items in a message of that level.
fn count(
    message: &'static Message,
    wire: &[u8],
    level: usize,
    lists: &'static [&'static [u32]],
) -> Walked<u64> {
    let Some(numbers) = lists.get(level) else { return Ok(1) };
    let mut items = 0;
    each(wire, |number, payload, _| {
        if let (Some(field), Some(payload)) = (message.field(number), payload)
            && let Kind::Message(child) = field.kind
            && numbers.contains(&number)
        {
            items += count(child, payload, level + 1, lists)?;
        }
        Ok(())
    })?;
    Ok(items)
}

/// Whether a message in `level` others has none that is in more than the allowed number.
fn is_within(message: &'static Message, wire: &[u8], level: usize) -> Walked<bool> {
    if level > MAX_DEPTH {
        return Ok(false);
    }
    let mut is_all = true;
    each(wire, |number, payload, _| {
        if let (Some(field), Some(payload)) = (message.field(number), payload)
            && let Kind::Message(child) = field.kind
        {
            is_all &= is_within(child, payload, level + 1)?;
        }
        Ok(())
    })?;
    Ok(is_all)
}

/// Hands on each field of a message: its number, its payload where it has a length, and all of its bytes.
fn each<'w>(
    wire: &'w [u8],
    mut hand_on: impl FnMut(u32, Option<&'w [u8]>, &'w [u8]) -> Walked<()>,
) -> Walked<()> {
    walk::each(wire, |field| match field.wire_type {
        WireType::StartGroup | WireType::EndGroup => Err("a group".to_owned()),
        _ => hand_on(field.number, field.payload(), field.raw),
    })
}
