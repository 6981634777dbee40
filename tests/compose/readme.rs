//! The three acts of the README (compose up, browse /metrics/, view traces): its own commands, and what it says they print.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::process::{eventually, run};
use super::stack::Stack;
use super::views::DELIVERY;

/// Stands before a block of commands that is part of the proof.
const MARK: &str = "<!-- compose-proof -->";

/// Commands, and what they print where the README says so.
struct Act {
    commands: String,
    printed: Option<String>,
}

/// Runs every act. Commands that print something are questions, which are asked until the answer is the README's, since what
/// is pushed and scraped takes seconds to come; the others are run once.
pub(super) fn holds(stack: &Stack) {
    let acts = acts();
    assert!(acts.iter().any(|act| act.commands.contains("docker compose up")), "the README starts nothing");
    assert!(
        acts.iter().filter(|act| act.printed.is_some()).count() >= 3,
        "the README shows less than three acts"
    );
    for act in acts {
        let from = Instant::now();
        let shell = || run(stack.command("bash").args(["-euo", "pipefail", "-c", &act.commands]), "");
        match &act.printed {
            None => drop(shell().unwrap_or_else(|error| panic!("{}\n{error}", act.commands))),
            Some(printed) => eventually(&act.commands, DELIVERY, || {
                let found = shell()?;
                if found.trim() == printed.trim() { Ok(()) } else { Err(format!("it prints\n{found}")) }
            }),
        }
        let first = act.commands.lines().next().unwrap_or_default();
        eprintln!("  {:.1} s  {first}", from.elapsed().as_secs_f64());
    }
}

/// The marked blocks of the README, each with the block that follows it where that one is not marked itself.
fn acts() -> Vec<Act> {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    readme
        .split(MARK)
        .skip(1)
        .map(|text| {
            let mut blocks = text.split("```").skip(1).step_by(2);
            let commands = blocks.next().and_then(|block| block.strip_prefix("sh\n"));
            let commands = commands.unwrap_or_else(|| panic!("no commands behind {MARK}: {text}")).to_owned();
            // Only what stands right behind them.
            let near = text.split("```").nth(2).is_some_and(|between| !between.contains("\n#"));
            let printed = blocks.next().filter(|_| near).and_then(|block| block.split_once('\n'));
            let printed = printed.filter(|(language, _)| language.is_empty() || *language == "text");
            Act { commands, printed: printed.map(|(_, text)| text.to_owned()) }
        })
        .collect()
}
