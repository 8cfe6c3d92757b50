//! Assembles a project: reads each file, makes the model of it, and gathers what is wrong.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::files::{FileError, Files};
use super::lower::Lowering;
use super::pins;
use super::project::{Loaded, Options, Origin};
use super::{check, lower, syntax};
use crate::model::mistake::{Mistake, Severity, nearest};
use crate::model::value::{FileId, Span, Value};
use crate::steps::registry::KindInfo;

/// An error that belongs to no file.
pub(super) fn general(code: &'static str, message: String, hint: impl Into<String>) -> Mistake {
    Mistake {
        code,
        severity: Severity::Error,
        message,
        span: None,
        label: String::new(),
        related: Vec::new(),
        hint: Some(hint.into()),
    }
}

/// A load under way.
pub(super) struct Loader<'a> {
    files: &'a dyn Files,
    kinds: &'a [KindInfo],
    loaded: Loaded,
    schemas: HashMap<&'static str, schemars::Schema>,
    /// Nothing of the inventory's nodes and groups is missing.
    inventory_whole: bool,
    /// Playbooks of which parts may be missing.
    incomplete: BTreeSet<String>,
}

impl<'a> Loader<'a> {
    /// Nothing loaded yet.
    pub(super) fn new(files: &'a dyn Files, kinds: &'a [KindInfo]) -> Self {
        Self {
            files,
            kinds,
            loaded: Loaded::default(),
            schemas: HashMap::new(),
            inventory_whole: false,
            incomplete: BTreeSet::new(),
        }
    }

    /// Loads everything.
    pub(super) fn load(
        mut self,
        root: Option<PathBuf>,
        options: &Options,
        shipped: &[(&str, &[u8])],
    ) -> Loaded {
        self.loaded.project.root = root;
        self.inventory(options);
        self.pins();
        self.own_playbooks();
        let first_shipped = self.loaded.sources.iter().count();
        self.shipped_playbooks(shipped);
        self.finish(options, first_shipped)
    }

    fn inventory(&mut self, options: &Options) {
        let (files, errors) = self.files.list("inventory");
        self.listing_errors(errors);
        let found: Vec<String> = files
            .into_iter()
            .filter(|path| path.ends_with(".toml"))
            .collect();
        self.loaded.project.inventories.clone_from(&found);
        let chosen = match (&options.inventory, found.as_slice()) {
            (Some(given), _) => given.clone(),
            (None, [only]) => only.clone(),
            (None, _) if options.inventory_optional => return,
            (None, []) => {
                return self.loaded.mistakes.push(general(
                    "no-inventory",
                    "the project has no inventory: there is no `inventory/*.toml`".to_owned(),
                    "write one, or let `hmco-boot init` make a first one",
                ));
            }
            (None, several) => {
                let names: Vec<&str> = several.iter().map(String::as_str).collect();
                return self.loaded.mistakes.push(general(
                    "several-inventories",
                    format!(
                        "the project has several inventories: {}",
                        lower::listed(&names)
                    ),
                    format!(
                        "choose one with `-i FILE`, as in `-i {}`",
                        names.first().unwrap_or(&"")
                    ),
                ));
            }
        };
        let Some((file, text)) = self.text(&chosen, &chosen, &found) else {
            return;
        };
        let (((inventory, all_nodes), own_pins), whole) = self.lower(file, &text, |low, root| {
            let (pins, mistakes) = pins::of_inventory(root);
            let lowered = lower::inventory::inventory(low, &chosen, root);
            low.mistakes.extend(mistakes);
            (lowered, pins)
        });
        self.inventory_whole = all_nodes && whole;
        self.loaded.project.inventory = Some(inventory);
        self.loaded.project.own_pins = own_pins;
    }

    fn pins(&mut self) {
        if self.files.read(pins::FILE) == Err(FileError::Missing) {
            return;
        }
        if let Some((file, text)) = self.text(pins::FILE, pins::FILE, &[]) {
            let (pins, mistakes) = pins::read(file, &text);
            self.loaded.project.pins = pins;
            self.loaded.mistakes.extend(mistakes);
        }
    }

    fn own_playbooks(&mut self) {
        let (files, errors) = self.files.list("playbooks");
        self.listing_errors(errors);
        for path in files.iter().filter(|path| path.ends_with(".toml")) {
            let name = path.strip_prefix("playbooks/").unwrap_or(path);
            self.loaded
                .project
                .origins
                .insert(name.to_owned(), Origin::Own);
            match self.text(path, path, &[]) {
                Some((file, text)) => self.playbook(name, file, &text),
                None => {
                    self.incomplete.insert(name.to_owned());
                }
            }
        }
    }

    fn shipped_playbooks(&mut self, shipped: &[(&str, &[u8])]) {
        for (path, bytes) in shipped {
            if let Some(origin) = self.loaded.project.origins.get_mut(*path) {
                *origin = Origin::OwnInsteadOfShipped;
                continue;
            }
            self.loaded
                .project
                .origins
                .insert((*path).to_owned(), Origin::Shipped);
            let text = String::from_utf8_lossy(bytes).into_owned();
            let name = format!("shipped:playbooks/{path}");
            let file = self.loaded.sources.add(name, text.as_str());
            self.playbook(path, file, &text);
        }
    }

    fn playbook(&mut self, name: &str, file: FileId, text: &str) {
        let (lowered, whole) = self.lower(file, text, |low, root| {
            lower::playbook::playbook(low, name, root)
        });
        if lowered.incomplete || !whole {
            self.incomplete.insert(name.to_owned());
        }
        self.loaded
            .project
            .playbooks
            .insert(name.to_owned(), lowered.playbook);
    }

    /// Parses and lowers a text. Where its syntax was not understood (`false`), keys may seem to be missing or in the
    /// wrong table, so then only the syntax is told.
    fn lower<T>(
        &mut self,
        file: FileId,
        text: &str,
        lower: impl FnOnce(&mut Lowering<'_>, &Value) -> T,
    ) -> (T, bool) {
        let parsed = syntax::parse(file, text);
        let mut low = Lowering::new(&self.loaded.sources, self.kinds);
        low.schemas = std::mem::take(&mut self.schemas);
        let lowered = lower(&mut low, &parsed.root);
        self.schemas = low.schemas;
        let found = low.mistakes;
        self.loaded.mistakes.extend(parsed.mistakes);
        if !parsed.broken {
            self.loaded.mistakes.extend(found);
        }
        (lowered, !parsed.broken)
    }

    /// Reads a file and makes it a source. A file that cannot be read is an empty source, so that the mistake can name it.
    fn text(&mut self, path: &str, name: &str, others: &[String]) -> Option<(FileId, String)> {
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let mistake = self.unreadable(name, &error, others);
                self.loaded.mistakes.push(mistake);
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some((self.loaded.sources.add(name, text.as_str()), text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                // Up to the fault the lossy text is the same; the fault itself is one replacement character.
                let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let file = self.loaded.sources.add(name, lossy);
                let mistake = Mistake::error(
                    "not-utf8",
                    Span::new(file, at..at + '\u{fffd}'.len_utf8()),
                    format!("{name} is not UTF-8: the byte at offset {at} belongs to no character"),
                )
                .label("here")
                .hint("save the file as UTF-8");
                self.loaded.mistakes.push(mistake);
                None
            }
        }
    }

    fn unreadable(&mut self, name: &str, error: &FileError, others: &[String]) -> Mistake {
        let (code, hint) = match error {
            FileError::Missing => {
                let near = nearest(name, others.iter().map(String::as_str));
                let hint = match near {
                    Some(near) => format!("did you mean `{near}` of the project?"),
                    None => "check the path; it is looked for in the folder you are in".to_owned(),
                };
                ("missing-file", hint)
            }
            FileError::SymlinkLoop => ("symlink-loop", "remove one of the links".to_owned()),
            FileError::NotAFile => ("not-a-file", "put a regular file there, or remove it".to_owned()),
            FileError::TooLarge(_) => (
                "too-large",
                "split it into several playbooks, or keep data out of it: files that are copied to nodes go into a \
                 folder beside it"
                    .to_owned(),
            ),
            FileError::Io(_) => ("unreadable", "check that this user may read it".to_owned()),
        };
        let file = self.loaded.sources.add(name, "");
        Mistake::error(
            code,
            Span::new(file, 0..0),
            format!("{name} cannot be read: {error}"),
        )
        .hint(hint)
    }

    fn listing_errors(&mut self, errors: Vec<(String, FileError)>) {
        for (path, error) in errors {
            let mistake = self.unreadable(&path, &error, &[]);
            self.loaded.mistakes.push(mistake);
        }
    }

    fn finish(mut self, options: &Options, first_shipped: usize) -> Loaded {
        let input = check::Input {
            project: &self.loaded.project,
            sources: &self.loaded.sources,
            kinds: self.kinds,
            inventory_whole: self.inventory_whole,
            incomplete: &self.incomplete,
        };
        let found = check::project(&input, options.playbook.as_deref());
        let mut mistakes = std::mem::take(&mut self.loaded.mistakes);
        mistakes.extend(found);
        let is_shipped =
            |span: Span| usize::try_from(span.file.0).is_ok_and(|file| file >= first_shipped);
        mistakes.retain(|mistake| {
            options.lint_shipped
                || mistake.severity == Severity::Error
                || !mistake.span.is_some_and(is_shipped)
        });
        for mistake in &mut mistakes {
            let related = mistake.related.iter_mut().map(|(span, _)| span);
            for span in mistake.span.iter_mut().chain(related) {
                *span = self.loaded.sources.whole_characters(*span);
            }
        }
        self.loaded.mistakes = sorted(mistakes);
        self.loaded
    }
}

/// By file and place, errors first where they share one, each only once.
fn sorted(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort_by(|a, b| {
        (a.span, a.severity, a.code, &a.message).cmp(&(b.span, b.severity, b.code, &b.message))
    });
    mistakes.dedup();
    mistakes
}
