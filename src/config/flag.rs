//! One flag: its name, its default, its variable and its help; and what clap makes of it.
//!
//! Must not judge a value: clap sees plain strings, so that all bad values can be named at once.

use clap::{Arg, ArgAction, ValueHint};

use super::suggested::Suggested;

/// What every variable of the program starts with.
pub(super) const PREFIX: &str = "PUSHPULL_";

/// The one group of the brief help.
pub(super) const OPTIONS: &str = "Options";

/// One flag: what `--help` says of it, its default, and (by its name) its variable.
#[derive(Debug)]
pub(super) struct Flag {
    /// With its dashes: `--listen`.
    pub(super) long: &'static str,
    /// The name of its value in the help.
    value: &'static str,
    heading: &'static str,
    pub(super) default: Default,
    /// A second variable, which counts where the first is not set.
    pub(super) also: Option<&'static str>,
    pub(super) repeatable: bool,
    /// Takes no value, and has no variable.
    is_switch: bool,
    /// What `-h` says of it, where people use it first.
    first: Option<&'static str>,
    help: &'static str,
}

/// What holds where a flag is not given.
#[derive(Debug)]
pub(super) enum Default {
    /// This text, parsed like one that was given.
    Text(&'static str),
    /// No value; the words tell what happens then.
    Absent(&'static str),
}

impl Flag {
    pub(super) const fn new(
        heading: &'static str,
        long: &'static str,
        value: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        let default = Default::Text(default);
        Self {
            long,
            value,
            heading,
            default,
            also: None,
            repeatable: false,
            is_switch: false,
            first: None,
            help,
        }
    }

    pub(super) const fn switch(heading: &'static str, long: &'static str, help: &'static str) -> Self {
        let flag = Self::new(heading, long, "", "", help).absent("off");
        Self { is_switch: true, ..flag }
    }

    pub(super) const fn absent(mut self, words: &'static str) -> Self {
        self.default = Default::Absent(words);
        self
    }

    pub(super) const fn first(mut self, brief: &'static str) -> Self {
        self.first = Some(brief);
        self
    }

    pub(super) const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    pub(super) const fn also(mut self, variable: &'static str) -> Self {
        self.also = Some(variable);
        self
    }

    /// The flag's name without dashes, which is also its id in clap.
    pub(super) fn name(&self) -> &'static str {
        self.long.trim_start_matches('-')
    }

    /// The variable of the same name, where the flag takes a value: `--stop-within` is `PUSHPULL_STOP_WITHIN`.
    pub(super) fn variable(&self) -> Option<String> {
        (!self.is_switch).then(|| format!("{PREFIX}{}", self.name().to_uppercase().replace('-', "_")))
    }

    /// The default as a text: a good value, for messages, where the flag has one.
    pub(super) fn example(&self) -> &'static str {
        match self.default {
            Default::Text(text) | Default::Absent(text) => text,
        }
    }

    pub(super) fn arg(&self, detail: Detail) -> Arg {
        let arg = Arg::new(self.name())
            .long(self.name())
            .value_parser(Suggested::alternatives(self.value))
            .action(ArgAction::Append);
        let arg = match detail {
            Detail::Brief => {
                arg.help_heading(OPTIONS).help(self.brief()).hide_short_help(self.first.is_none())
            }
            Detail::Whole => arg.help_heading(self.heading).help(self.whole()).next_line_help(true),
        };
        if self.is_switch {
            return arg.num_args(0).default_missing_value("on");
        }
        let hint = match self.value {
            "FILE" => ValueHint::FilePath,
            "DIR" => ValueHint::DirPath,
            _ => ValueHint::Other,
        };
        arg.value_name(self.value)
            .value_hint(hint)
            .hide_possible_values(true)
            .num_args(1)
            .allow_negative_numbers(true)
    }

    /// What it is, on one line, with a default that is a value.
    fn brief(&self) -> String {
        let clause = self.help.split([';', ':']).next().unwrap_or_default();
        let text = self.first.map_or_else(|| clause.replace('\n', " "), str::to_owned);
        match self.default {
            Default::Text(default) if !default.is_empty() => format!("{text} [default: {default}]"),
            Default::Text(_) | Default::Absent(_) => text,
        }
    }

    fn whole(&self) -> String {
        let Some(variable) = self.variable() else { return self.help.to_owned() };
        let default = self.example();
        let variable = match self.also {
            Some(also) => format!("{variable}, then {also}"),
            None => variable,
        };
        let commas = if self.repeatable { "; commas between several" } else { "" };
        let gap = if default.len() + variable.len() + commas.len() > 65 { '\n' } else { ' ' };
        format!("{}\n[default: {default}]{gap}[env: {variable}{commas}]", self.help)
    }
}

/// How much the help shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// `-h`: what people use first, on one screen.
    Brief,
    /// `--help`: all.
    Whole,
}
