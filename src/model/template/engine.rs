//! The one minijinja environment: its limits, its filters, and one rendering.

use std::io;
use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value as Jinja};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::model::mistake::Mistake;
use crate::model::value::Span;

use super::scope::{Root, Vault};
use super::{Scope, fault, kept, native};

/// Instructions of one rendering: far above any template that makes a configuration file, and well below a second.
const FUEL: u64 = 500_000;
/// Bytes of one rendered text.
const OUTPUT: usize = 16 * 1024 * 1024;

/// A template or expression and where it is written.
pub(super) struct Source<'a> {
    /// The whole text.
    pub(super) text: &'a str,
    /// The part of it that is compiled.
    pub(super) code: Range<usize>,
    /// Its place in the file.
    pub(super) span: Span,
    /// For hints.
    pub(super) scope: &'a Scope,
}

impl<'a> Source<'a> {
    pub(super) fn compiled(&self) -> &'a str {
        self.text.get(self.code.clone()).unwrap_or_default()
    }
}

/// What one rendering gave.
pub(super) enum Attempt {
    /// Text.
    Text(String),
    /// The value of a lone expression.
    Native(Json),
    /// A mistake.
    Failed(Box<Mistake>),
}

pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// Functions every template has.
pub(super) const FUNCTIONS: [&str; 3] = ["range", "dict", "secret"];

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    // Debug mode is what gives errors a byte range; what it would print of values is never shown.
    env.set_debug(true);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(100);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true);
    if let Ok(syntax) = syntax.build() {
        env.set_syntax(syntax);
    }
    // They print whatever is in scope, secrets too.
    env.remove_global("debug");
    env.remove_filter("pprint");
    // Lets a loop double a text in every round, which no fuel limit would stop in time.
    env.remove_global("namespace");
    env.add_filter("b64encode", |text: String| STANDARD.encode(text));
    env.add_filter("sha256", |text: String| hex(&Sha256::digest(text)));
    env.add_filter("to_json", |value: &Jinja| to_json(value));
    env.add_filter("tojson", |value: &Jinja| to_json(value));
    env.set_formatter(|out, _, value| {
        let written = match value.kind() {
            ValueKind::Undefined => Ok(()),
            ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::None => return Err(no_value()),
            ValueKind::String => out.write_str(value.as_str().unwrap_or_default()),
            ValueKind::Number => out.write_fmt(format_args!("{value}")),
            _ => out.write_str(&to_json(value)?),
        };
        written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the text is too long"))
    });
    env
}

fn no_value() -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        "the expression gives no value (none)",
    )
}

fn to_json(value: &Jinja) -> Result<String, Error> {
    Ok(native::json(value, true)?.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Renders a text.
pub(super) fn text(source: &Source<'_>, root: &Root, vault: &Vault) -> Attempt {
    let mut out = Limited(Vec::new());
    let done = kept::with_template(source.compiled(), |template| {
        template
            .render_captured_to(root.context(), &mut out)
            .map(|_| ())
    });
    let failed = |error: &Error| Attempt::Failed(Box::new(fault::mistake(error, source, vault)));
    match done.map(|()| String::from_utf8(out.0)) {
        Ok(Ok(text)) => Attempt::Text(text),
        Ok(Err(_)) => failed(&Error::new(
            ErrorKind::WriteFailure,
            "the result is not UTF-8",
        )),
        Err(error) => failed(&error),
    }
}

/// Evaluates the expression of a source.
pub(super) fn expression(source: &Source<'_>, root: &Root, vault: &Vault) -> Attempt {
    let result = kept::with_expression(source.compiled(), |expression| {
        native::json(&expression.eval(root.context())?, false)
    });
    match result {
        Ok(json) => Attempt::Native(json),
        Err(error) => Attempt::Failed(Box::new(fault::mistake(&error, source, vault))),
    }
}

/// A writer that refuses to grow beyond [`OUTPUT`].
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > OUTPUT {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
