//! The command line as strings: which command, and which flag was given what, with every misuse named.
//!
//! clap stops at the first argument that it does not understand, so that argument is noted and taken out, and
//! the rest is parsed again. Must not judge values.

use std::ffi::OsString;

use clap::{
    ArgMatches, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::invalid::{Fault, Problem, named, shown};
use super::program::{self, Name};
use super::{
    flag::{Detail, Flag},
    flags,
};

/// What the command line asks for.
pub(super) enum Request {
    Run(Arguments),
    /// `--help` or `--version`: this text.
    Print(String),
}

/// A command and the strings given to its flags.
pub(super) struct Arguments {
    pub(super) command: Name,
    /// What stands before the command's name, and what stands behind it.
    levels: Vec<ArgMatches>,
}

impl Arguments {
    /// All values of a flag or positional argument, in order.
    pub(super) fn values(&self, id: &str) -> impl Iterator<Item = &OsString> {
        self.levels
            .iter()
            .filter_map(move |level| level.try_get_many::<OsString>(id).ok().flatten())
            .flatten()
    }
}

/// Parses what follows the program's name. `None` where nothing more can be read from the line; the reason is
/// then among the problems.
pub(super) fn parse(mut arguments: Vec<OsString>, problems: &mut Vec<Problem>) -> Option<Request> {
    let whole = arguments.iter().any(|argument| argument.to_string_lossy().starts_with("--help"));
    let detail = if whole { Detail::Whole } else { Detail::Brief };
    // Each turn takes an argument out or returns, so this ends.
    loop {
        let error = match program::command_line(detail).try_get_matches_from(&arguments) {
            Ok(matches) => return Some(Request::Run(chosen(matches, problems))),
            Err(error) => error,
        };
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Some(Request::Print(error.render().to_string()));
        }
        let bad = offender(&error);
        problems.push(problem(&error, &bad, command_in(&arguments)));
        let at = position(&arguments, &bad)?;
        let removed = arguments.remove(at);
        // What follows an unknown flag is its value, unless it can be something else.
        let value_follows = arguments.get(at).is_some_and(|next| {
            !next.to_string_lossy().starts_with('-')
                && Name::ALL.iter().all(|name| next != name.text())
                && !removed.to_string_lossy().contains('=')
        });
        if error.kind() == ErrorKind::UnknownArgument && bad.starts_with('-') && value_follows {
            arguments.remove(at);
        }
    }
}

/// The command that was named, or `serve`; a flag before the name counts like one behind it.
fn chosen(mut matches: ArgMatches, problems: &mut Vec<Problem>) -> Arguments {
    let named = matches.remove_subcommand();
    let command = named
        .as_ref()
        .and_then(|(text, _)| Name::ALL.into_iter().find(|name| name.text() == text))
        .unwrap_or(Name::Serve);
    let foreign = program::before_the_name().into_iter().filter(|flag| {
        matches.contains_id(flag.name()) && command.flags().iter().all(|known| known.long != flag.long)
    });
    problems.extend(foreign.map(|flag| {
        Fault::new(format!("`pushpull {}` has no such flag", command.text()), owner(flag)).of(flag.long, None)
    }));
    let levels = std::iter::once(matches).chain(named.map(|(_, below)| below)).collect();
    Arguments { command, levels }
}

fn owner(flag: &Flag) -> String {
    let owners: Vec<String> = Name::ALL
        .into_iter()
        .filter(|name| name.flags().iter().any(|known| known.long == flag.long))
        .map(|name| format!("`pushpull {}`", name.text()))
        .collect();
    format!("it belongs to {}", owners.join(" and "))
}

/// The argument that clap names in its error, without the name of its value.
fn offender(error: &Error) -> String {
    let named = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand]
        .into_iter()
        .find_map(|kind| text(error, kind));
    match error.kind() {
        // Here clap gives the flag as the help shows it, `--listen <ADDRESS>`.
        ErrorKind::InvalidValue | ErrorKind::TooManyValues => {
            named.as_deref().and_then(|flag| flag.split([' ', '=']).next()).unwrap_or_default().to_owned()
        }
        _ => named.unwrap_or_default(),
    }
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        // Of several suggestions the last is the likeliest.
        ContextValue::Strings(texts) => texts.last().cloned(),
        _ => None,
    }
}

/// Where an offender stands. A flag is sought from the end and a word from the start, so that a value which
/// happens to read the same stays.
fn position(arguments: &[OsString], bad: &str) -> Option<usize> {
    let is_bad = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        let short = bad.starts_with('-') && !bad.starts_with("--");
        argument == bad
            || bad.starts_with("--") && argument.strip_prefix(bad).is_some_and(|rest| rest.starts_with('='))
            || short
                && !argument.starts_with("--")
                && argument.starts_with('-')
                && argument.contains(&bad[1..])
    };
    if bad.starts_with('-') { arguments.iter().rposition(is_bad) } else { arguments.iter().position(is_bad) }
}

fn command_in(arguments: &[OsString]) -> Option<Name> {
    arguments.iter().find_map(|argument| Name::ALL.into_iter().find(|name| argument == name.text()))
}

fn problem(error: &Error, bad: &str, command: Option<Name>) -> Problem {
    let help = match command {
        Some(name) => format!("`pushpull {} --help` lists the flags", name.text()),
        None => "`pushpull --help` lists the commands and flags".to_owned(),
    };
    let similar = text(error, ContextKind::SuggestedArg)
        .or_else(|| text(error, ContextKind::SuggestedSubcommand))
        .map_or_else(|| help.clone(), |similar| format!("did you mean {similar}?"));
    let elsewhere = flags::all().find(|flag| flag.long == bad);
    match error.kind() {
        ErrorKind::InvalidValue => Fault::new("needs a value", help).of(bad, None),
        ErrorKind::TooManyValues => Fault::new("takes no value", help).of(bad, None),
        ErrorKind::InvalidSubcommand => Fault::new("unknown command", similar).of(&shown(bad), None),
        ErrorKind::UnknownArgument => match (elsewhere, command) {
            (Some(flag), Some(name)) => {
                Fault::new(format!("`pushpull {}` has no such flag", name.text()), owner(flag)).of(bad, None)
            }
            _ if bad.starts_with('-') => Fault::new("unknown flag", similar).of(&named(bad), None),
            _ => Fault::new("unexpected argument", help).of(&shown(bad), None),
        },
        _ => {
            let reason = error.render().to_string();
            let reason = reason.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Fault::new(reason, help).of("command line", None)
        }
    }
}
