//! `ssh_config`: what the caller's own SSH would do for a name. Our own reader, because what is *not* followed must be
//! told by name and place where it applies. Text in, settings out; [`super::resolve`] makes a route of them.
//!
//! Followed, as by OpenSSH: `Host` (with `!`, `*`, `?`), `HostName` (`%h`), `User`, `Port`, `IdentityFile`,
//! `IdentitiesOnly`, `IdentityAgent`, `ProxyJump`, `HostKeyAlias`, `UserKnownHostsFile`, `GlobalKnownHostsFile`, `Include`,
//! `IgnoreUnknown` and `Match all`; the first value wins, and /etc/ssh/ssh_config comes after the caller's. Other `Match`
//! blocks are not evaluated: what they hold is told as not supported.

mod directive;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::Files;
use crate::model::outcome::Failure;
use directive::Directive;

pub use directive::{Jump, Proxy};

pub use words::{fill, glob_matches, matches, matches_list};

/// Files that include files that include files ... are refused beyond this, as by OpenSSH.
const MAX_DEPTH: usize = 16;

/// So many files are read at most.
const MAX_FILES: usize = 1000;

/// The lines of all files, in order.
#[derive(Clone, Debug, Default)]
pub struct SshConfig {
    scopes: Vec<Scope>,
    entries: Vec<Entry>,
    files: usize,
}

/// A `Host` or `Match` block, and the block that the file with it is included in.
#[derive(Clone, Debug)]
struct Scope {
    parent: Option<usize>,
    condition: Condition,
    place: Place,
}

#[derive(Clone, Debug)]
enum Condition {
    Host(Vec<String>),
    All,
    /// A `Match` that is not evaluated, in its own words.
    Match(String),
}

#[derive(Clone, Debug)]
struct Entry {
    scope: Option<usize>,
    place: Place,
    keyword: String,
    directive: Directive,
}

#[derive(Clone, Debug)]
struct Place {
    file: Arc<str>,
    line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What the files say for one name. Paths are as written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `HostName`, with `%h` still in it.
    pub hostname: Option<String>,
    /// `User`.
    pub user: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// All `IdentityFile`s, each once; `none` is one that names no file.
    pub identity_files: Vec<String>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `IdentityAgent`.
    pub identity_agent: Option<String>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// `UserKnownHostsFile`.
    pub user_known_hosts: Option<Vec<String>>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Option<Vec<String>>,
    /// `ProxyJump` or `ProxyCommand`, whichever comes first, and where.
    pub proxy: Option<(Proxy, String)>,
    /// Directives that apply and are not followed: `Ciphers (~/.ssh/config:12)`.
    pub unsupported: Vec<String>,
}

/// Where one file stands in relation to others.
struct Origin<'a> {
    files: &'a dyn Files,
    home: &'a Path,
    /// Relative paths of `Include` are below this.
    base: &'a Path,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl SshConfig {
    /// Reads `~/.ssh/config` and then `/etc/ssh/ssh_config`, each where it is there. `variable` gives environment variables,
    /// for `${NAME}`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or the first line that is wrong.
    pub fn load(
        files: &dyn Files,
        home: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut config = Self::default();
        let (own, system) = (home.join(".ssh"), Path::new("/etc/ssh"));
        for (base, name) in [(own.as_path(), "config"), (system, "ssh_config")] {
            let origin = Origin {
                files,
                home,
                base,
                variable,
            };
            config.file(&origin, &base.join(name), None, 0)?;
        }
        Ok(config)
    }

    /// What the files say for a name, as for `ssh NAME`.
    pub fn lookup(&self, name: &str) -> Settings {
        let mut lookup = Lookup::default();
        for entry in &self.entries {
            match self.applies(entry.scope, name) {
                Applies::No => {}
                Applies::Yes => lookup.take(entry),
                Applies::Unknown(scope) => lookup.skip(entry, scope),
            }
        }
        lookup.settings
    }

    fn applies(&self, scope: Option<usize>, name: &str) -> Applies<'_> {
        let mut answer = Applies::Yes;
        let mut at = scope;
        while let Some(scope) = at.and_then(|index| self.scopes.get(index)) {
            match &scope.condition {
                Condition::All => {}
                Condition::Host(patterns) => {
                    if matches_list(patterns.iter().map(String::as_str), name) != Some(true) {
                        return Applies::No;
                    }
                }
                Condition::Match(_) => answer = Applies::Unknown(scope),
            }
            at = scope.parent;
        }
        answer
    }

    /// Adds a file's lines. A file that is not there has none.
    fn file(
        &mut self,
        origin: &Origin<'_>,
        path: &Path,
        parent: Option<usize>,
        depth: usize,
    ) -> Result<(), Failure> {
        let shown: Arc<str> = shown(path, origin.home).into();
        let text = match origin.files.read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(Failure::new(format!("cannot read {shown}: {error}"))
                    .hint("make it readable for you, or move it away"));
            }
        };
        self.files += 1;
        let mut scope = parent;
        for (index, line) in text.split('\n').enumerate() {
            let place = Place {
                file: shown.clone(),
                line: index + 1,
            };
            self.line(origin, line, &place, parent, &mut scope, depth)
                .map_err(|wrong| match wrong {
                    Wrong::Here(what) => Failure::new(format!("{place}: {what}"))
                        .evidence(line.trim().to_owned())
                        .hint(format!(
                            "correct that line of {shown}; `ssh -G HOST` reads it too"
                        )),
                    Wrong::Below(failure) => failure,
                })?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        origin: &Origin<'_>,
        line: &str,
        place: &Place,
        parent: Option<usize>,
        scope: &mut Option<usize>,
        depth: usize,
    ) -> Result<(), Wrong> {
        let Some((keyword, rest)) = words::keyword(line) else {
            return Ok(());
        };
        if rest.is_empty() {
            return Err(Wrong::Here(format!("`{keyword}` has no value")));
        }
        let condition = match keyword.to_ascii_lowercase().as_str() {
            "host" => {
                let patterns = words::arguments(rest).ok_or("a quote is not closed")?;
                if patterns.is_empty() || patterns.iter().any(String::is_empty) {
                    return Err(Wrong::Here("`Host` has an empty name".to_owned()));
                }
                Condition::Host(patterns)
            }
            "match" => {
                let criteria = words::arguments(rest).ok_or("a quote is not closed")?;
                match criteria.as_slice() {
                    [only] if only.eq_ignore_ascii_case("all") => Condition::All,
                    _ => Condition::Match(criteria.join(" ")),
                }
            }
            "include" => return self.include(origin, rest, *scope, depth),
            _ => {
                let rest = words::variables(rest, origin.variable);
                let directive = directive::read(keyword, &rest)?;
                self.entries.push(Entry {
                    scope: *scope,
                    place: place.clone(),
                    keyword: keyword.to_owned(),
                    directive,
                });
                return Ok(());
            }
        };
        *scope = Some(self.scopes.len());
        self.scopes.push(Scope {
            parent,
            condition,
            place: place.clone(),
        });
        Ok(())
    }

    /// Files that do not exist are no mistake: a pattern may match none.
    fn include(
        &mut self,
        origin: &Origin<'_>,
        rest: &str,
        scope: Option<usize>,
        depth: usize,
    ) -> Result<(), Wrong> {
        let rest = words::variables(rest, origin.variable).replace("%%", "%");
        let patterns = words::arguments(&rest).ok_or("a quote is not closed")?;
        if patterns.is_empty() {
            return Err(Wrong::Here("`Include` names no file".to_owned()));
        }
        for pattern in patterns {
            let path = match tilde(&pattern, origin.home)? {
                path if path.is_absolute() => path,
                path => origin.base.join(path),
            };
            for file in origin.files.glob(&path) {
                if depth >= MAX_DEPTH {
                    return Err(Wrong::Here(
                        "files include each other too deeply".to_owned(),
                    ));
                }
                if self.files >= MAX_FILES {
                    return Err(Wrong::Here(format!(
                        "more than {MAX_FILES} files are included"
                    )));
                }
                self.file(origin, &file, scope, depth + 1)
                    .map_err(Wrong::Below)?;
            }
        }
        Ok(())
    }
}

/// Whether the lines of a block are for a name.
enum Applies<'a> {
    Yes,
    No,
    /// That depends on a `Match`.
    Unknown(&'a Scope),
}

/// What was found so far.
#[derive(Default)]
struct Lookup {
    settings: Settings,
    ignored: Option<Vec<String>>,
}

impl Lookup {
    fn take(&mut self, entry: &Entry) {
        fn first<T: Clone>(value: &mut Option<T>, found: &T) {
            value.get_or_insert_with(|| found.clone());
        }
        let settings = &mut self.settings;
        match &entry.directive {
            Directive::HostName(value) => first(&mut settings.hostname, value),
            Directive::User(value) => first(&mut settings.user, value),
            Directive::Port(value) => first(&mut settings.port, value),
            Directive::IdentityFile(value) => {
                if !settings.identity_files.contains(value) {
                    settings.identity_files.push(value.clone());
                }
            }
            Directive::IdentitiesOnly(value) => first(&mut settings.identities_only, value),
            Directive::IdentityAgent(value) => first(&mut settings.identity_agent, value),
            Directive::HostKeyAlias(value) => first(&mut settings.host_key_alias, value),
            Directive::UserKnownHostsFile(value) => first(&mut settings.user_known_hosts, value),
            Directive::GlobalKnownHostsFile(value) => {
                first(&mut settings.global_known_hosts, value);
            }
            Directive::Proxy(value) => {
                first(
                    &mut settings.proxy,
                    &(value.clone(), entry.place.to_string()),
                );
            }
            Directive::IgnoreUnknown(value) => first(&mut self.ignored, value),
            Directive::Harmless => {}
            Directive::Unsupported => self.note(entry, ""),
            Directive::Unknown => {
                let name = entry.keyword.to_ascii_lowercase();
                let patterns = self.ignored.iter().flatten().map(String::as_str);
                if matches_list(patterns, &name) != Some(true) {
                    self.note(entry, ", not known");
                }
            }
        }
    }

    /// Notes a `Match` that is not evaluated, once and only where it holds something that matters.
    fn skip(&mut self, entry: &Entry, scope: &Scope) {
        let Condition::Match(criteria) = &scope.condition else {
            return;
        };
        let note = format!("Match {criteria} ({})", scope.place);
        let matters = !matches!(
            entry.directive,
            Directive::Harmless | Directive::Unknown | Directive::IgnoreUnknown(_)
        );
        if matters && !self.settings.unsupported.contains(&note) {
            self.settings.unsupported.push(note);
        }
    }

    /// Notes a directive that is not followed, once: the first one would have won.
    fn note(&mut self, entry: &Entry, more: &str) {
        let noted = &mut self.settings.unsupported;
        let is_same = |note: &String| {
            note.split_once(" (")
                .is_some_and(|(name, _)| name.eq_ignore_ascii_case(&entry.keyword))
        };
        if !noted.iter().any(is_same) {
            noted.push(format!("{} ({}{more})", entry.keyword, entry.place));
        }
    }
}

/// What is wrong while a line is read.
enum Wrong {
    /// With the line itself.
    Here(String),
    /// In a file that it includes.
    Below(Failure),
}

impl From<&str> for Wrong {
    fn from(what: &str) -> Self {
        Self::Here(what.to_owned())
    }
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Here(what)
    }
}

/// A path with `~/` as the caller's home.
pub(super) fn tilde(path: &str, home: &Path) -> Result<PathBuf, String> {
    match path.strip_prefix('~') {
        None => Ok(PathBuf::from(path)),
        Some("") => Ok(home.to_owned()),
        Some(rest) => match rest.strip_prefix('/') {
            Some(below) => Ok(home.join(below)),
            None => Err(format!(
                "`{path}`: the home of another user is not supported, write its path"
            )),
        },
    }
}

/// A path as the caller writes it.
pub(super) fn shown(path: &Path, home: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(below) if !home.as_os_str().is_empty() => format!("~/{}", below.display()),
        _ => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests;
