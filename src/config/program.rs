//! The program's command line for clap, made from the table of flags: what `--help` shows.
//!
//! Must not judge a value.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::flag::{Detail, Flag, OPTIONS, PREFIX};
use super::flags::{self, GENERAL};
use super::suggested::Suggested;

/// The program's name.
pub(super) const NAME: &str = "pushpull";

/// An argument that is no flag.
#[derive(Debug)]
pub(super) struct Positional {
    /// Its name in the help, which is also its id in clap.
    pub(super) name: &'static str,
    /// What holds where it is not given.
    pub(super) default: Option<&'static str>,
    /// What to give, for messages where it is missing.
    pub(super) remedy: &'static str,
    help: &'static str,
}

pub(super) static HEALTH_URL: Positional = Positional {
    name: "URL",
    default: Some("http://127.0.0.1:5000/healthz"),
    remedy: "",
    help: "What to ask, http:// or https://; 200 is well",
};
pub(super) static LOAD_URL: Positional = Positional {
    name: "URL",
    default: None,
    remedy: "give the http:// URL of a service, such as http://127.0.0.1:5000",
    help: "The URL of the service, such as http://127.0.0.1:5000",
};
pub(super) static SHELL: Positional = Positional {
    name: SHELL_,
    default: None,
    remedy: "give bash, elvish, fish, powershell or zsh",
    help: "bash, elvish, fish, powershell or zsh",
};
pub(super) static MIXIN_DIR: Positional = Positional {
    name: "DIR",
    default: None,
    remedy: "give the mixin's folder: `pushpull mixin deploy/mixin`",
    help: "Folder of the mixin. Its config.json says what is written below it;\nwhere there is none, the default one is written",
};
pub(super) static TOPIC: Positional = Positional {
    name: TOPIC_,
    default: None,
    remedy: "",
    help: "The command to explain; without one, the program",
};

const SHELL_: &str = "SHELL";
const TOPIC_: &str = "COMMAND";

impl Positional {
    fn arg(&self) -> Arg {
        let help = match self.default {
            Some(default) => format!("{}\n[default: {default}]", self.help),
            None => self.help.to_owned(),
        };
        let values = match self.name {
            SHELL_ => Suggested::new(["bash", "elvish", "fish", "powershell", "zsh"]),
            TOPIC_ => Suggested::new(Name::ALL.map(Name::text)),
            _ => Suggested::new([]),
        };
        Arg::new(self.name).value_name(self.name).value_parser(values).hide_possible_values(true).help(help)
    }
}

/// A command by its name, before its settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Serve,
    Collect,
    Health,
    Load,
    Mixin,
    Completions,
    Man,
    Help,
}

impl Name {
    pub(super) const ALL: [Self; 8] = [
        Self::Serve,
        Self::Collect,
        Self::Health,
        Self::Load,
        Self::Mixin,
        Self::Completions,
        Self::Man,
        Self::Help,
    ];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Collect => "collect",
            Self::Health => "health",
            Self::Load => "load",
            Self::Mixin => "mixin",
            Self::Completions => "completions",
            Self::Man => "man",
            Self::Help => "help",
        }
    }

    pub(super) fn flags(self) -> Vec<&'static Flag> {
        match self {
            Self::Serve => flags::serve(),
            Self::Collect => flags::collect(),
            Self::Health | Self::Mixin => flags::health(),
            Self::Load => flags::load(),
            Self::Completions | Self::Man | Self::Help => Vec::new(),
        }
    }

    fn positional(self) -> Option<&'static Positional> {
        match self {
            Self::Health => Some(&HEALTH_URL),
            Self::Load => Some(&LOAD_URL),
            Self::Mixin => Some(&MIXIN_DIR),
            Self::Completions => Some(&SHELL),
            Self::Help => Some(&TOPIC),
            Self::Serve | Self::Collect | Self::Man => None,
        }
    }

    /// What it does, in the width that a terminal of 80 columns has left beside the names.
    fn about(self) -> &'static str {
        match self {
            Self::Serve => "The service, the default, with its own collector and console",
            Self::Collect => "The collector alone: OTLP and StatsD to Prometheus and Graphite",
            Self::Health => "Ask a service whether it is well: exit code 0 if so, else 1",
            Self::Load => "Send requests to a service elsewhere, and check its pages",
            Self::Mixin => "Write rules, alerts and dashboards for a service",
            Self::Completions => "Print the completions of commands and flags for a shell",
            Self::Man => "Print the manual page",
            Self::Help => "Print the help of the program or of a command",
        }
    }

    /// Lines for a shell, and what each does.
    pub(super) fn examples(self) -> &'static str {
        match self {
            Self::Serve => {
                "\
pushpull                                  http://127.0.0.1:5000/, and a page at :5001
pushpull --load 20 --probe 5s             under load, with its pages checked
pushpull --fault database-slow=500@60     with a slow database for a minute
pushpull --graphite 127.0.0.1:2003        with Graphite as a third view
pushpull --database postgres://db/app     on PostgreSQL"
            }
            Self::Collect => {
                "\
pushpull collect --console 127.0.0.1:5001             show what arrives
pushpull collect --graphite -                         print the lines that Graphite would get
pushpull collect --graphite 127.0.0.1:2003 --check    try the targets, and exit
pushpull collect --graphite 127.0.0.1:2003 --spool /var/lib/pushpull
pushpull collect --forward grpc://127.0.0.1:14317     pass everything on"
            }
            Self::Health => {
                "\
pushpull health
pushpull health http://127.0.0.1:8889/readyz    a collector, by its exposition's address"
            }
            Self::Load => {
                "\
pushpull load http://127.0.0.1:5000
pushpull load http://127.0.0.1:5000 --rps 50 --probe off"
            }
            Self::Mixin => {
                "\
pushpull mixin deploy/mixin               the files of this repository again
pushpull mixin my-service                 the default config.json, to be edited, and its files"
            }
            Self::Completions => {
                "\
pushpull completions bash > ~/.local/share/bash-completion/completions/pushpull
pushpull completions fish > ~/.config/fish/completions/pushpull.fish
pushpull completions zsh > ~/.zfunc/_pushpull    where ~/.zfunc is in fpath"
            }
            Self::Man => {
                "\
pushpull man | man -l -
pushpull man > ~/.local/share/man/man1/pushpull.1"
            }
            Self::Help => "pushpull help collect",
        }
    }

    /// What holds for all of its flags.
    pub(super) fn note(self) -> Option<&'static str> {
        (self == Self::Serve).then_some(ENDPOINT_NOTE)
    }

    fn command(self, detail: Detail) -> Command {
        let text = self.text();
        let command = with_flags(Command::new(text), &self.flags(), detail)
            .about(self.about())
            .args(self.positional().map(Positional::arg))
            .after_help(match detail {
                Detail::Brief => format!("`pushpull {text} --help` shows all, with examples."),
                Detail::Whole => self.after_help(),
            });
        match self {
            Self::Load => command.override_usage("pushpull load [OPTIONS] <URL>"),
            Self::Mixin => command.override_usage("pushpull mixin [OPTIONS] <DIR>"),
            Self::Completions => command.override_usage("pushpull completions [OPTIONS] <SHELL>"),
            Self::Serve | Self::Collect | Self::Health | Self::Man | Self::Help => command,
        }
    }

    fn after_help(self) -> String {
        let examples: Vec<_> = self.examples().lines().map(|line| format!("  {line}")).collect();
        let note = self.note().map(|note| format!("\n\n{note}")).unwrap_or_default();
        format!("Examples:\n{}{note}", examples.join("\n"))
    }
}

const ENDPOINT_NOTE: &str = "\
A flag wins over its variable; an empty variable counts as not set.
Times are written 500ms, 5s, 2m; sizes 64MiB, 100kB.

The standard OTEL_* variables hold for the service's own telemetry. Where
OTEL_EXPORTER_OTLP_ENDPOINT (or a signal's own) is set, the service pushes there and starts no
collector of its own.";

/// The flags that may stand before the command's name: all, those of `serve` first.
pub(super) fn before_the_name() -> Vec<&'static Flag> {
    let mut flags = flags::serve();
    for flag in flags::all() {
        if flags.iter().all(|known| known.long != flag.long) {
            flags.push(flag);
        }
    }
    flags
}

/// The program's command line. The flags of `serve` are shown beside the commands too, since it is the default.
pub(super) fn command_line(detail: Detail) -> Command {
    let root = Command::new(NAME)
        .bin_name(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about("One service watched by pull and by push, and the bridge from OTLP to Graphite")
        .override_usage("pushpull [serve] [OPTIONS]\n       pushpull <COMMAND> [OPTIONS]")
        .after_help(match detail {
            Detail::Brief => {
                "`pushpull --help` shows all; `pushpull COMMAND --help` all of a command.".to_owned()
            }
            Detail::Whole => Name::Serve.after_help(),
        })
        .no_binary_name(true)
        .propagate_version(true)
        .disable_help_subcommand(true)
        .subcommands(Name::ALL.map(|name| name.command(detail).display_name(NAME)));
    let shown = flags::serve();
    let hidden = before_the_name().into_iter().skip(shown.len()).map(|flag| flag.arg(detail).hide(true));
    let root = with_flags(root, &shown, detail).args(hidden);
    if detail == Detail::Whole {
        return root;
    }
    let crowd = shown.iter().filter(|flag| !BESIDE_THE_COMMANDS.contains(&flag.long));
    crowd.fold(root, |root, flag| root.mut_arg(flag.name(), |arg| arg.hide_short_help(true)))
}

/// The flags that `-h` has room for beside the list of commands.
const BESIDE_THE_COMMANDS: [&str; 5] = ["--listen", "--console", "--database", "--load", "--graphite"];

/// Adds the flags, with `--help` and `--version` beside the last group, so that no group stands unnamed.
fn with_flags(command: Command, flags: &[&Flag], detail: Detail) -> Command {
    let general = |id: &'static str, short, help, action| {
        let arg = Arg::new(id).short(short).long(id).help(help).action(action);
        match detail {
            // On one screen there is no room for what everybody knows.
            Detail::Brief => arg.help_heading(OPTIONS).hide_short_help(true),
            Detail::Whole => arg.help_heading(GENERAL),
        }
    };
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(flags.iter().map(|flag| flag.arg(detail)))
        .arg(general("help", 'h', "Print help; -h what fits one screen", ArgAction::Help))
        .arg(general("version", 'V', "Print version", ArgAction::Version))
}

/// The variable that was probably meant by one that nobody knows; clap judges the likeness.
pub(super) fn similar_variable(unknown: &str) -> Option<String> {
    let flag = format!("--{}", unknown.strip_prefix(PREFIX)?.to_lowercase().replace('_', "-"));
    let error = command_line(Detail::Brief).try_get_matches_from([OsString::from(flag)]).err()?;
    let similar = match error.get(clap::error::ContextKind::SuggestedArg)? {
        clap::error::ContextValue::String(similar) => similar.as_str(),
        _ => return None,
    };
    flags::all().find(|flag| flag.long == similar).and_then(Flag::variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_fault_in_the_commands() {
        command_line(Detail::Brief).debug_assert();
        command_line(Detail::Whole).debug_assert();
    }

    #[test]
    fn a_misspelt_variable_finds_its_like() {
        assert_eq!(similar_variable("PUSHPULL_LISTN"), Some("PUSHPULL_LISTEN".to_owned()));
        assert_eq!(similar_variable("PUSHPULL_STOPWITHIN"), Some("PUSHPULL_STOP_WITHIN".to_owned()));
        assert_eq!(similar_variable("PUSHPULL_ZZZ"), None);
    }
}
