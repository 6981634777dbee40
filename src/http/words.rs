//! Texts that one request after the other carries: paths, user agents, addresses. Each is kept once.
//!
//! It must share nothing between threads while a request is served, and keep no more than a bounded number of texts of
//! a bounded length.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeSet,
    hash::BuildHasher as _,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::FixedState;
use opentelemetry::StringValue;

/// Places for texts on each thread; where two texts share one, the newer takes it.
const PLACES: usize = 256;
/// The longest text in bytes that is kept; with [`PLACES`] of them, 64 KiB a thread.
const LONGEST: usize = 256;
/// How many names live as long as the process.
const NAMES: usize = 4_096;

thread_local! {
    static SEEN: RefCell<[Option<Arc<str>>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
    /// The address of the last request: clients send several, one after the other.
    static LAST: RefCell<Option<(IpAddr, Arc<str>)>> = const { RefCell::new(None) };
}

/// The text as an attribute's value: one that was seen before is not copied.
pub(super) fn value(text: &str) -> StringValue {
    if text.len() > LONGEST {
        return StringValue::from(text.to_owned());
    }
    SEEN.with_borrow_mut(|seen| {
        let place = &mut seen[hash(text) % PLACES];
        match place {
            Some(known) if **known == *text => Arc::clone(known),
            _ => Arc::clone(place.insert(Arc::from(text))),
        }
    })
    .into()
}

/// The address as an attribute's value: the one that was last seen is not written again.
pub(super) fn address(address: IpAddr) -> StringValue {
    LAST.with_borrow_mut(|last| match last {
        Some((known, text)) if *known == address => Arc::clone(text),
        _ => Arc::clone(&last.insert((address, Arc::from(address.to_string()))).1),
    })
    .into()
}

/// A quick hash of a text that needs no protection from those who would choose it: places are bounded, and a clash
/// costs a copy.
#[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
pub(super) fn hash(text: &str) -> usize {
    FixedState::default().hash_one(text) as usize
}

/// The text for as long as the process lives, so that a span's name and its route are not copied; the text itself
/// where that many others have been given away already.
pub(super) fn name(text: String) -> Cow<'static, str> {
    static GIVEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = given.get(text.as_str()) {
        return Cow::Borrowed(known);
    }
    if given.len() == NAMES {
        return Cow::Owned(text);
    }
    let name: &'static str = Box::leak(text.into());
    given.insert(name);
    Cow::Borrowed(name)
}

/// The text for as long as the process lives, however many others were given away. For what an application configures.
pub(super) fn lasting(text: &str) -> &'static str {
    match name(text.to_owned()) {
        Cow::Borrowed(known) => known,
        Cow::Owned(text) => Box::leak(text.into_boxed_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_seen_before_is_the_same_one() {
        let (first, second) = (value("/somewhere"), value("/somewhere"));
        assert_eq!(first.as_str().as_ptr(), second.as_str().as_ptr());
        assert_eq!(value("/elsewhere").as_str(), "/elsewhere");
    }

    #[test]
    fn long_texts_and_many_texts_are_given_whole() {
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(value(&long).as_str(), long);
        for number in 0..10 * PLACES {
            let text = number.to_string();
            assert_eq!(value(&text).as_str(), text);
        }
    }

    #[test]
    fn addresses_are_written_as_the_formatter_does() {
        for text in ["192.0.2.1", "192.0.2.1", "::1", "::ffff:192.0.2.1", "192.0.2.1"] {
            assert_eq!(address(text.parse().unwrap()).as_str(), text);
        }
    }

    #[test]
    fn names_are_given_once() {
        let given = || name("GET /somewhere".to_owned());
        assert!(matches!(given(), Cow::Borrowed("GET /somewhere")));
        assert_eq!(given().as_ptr(), given().as_ptr());
    }
}
