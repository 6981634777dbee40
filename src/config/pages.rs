//! What the program prints of itself: the help of a command, the completions of a shell, the manual page. All three are
//! made from the command line's one table.
//!
//! Must not read a setting.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::flag::Detail;
use super::invalid::Fault;
use super::program::{self, Name};
use super::values;

/// The day of this version, for the manual page.
const RELEASED: &str = "2026-11-22";

/// The command that `help` is asked about.
pub(super) fn topic(text: &str) -> Result<Name, Fault> {
    let names = Name::ALL.map(|name| (name.text(), name));
    values::word(text, &names).map_err(|fault| Fault::new("unknown command", fault.remedy))
}

/// The same text as `--help` of the command, or of the program.
pub(super) fn help(topic: Option<Name>) -> String {
    let arguments = topic.map(Name::text).into_iter().chain(["--help"]);
    match program::command_line(Detail::Whole).try_get_matches_from(arguments) {
        Err(help) => help.render().to_string(),
        // Not reached: clap gives every help as an error.
        Ok(_) => String::new(),
    }
}

/// A shell that has completions.
pub(super) fn shell(text: &str) -> Result<Shell, Fault> {
    let shells = [
        ("bash", Shell::Bash),
        ("elvish", Shell::Elvish),
        ("fish", Shell::Fish),
        ("powershell", Shell::PowerShell),
        ("zsh", Shell::Zsh),
    ];
    values::word(text, &shells)
}

/// The script that completes commands and flags in a shell.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program::command_line(Detail::Brief), program::NAME, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page of the program and its commands, in roff's man macros.
pub(super) fn man() -> String {
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_man(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

fn write_man(page: &mut Vec<u8>) -> io::Result<()> {
    let mut root = program::command_line(Detail::Whole);
    root.build();
    let program = Man::new(root.clone());
    let mut title = Roff::new();
    let source = format!("{} {}", program::NAME, env!("CARGO_PKG_VERSION"));
    title.control("TH", [program::NAME.to_uppercase().as_str(), "1", RELEASED, &source, "User Commands"]);
    // Long values cannot be broken: with both margins even, the words beside them would stand far apart.
    title.control("ad", ["l"]);
    title.to_writer(page)?;
    program.render_name_section(page)?;
    program.render_synopsis_section(page)?;
    let mut commands = Roff::new();
    commands.control("SH", ["COMMANDS"]);
    for command in root.get_subcommands() {
        commands.control("TP", []);
        commands.text([bold(command.get_name())]);
        commands.text([roman(about(command))]);
    }
    commands.to_writer(page)?;
    for (name, command) in Name::ALL.into_iter().zip(root.get_subcommands()) {
        write_command(name, command, page)?;
    }
    program.render_version_section(page)
}

/// A command as one section, with its groups of flags as parts.
fn write_command(name: Name, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut section = Roff::new();
    section.control("SH", [format!("{} {}", program::NAME, name.text()).to_uppercase().as_str()]);
    section.text([roman(about(command))]);
    section.to_writer(page)?;
    let mut parts = vec![b'\n'];
    Man::new(command.clone()).render_options_section(&mut parts)?;
    page.extend_from_slice(
        String::from_utf8_lossy(&parts).replace("\n.SH ", "\n.SS ").trim_start().as_bytes(),
    );
    let mut rest = Roff::new();
    rest.control("SS", ["EXAMPLES"]).control("nf", []);
    for line in name.examples().lines() {
        rest.text([roman(line)]);
    }
    rest.control("fi", []);
    if let Some(note) = name.note() {
        rest.control("SS", ["NOTES"]);
        for line in note.lines() {
            if line.is_empty() {
                rest.control("PP", [])
            } else {
                rest.text([roman(line)])
            };
        }
    }
    rest.to_writer(page)
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}
