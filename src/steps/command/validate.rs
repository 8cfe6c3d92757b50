//! What is wrong with a `command` that its types cannot say.

use super::Command;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;

/// All mistakes, by key.
pub fn mistakes(wish: &Command) -> Vec<(&'static str, String)> {
    let mut found = program(wish);
    found.extend(conditions(wish));
    found.extend(surroundings(wish));
    found
        .into_iter()
        .map(|(key, message)| (key, message.to_owned()))
        .collect()
}

fn program(wish: &Command) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    match (&wish.argv[..], &wish.script) {
        ([], None) => found.push(("argv", "what shall run? (`argv` or `script`)")),
        ([_, ..], Some(_)) => found.push(("script", "`argv` or `script`, not both")),
        ([program, ..], None) if program.is_empty() => {
            found.push(("argv", "the program's name is empty"));
        }
        _ => {}
    }
    if wish.argv.iter().any(|word| word.contains('\0')) {
        found.push(("argv", "an argument cannot hold a NUL"));
    }
    if let Some(script) = wish.script.as_ref().map(Text::expose) {
        let interpreter = script
            .strip_prefix("#!")
            .map(|rest| rest.lines().next().unwrap_or_default().trim());
        if script.trim().is_empty() {
            found.push(("script", "the script is empty"));
        } else if script.contains('\0') {
            found.push(("script", "a script cannot hold a NUL"));
        } else if interpreter.is_some_and(|program| program != "/bin/sh") {
            found.push((
                "script",
                "a script is run by `sh -eu`, whatever its first line says: use `argv` with the other interpreter and `stdin`",
            ));
        }
        if wish.stdin.is_some() {
            found.push((
                "stdin",
                "standard input carries the `script`: use a here-document inside it, or `argv`",
            ));
        }
    }
    found
}

fn conditions(wish: &Command) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if !wish.has_results() && wish.only_if.is_empty() && !wish.always {
        found.push((
            "creates",
            "state what makes it unnecessary: `creates`, `removes`, `unless` or `only_if`; or say `always = true`",
        ));
    }
    if wish.always && wish.has_results() {
        found.push((
            "always",
            "`always` contradicts `creates`, `removes` and `unless`, which say when it is not needed",
        ));
    }
    let gone_again = |path: &AbsPath| wish.removes.0.iter().any(|gone| path.is_below(gone));
    if wish.creates.0.iter().any(gone_again) {
        found.push((
            "removes",
            "a path cannot be both there (`creates`) and gone (`removes`) afterwards",
        ));
    }
    for (key, argv) in [("unless", &wish.unless), ("only_if", &wish.only_if)] {
        if argv.first().is_some_and(String::is_empty) {
            found.push((key, "the program's name is empty"));
        }
        if argv.iter().any(|word| word.contains('\0')) {
            found.push((key, "an argument cannot hold a NUL"));
        }
    }
    if wish.condition_timeout.0.is_zero() {
        found.push(("condition_timeout", "nothing can answer in no time"));
    }
    found
}

fn surroundings(wish: &Command) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if wish.ok_exit.is_empty() {
        found.push(("ok_exit", "at least one exit status must mean success"));
    }
    if wish
        .retry_exit
        .iter()
        .any(|exit| wish.ok_exit.contains(exit))
    {
        found.push((
            "retry_exit",
            "an exit status is either success (`ok_exit`) or a reason to try again (`retry_exit`)",
        ));
    }
    for (name, value) in &wish.env {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            found.push((
                "env",
                "a variable's name has letters, digits and `_`, and does not begin with a digit",
            ));
        }
        if value.expose().contains('\0') {
            found.push(("env", "a variable cannot hold a NUL"));
        }
    }
    found
}
