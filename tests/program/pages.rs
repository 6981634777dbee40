//! What the program prints of itself, as the programs that it is for take it.

use std::{fs, path::Path};

use crate::process::Launch;

#[test]
fn bash_completes_commands_and_flags() {
    let script = Launch::bare(&["completions", "bash"]).finish();
    script.assert_orderly();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pushpull.bash");
    fs::write(&file, &script.stdout).unwrap();
    let completed = |words: &[&str]| {
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let ask = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; _pushpull pushpull '{last}' '{before}'; echo ${{COMPREPLY[@]}}",
            file.display(),
            words.join(" "),
            words.len() - 1
        );
        let finished = Launch::of(Path::new("bash"), &["--norc", "-c", &ask])
            .variable("PATH", &std::env::var("PATH").unwrap())
            .finish();
        finished.assert_orderly();
        finished.stdout.trim().to_owned()
    };
    assert_eq!(completed(&["pushpull", "col"]), "collect");
    assert_eq!(completed(&["pushpull", "collect", "--tls"]), "--tls-cert --tls-key --tls-client-ca");
    assert_eq!(completed(&["pushpull", "load", "--r"]), "--rps");
}

#[test]
fn pages_go_to_standard_output_and_mistakes_to_standard_error() {
    for (arguments, begins) in
        [(["man", ""], ".ie "), (["help", "load"], "Send "), (["help", "man"], "Print ")]
    {
        let arguments: Vec<_> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
        let finished = Launch::bare(&arguments).finish();
        finished.assert_orderly();
        assert!(finished.stdout.starts_with(begins) && finished.stderr.is_empty(), "{finished:?}");
    }
    let finished = Launch::bare(&["help", "colect"]).finish();
    let message = finished.failure(2);
    assert!(message.contains("unknown command; give serve or collect or health"), "{message}");
    let finished = Launch::bare(&["completions", "tcsh"]).finish();
    assert!(finished.failure(2).contains("give bash or elvish"), "{finished:?}");
}
