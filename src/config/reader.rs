//! Where a setting comes from: flag, then variable, then default; and the note of every one that is bad.
//!
//! Must not know what any flag means.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::arguments::Arguments;
use super::flag::{Default, Flag, PREFIX};
use super::flags;
use super::invalid::{Fault, Problem, named, shown};
use super::program::{Positional, similar_variable};

/// The variables that concern the program, without those that are empty.
pub(super) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    pub(super) fn of(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let known: Vec<&str> = flags::all().filter_map(|flag| flag.also).collect();
        let ours = all
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.starts_with(PREFIX) || known.contains(&name.as_str()));
        Self(ours.collect())
    }

    /// One problem for each variable with the program's prefix that is no setting. Its value is not shown.
    pub(super) fn unknown(&self) -> impl Iterator<Item = Problem> {
        let strange = self.0.iter().filter(|(name, value)| {
            name.starts_with(PREFIX)
                && flags::all().all(|flag| flag.variable().as_ref() != Some(name))
                && !is_service_link(name, value)
        });
        strange.map(|(name, _)| {
            let remedy = match similar_variable(name) {
                Some(similar) => format!("did you mean {similar}?"),
                None => "unset it; `pushpull --help` lists the variables".to_owned(),
            };
            Fault::new("unknown variable", remedy).of(&named(name), None)
        })
    }
}

/// Kubernetes puts variables such as `PUSHPULL_SERVICE_HOST` and `PUSHPULL_PORT=tcp://…` into every container
/// beside a service that is called pushpull; they are no mistake of anyone's.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    let address =
        value.to_str().is_some_and(|value| value.starts_with("tcp://") || value.starts_with("udp://"));
    rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
        || rest.starts_with("PORT_")
        || rest == "PORT" && address
}

/// One value of a setting.
pub(super) struct Given<'a> {
    /// The text, without the space around it.
    pub(super) text: &'a str,
    /// By a flag or a variable; else it is the default.
    pub(super) given: bool,
}

/// A value as it was found: its text, and the flag or variable that holds it.
struct Found {
    setting: String,
    text: OsString,
}

/// Reads settings one after another. A bad one is noted and read as `None`.
pub(super) struct Reader<'a> {
    arguments: &'a Arguments,
    variables: &'a Variables,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(arguments: &'a Arguments, variables: &'a Variables) -> Self {
        Self { arguments, variables, problems: Vec::new() }
    }

    /// A setting with a default.
    pub(super) fn read<T>(
        &mut self,
        flag: &Flag,
        parse: impl FnOnce(&Given<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        match self.only(flag)? {
            Some(found) => self.parsed(&found, parse),
            None => match flag.default {
                Default::Text(text) => parse(&Given { text, given: false })
                    .map_err(|fault| self.problems.push(fault.of(flag.long, Some(text))))
                    .ok(),
                Default::Absent(_) => None,
            },
        }
    }

    /// A setting without a default: `Some(None)` where it is not given.
    pub(super) fn read_if_given<T>(
        &mut self,
        flag: &Flag,
        parse: impl FnOnce(&Given<'_>) -> Result<T, Fault>,
    ) -> Option<Option<T>> {
        match self.only(flag)? {
            Some(found) => self.parsed(&found, parse).map(Some),
            None => Some(None),
        }
    }

    /// Whether a switch is on, or an argument given.
    pub(super) fn is_given(&self, id: &str) -> bool {
        self.arguments.values(id).next().is_some()
    }

    /// A setting that can be given several times, or with commas in its variable.
    pub(super) fn read_all<T>(
        &mut self,
        flag: &Flag,
        parse: impl Fn(&Given<'_>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let mut found = self.by_flag(flag);
        if found.is_empty() {
            found = self.by_variable(flag).into_iter().flat_map(split).collect();
        }
        self.all_parsed(found, parse)
    }

    /// A setting of which each value is a list with commas.
    pub(super) fn read_list<T>(
        &mut self,
        flag: &Flag,
        parse: impl Fn(&Given<'_>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let mut found = self.by_flag(flag);
        if found.is_empty() {
            found.extend(self.by_variable(flag));
        }
        let found = found.into_iter().flat_map(|found| match found.text.is_empty() {
            // An empty value is a mistake; an empty place in a list is none.
            true => vec![found],
            false => split(found),
        });
        self.all_parsed(found, parse)
    }

    /// An argument that is no flag. One that is missing and has no default is noted.
    pub(super) fn read_positional<T>(
        &mut self,
        positional: &Positional,
        parse: impl FnOnce(&Given<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        let given = self.arguments.values(positional.name).next().cloned();
        let Some(text) = given.or_else(|| positional.default.map(OsString::from)) else {
            self.problems.push(Fault::new("missing", positional.remedy).of(positional.name, None));
            return None;
        };
        self.parsed(&Found { setting: positional.name.to_owned(), text }, parse)
    }

    fn by_flag(&self, flag: &Flag) -> Vec<Found> {
        let values = self.arguments.values(flag.name());
        values.map(|text| Found { setting: flag.long.to_owned(), text: text.clone() }).collect()
    }

    fn by_variable(&self, flag: &Flag) -> Option<Found> {
        flag.variable().into_iter().chain(flag.also.map(str::to_owned)).find_map(|setting| {
            self.variables.0.get(&setting).map(|text| Found { text: text.clone(), setting })
        })
    }

    /// The one value of a flag that takes one; `Some(None)` where none is given.
    fn only(&mut self, flag: &Flag) -> Option<Option<Found>> {
        let mut found = self.by_flag(flag);
        if found.len() > 1 {
            let values: Vec<String> =
                found.iter().map(|found| shown(&found.text.to_string_lossy())).collect();
            self.problems.push(Problem {
                value: Some(values.join(" ")),
                ..Fault::new(format!("given {} times", found.len()), "give it once").of(flag.long, None)
            });
            return None;
        }
        Some(found.pop().or_else(|| self.by_variable(flag)))
    }

    fn all_parsed<T>(
        &mut self,
        found: impl IntoIterator<Item = Found>,
        parse: impl Fn(&Given<'_>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        // All are parsed before the first bad one ends it, so that each bad one is noted.
        let parsed: Vec<Option<T>> = found.into_iter().map(|found| self.parsed(&found, &parse)).collect();
        parsed.into_iter().collect()
    }

    fn parsed<T>(&mut self, found: &Found, parse: impl FnOnce(&Given<'_>) -> Result<T, Fault>) -> Option<T> {
        let parsed = match found.text.to_str().map(str::trim) {
            None => Err(Fault::new("not UTF-8", "give plain text")),
            Some("") => Err(Fault::new("empty", "give a value, or leave it out for the default")),
            Some(text) => parse(&Given { text, given: true }),
        };
        parsed
            .map_err(|fault| {
                self.problems.push(fault.of(&found.setting, Some(&found.text.to_string_lossy())))
            })
            .ok()
    }
}

fn split(list: Found) -> Vec<Found> {
    let Some(text) = list.text.to_str() else {
        return vec![list];
    };
    let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
    pieces.map(|piece| Found { setting: list.setting.clone(), text: piece.into() }).collect()
}
