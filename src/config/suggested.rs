//! Values that a shell's completion offers. They are not checked here: any other text passes, so that all bad values can
//! be named at once.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, Command, Error,
    builder::{PossibleValue, TypedValueParser},
};

/// Takes any text, and names these.
#[derive(Clone, Debug)]
pub(super) struct Suggested(Vec<&'static str>);

impl Suggested {
    pub(super) fn new(values: impl IntoIterator<Item = &'static str>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The alternatives of a value's name in the help, such as `off|legacy|new`, without placeholders such as `INTERVAL`.
    pub(super) fn alternatives(name: &'static str) -> Self {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let alternatives = name.split('|').filter(|word| is_word(word));
        Self::new(alternatives)
    }
}

impl TypedValueParser for Suggested {
    type Value = OsString;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, value: &OsStr) -> Result<OsString, Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        if self.0.is_empty() {
            return None;
        }
        Some(Box::new(self.0.iter().copied().map(PossibleValue::new)))
    }
}
