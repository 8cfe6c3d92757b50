//! Scripts of kinds: constant text for `sh -eu`, sent by standard input; what a wish says comes as arguments.

use crate::model::action::{Action, Program};
use crate::model::sensitive::Text;

/// What every script may use: `R`, the folder that stands for `/` in a sandbox (empty on a machine), and `say`.
const PRELUDE: &str = r#"R=${HMCO_BOOT_ROOT-}
say() { printf 'hmco-boot: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }
"#;

/// Runs a script. Its first argument is the kind's name, which says in the target's process list what it is; `$1` of
/// the script is what comes after that. `purpose` goes on after "could not" where it fails. Nothing of it may be secret.
/// Messages of programs come in English.
pub fn run<'a>(
    kind: &str,
    purpose: String,
    text: &str,
    arguments: impl IntoIterator<Item = &'a str>,
    retry_exit: &[i32],
) -> Action {
    let mut argv = ["sh", "-eu", "-s", kind].map(str::to_owned).to_vec();
    argv.extend(arguments.into_iter().map(str::to_owned));
    let body: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    Action::Run(Program {
        argv,
        cwd: None,
        env: vec![("LC_ALL".to_owned(), Text::plain("C"))],
        // The shell reads the whole group before it runs any of it, so a script that is cut off runs nothing, and no
        // program inside can swallow the rest of it.
        stdin: Some(Text::plain(format!(
            "{{ shift\n{PRELUDE}{body}}} </dev/null\n"
        ))),
        ok_exit: vec![0],
        retry_exit: retry_exit.to_vec(),
        purpose: Some(purpose),
    })
}
