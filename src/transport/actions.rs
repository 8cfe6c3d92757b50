//! Actions as shell text: one line per action that calls a function of `sh/job.sh`, every word quoted by
//! `model::shell`. Contents of files are not in it: they travel as payloads.

use sha2::{Digest as _, Sha256};

use crate::model::action::{Action, CHANGED_MEANWHILE, Ownership, Program, Replaces};
use crate::model::artifact::{Fetch, Member, Pin};
use crate::model::path::AbsPath;
use crate::model::shell::{quote, quote_all};
use crate::model::units::Mode;

/// Longest part of a name that goes into the name of its temporary file (a name has at most 255 bytes).
const NAME_KEPT: usize = 200;

/// The content of one file on its way to a target.
pub(super) struct Payload<'a> {
    /// Number of its action.
    pub action: usize,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Their sha256 in lowercase hex.
    pub sha256: String,
    /// Where it may wait: destination folder and temporary file there. `None`: an earlier action of the job may yet
    /// change that folder, so it has to wait elsewhere.
    pub place: Option<(String, String)>,
}

/// Where a target's paths are: below a root, in a sandbox.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The root; `None` = `/`.
    pub root: Option<AbsPath>,
}

impl Paths {
    /// What goes in front of every path.
    pub(super) fn root(&self) -> &str {
        match &self.root {
            Some(root) if root.as_str() != "/" => root.as_str(),
            _ => "",
        }
    }

    /// A path as the target's tools see it.
    pub(super) fn full(&self, path: &AbsPath) -> String {
        match (self.root(), path.as_str()) {
            ("", path) => path.to_owned(),
            (root, "/") => root.to_owned(),
            (root, path) => format!("{root}{path}"),
        }
    }

    /// Folder and temporary file for a path, in the same folder.
    fn temporary(&self, path: &AbsPath) -> (String, String) {
        let folder = path
            .parent()
            .map_or_else(|| self.full(path), |parent| self.full(&parent));
        let mut kept = path.file_name();
        while kept.len() > NAME_KEPT {
            let end = kept.char_indices().next_back().map_or(0, |(at, _)| at);
            kept = kept.get(..end).unwrap_or_default();
        }
        let slash = if folder.ends_with('/') { "" } else { "/" };
        let file = format!("{folder}{slash}.{kept}.hmco-boot-tmp");
        (folder, file)
    }
}

/// The contents that a job needs, in the order of its actions.
pub(super) fn payloads<'a>(actions: &'a [Action], paths: &Paths) -> Vec<Payload<'a>> {
    let mut settled = true;
    let mut taken: Vec<String> = Vec::new();
    let mut payloads = Vec::new();
    for (number, action) in actions.iter().enumerate() {
        match action {
            Action::WriteFile { path, content, .. } => {
                let (folder, file) = paths.temporary(path);
                let free = settled && !taken.contains(&file);
                taken.push(file.clone());
                let bytes = content.expose().as_bytes();
                payloads.push(Payload {
                    action: number,
                    bytes,
                    sha256: hex(&Sha256::digest(bytes)),
                    place: free.then_some((folder, file)),
                });
            }
            Action::Place { path, .. } => taken.push(paths.temporary(path).1),
            Action::MakeDirectory { .. } | Action::SetAttributes { .. } | Action::Kube(_) => {}
            // What these do may take the destination folder away, or put another in its place (a mount).
            Action::Symlink { .. } | Action::Remove { .. } | Action::Run(_) => settled = false,
            Action::Reboot => {}
        }
    }
    payloads
}

/// Pins of files that are sent to the target before the job.
pub(super) fn sent_pins(actions: &[Action]) -> impl Iterator<Item = &Pin> {
    actions.iter().filter_map(|action| match action {
        Action::Place { pin, .. } if pin.fetch == Fetch::Controller => Some(&**pin),
        _ => None,
    })
}

/// Whether programs will run.
pub(super) fn runs_programs(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Run(_)))
}

/// Why an action cannot be sent.
pub(super) fn objection(action: &Action) -> Option<String> {
    match action {
        Action::Remove { path, .. } if path.as_str() == "/" => {
            Some("the root folder is never removed".to_owned())
        }
        Action::WriteFile { path, .. } | Action::Symlink { path, .. } if path.as_str() == "/" => {
            Some("the root folder is not replaced".to_owned())
        }
        Action::Symlink { to, .. } if to.is_empty() || to.contains('\0') => {
            Some("a symbolic link must have a text without NUL".to_owned())
        }
        Action::Run(program) => program_objection(program),
        Action::Place {
            pin, member, path, ..
        } => place_objection(pin, member.as_ref(), path),
        Action::Kube(_) => Some(
            "what the Kubernetes API holds is changed through the API, not on a machine".to_owned(),
        ),
        _ => None,
    }
}

fn place_objection(pin: &Pin, member: Option<&Member>, path: &AbsPath) -> Option<String> {
    let is_sha256 = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digests = [Some(&pin.sha256), member.map(|member| &member.sha256)];
    if path.as_str() == "/" {
        return Some("the root folder is not replaced".to_owned());
    }
    if !digests.iter().flatten().all(|digest| is_sha256(digest)) {
        return Some(format!("{} has no sha256", pin.describe()));
    }
    // The URL shows in the target's process list.
    let authority = pin.url.split_once("://").map(|(_, rest)| rest);
    let authority = authority.and_then(|rest| rest.split(['/', '?', '#']).next());
    if authority.is_none_or(|authority| authority.contains('@')) || !is_url(pin) {
        return Some(format!("{} has no URL that can be used", pin.describe()));
    }
    // What tar would take for an option or a pattern.
    let odd = |path: &str| path.starts_with('-') || path.contains(['*', '?', '[', '\\', '\0']);
    member
        .filter(|member| odd(&member.path))
        .map(|member| format!("{:?} cannot be taken out of an archive", member.path))
}

fn is_url(pin: &Pin) -> bool {
    let url = pin.url.as_str();
    // A file of the controller is the controller's to send.
    let local = url.starts_with("file:///") && pin.fetch == Fetch::Controller;
    (local || url.starts_with("https://") || url.starts_with("http://"))
        && url.bytes().all(|b| b.is_ascii_graphic())
}

fn program_objection(program: &Program) -> Option<String> {
    let name = program.argv.first().map(String::as_str).unwrap_or_default();
    if name.is_empty() || name.starts_with('-') {
        return Some(format!("`{name}` is not the name of a program"));
    }
    if program.argv.iter().any(|word| word.contains('\0')) {
        return Some(format!("an argument of `{name}` has a NUL"));
    }
    for (key, value) in &program.env {
        let valid = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !key.is_empty()
            && !key.starts_with(|c: char| c.is_ascii_digit());
        if !valid {
            return Some(format!(
                "`{key}` is not the name of an environment variable"
            ));
        }
        if value.expose().contains('\0') {
            return Some(format!("the environment variable {key} has a NUL"));
        }
    }
    None
}

/// The shell text of all actions, one after the other; each ends the job where it fails.
pub(super) fn script(actions: &[Action], payloads: &[Payload<'_>], paths: &Paths) -> String {
    let mut text = String::new();
    for (number, action) in actions.iter().enumerate() {
        let sha256 = payloads
            .iter()
            .find(|payload| payload.action == number)
            .map(|payload| payload.sha256.as_str())
            .unwrap_or_default();
        text.push_str(&line(number, action, sha256, paths));
    }
    text
}

fn line(number: usize, action: &Action, sha256: &str, paths: &Paths) -> String {
    let (function, words) = match action {
        Action::WriteFile {
            path,
            mode,
            owner,
            backup,
            replaces,
            ..
        } => {
            let (folder, file) = paths.temporary(path);
            let full = paths.full(path);
            let old = match backup {
                true => format!("{full}.hmco-boot-old"),
                false => String::new(),
            };
            let (mode, owner, sha256) = (digits(mode), ownership(owner), sha256.to_owned());
            let words = vec![
                number.to_string(),
                full,
                folder,
                file,
                mode,
                owner,
                sha256,
                old,
                match replaces {
                    None => String::new(),
                    Some(Replaces::Absent) => "absent".to_owned(),
                    Some(Replaces::Sha256(sha256)) => sha256.clone(),
                },
            ];
            return call("hb_write", &words, number, &CHANGED_MEANWHILE.to_string());
        }
        Action::MakeDirectory { path, mode, owner } => (
            "hb_directory",
            vec![paths.full(path), digits(mode), ownership(owner)],
        ),
        Action::SetAttributes { path, mode, owner } => {
            let mode = mode.as_ref().map_or_else(String::new, digits);
            let words = vec![paths.full(path), mode, ownership(owner)];
            ("hb_attributes", words)
        }
        Action::Symlink { path, to } => {
            let words = vec![paths.full(path), paths.temporary(path).1, to.clone()];
            ("hb_symlink", words)
        }
        Action::Remove { path, recursive } => {
            let flag = if *recursive { "1" } else { "" }.to_owned();
            let (folder, name) = (paths.temporary(path).0, path.file_name().to_owned());
            ("hb_remove", vec![paths.full(path), folder, name, flag])
        }
        Action::Place { .. } => return place(number, action, paths),
        Action::Run(program) => return run(number, program, paths),
        // What comes after the verdict; what is objected to.
        Action::Reboot | Action::Kube(_) => return String::new(),
    };
    call(function, &words, number, "")
}

/// A call of a function of `sh/job.sh`. `passing`: its exit statuses that may pass.
fn call(function: &str, words: &[String], number: usize, passing: &str) -> String {
    let words = quote_all(words.iter().map(String::as_str));
    let passing = quote(passing);
    format!("{function} {words} >&5 2>&6\nhb_check {number} $? 0 {passing}\n")
}

/// A pinned file. Exit status 75: the download failed by something that may pass.
fn place(number: usize, action: &Action, paths: &Paths) -> String {
    let Action::Place {
        pin,
        member,
        path,
        mode,
        owner,
    } = action
    else {
        return String::new();
    };
    let (folder, file) = paths.temporary(path);
    let url = match pin.fetch {
        Fetch::Node => pin.url.clone(),
        Fetch::Controller => String::new(),
    };
    let inside = member.as_ref().map_or_else(Default::default, |member| {
        [
            member.sha256.clone(),
            member.size.to_string(),
            member.path.clone(),
        ]
    });
    let whole = [
        paths.full(path),
        folder,
        file,
        digits(mode),
        ownership(owner),
        pin.sha256.clone(),
        pin.size.to_string(),
        url,
    ];
    let words = quote_all(whole.iter().chain(&inside).map(String::as_str));
    format!("hb_put {words} >&5 2>&6\nhb_check {number} $? 0 75\n")
}

/// Five digits: with fewer, GNU chmod leaves a folder's set-id bits as they are.
fn digits(mode: &Mode) -> String {
    format!("{:05o}", mode.0)
}

/// Empty, or `USER:GROUP` with either side left out, as chown wants it.
fn ownership(owner: &Ownership) -> String {
    match (&owner.user, &owner.group) {
        (None, None) => String::new(),
        (Some(user), None) => user.clone(),
        (user, Some(group)) => format!("{}:{group}", user.as_deref().unwrap_or_default()),
    }
}

/// A program. Environment and standard input may be secret: they are in the shell's own memory and in pipes, never in
/// an argument (`env NAME=VALUE` would show) or a file (a here-document is one, in some shells).
fn run(number: usize, program: &Program, paths: &Paths) -> String {
    let cwd = match &program.cwd {
        Some(path) => paths.full(path),
        None => format!("{}/", paths.root()),
    };
    let mut text = String::new();
    let input = match program.stdin.as_ref().map(|stdin| stdin.expose()) {
        None | Some("") => "</dev/null ",
        Some(stdin) => {
            text.push_str(&print(stdin));
            text.push_str(" | ");
            ""
        }
    };
    text.push_str(&format!("( umask 022; cd -- {} || exit 126\n", quote(&cwd)));
    if let Some(root) = &paths.root {
        text.push_str(&format!("export HMCO_BOOT_ROOT={}\n", quote(root.as_str())));
    }
    for (key, value) in &program.env {
        text.push_str(&format!("export {key}={}\n", quote(value.expose())));
    }
    let argv = quote_all(program.argv.iter().map(String::as_str));
    text.push_str(&format!(
        "exec {argv} ) {input}>&5 2>&6 4>&- 5>&- 6>&-\nhb_check {number} $? {} {}\n",
        statuses(&program.ok_exit, &[0]),
        statuses(&program.retry_exit, &[])
    ));
    text
}

/// Exit statuses as one word; without any, `otherwise`.
fn statuses(list: &[i32], otherwise: &[i32]) -> String {
    let list = if list.is_empty() { otherwise } else { list };
    let words: Vec<String> = list.iter().map(i32::to_string).collect();
    quote(&words.join(" "))
}

/// A command that prints the text, by the shell's own `printf`. A shell's words cannot hold NUL; its formats can.
fn print(text: &str) -> String {
    let mut parts: Vec<&str> = text.split('\0').collect();
    let last = parts.pop().unwrap_or_default();
    let mut commands: Vec<String> = parts
        .into_iter()
        .map(|part| format!(r"printf '%s\000' {}", quote(part)))
        .collect();
    if !last.is_empty() || commands.is_empty() {
        commands.push(format!("printf %s {}", quote(last)));
    }
    format!("{{ {}; }}", commands.join("; "))
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
