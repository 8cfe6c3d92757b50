//! `hmco-boot secrets set`: one value, new or in place of another. It comes from the terminal without echo, from standard
//! input, from a file or from chance; never from an argument, which others on the machine could read.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the file that the user names"
)]

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use serde_json::json;
use zeroize::Zeroizing;

use super::identity::{IdentityArgs, refused};
use super::place::{self, Opened, Place, failed, names_of};
use super::prompt;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::model::outcome::ExitCode;
use crate::report::text::{and_list, count};
use crate::secrets::SecretValue;
use crate::secrets::generate::{self, Sort, WEAK_BITS};
use crate::secrets::name::SecretName;
use crate::secrets::store::{Change, Mode};

/// Bigger values are no secrets but files.
const LIMIT: u64 = 64 << 20;

/// Shorter values are not hidden everywhere they could show: they would hide half of every text.
pub const SHORT: usize = 8;

/// What `--generate` makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Kind {
    /// Characters of a set (see --charset)
    Password,
    /// Bytes as URL-safe base64
    Token,
    /// Bytes as hex
    Hex,
    /// Bytes as base64
    Base64,
    /// Bytes as they are
    Bytes,
    /// An SSH key pair; the public key is printed
    SshEd25519,
}

/// Arguments of `secrets set`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Where standard input is no terminal, the value is read from it: one line without its newline, several lines exactly.

Examples:
  hmco-boot secrets set dns/api-key                        typed twice, without echo
  hmco-boot secrets set k3s/token --generate=token
  hmco-boot secrets set db/password --generate --length 24 --charset safe
  hmco-boot secrets set tls/key --from-file key.pem
  pass show dns | hmco-boot secrets set dns/api-key")]
pub struct Args {
    /// Its name: FILE/KEY or FILE/TABLE/.../KEY
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Make it at random
    #[arg(long, value_name = "KIND", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "password", conflicts_with = "from_file")]
    pub generate: Option<Kind>,
    /// Of a password, how many characters; of the others, how many bytes; by default 32
    #[arg(long, value_name = "N", requires = "generate")]
    pub length: Option<usize>,
    /// Of a password: alnum, safe (nothing that is taken for something else), lower, digits, symbols, or chars:ABC...
    #[arg(long, value_name = "SET", requires = "generate")]
    pub charset: Option<String>,
    /// Take it from a file, byte for byte; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub from_file: Option<PathBuf>,
}

/// Sets it.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let name = place::name(&args.name)?;
    let place = Place::of(context)?;
    // Whether it can be set is known before somebody types it.
    let Opened {
        mut tree,
        mut approved,
    } = place.open(Mode::Write, who, context)?;
    let readers: Vec<_> = tree
        .recipients()
        .readers_of(&name)
        .into_iter()
        .cloned()
        .collect();
    place::approve(&readers, &mut approved, &place, context)?;
    let (value, public) = value(args, &name, context)?;
    if value.is_empty() {
        return Err(CliError::usage("an empty value is no secret")
            .hint("give it on standard input, or type it"));
    }
    place::hide(&name, &value, context);
    let replaced = tree.entries().iter().any(|entry| entry.name == name);
    let length = value.len();
    let short = value.text().map_or(length, |text| text.chars().count()) < SHORT;
    let is_text = value.is_text();
    tree.commit(
        Change::new().set(name.clone(), value),
        &approved,
        place::today(),
    )
    .map_err(|failure| failed(&failure))?;
    let readers = names_of(&readers.iter().collect::<Vec<_>>());
    if context.output.format() == Format::Json {
        let row = json!({
            "name": name.as_str(), "replaced": replaced, "bytes": length, "readers": readers, "public_key": public,
        });
        context.output.json("secret_set", &row)?;
    } else {
        let verb = if replaced { "replaced" } else { "set" };
        let size = if is_text {
            count(length, "byte", "bytes")
        } else {
            format!("binary, {}", count(length, "byte", "bytes"))
        };
        context.output.talk(&format!(
            "{verb} {name} ({size}); {} can read it\n",
            and_list(&readers)
        ));
        if let Some(public) = public {
            context.output.data(&format!("{public}\n"))?;
        }
    }
    if short {
        context.output.warn(
            &format!("{name} has fewer than {SHORT} characters: it can be guessed, and is not hidden everywhere in outputs"),
            &format!("set a longer one: hmco-boot secrets set {name} --generate"),
        );
    }
    Ok(ExitCode::Done)
}

/// The value, and what may be known of it.
fn value(
    args: &Args,
    name: &SecretName,
    context: &mut Context<'_>,
) -> Result<(SecretValue, Option<String>), CliError> {
    if let Some(kind) = args.generate {
        let made = generate::generate(sort(kind), args.length, args.charset.as_deref());
        let made = made.map_err(|failure| refused(&failure))?;
        if made.bits < WEAK_BITS {
            context.output.warn(
                &format!(
                    "{name} has only {} bits of chance: it can be tried out",
                    made.bits
                ),
                "make it longer, or choose from more characters",
            );
        }
        return Ok((made.value, made.public));
    }
    let value = match &args.from_file {
        Some(path) if path.as_os_str() == "-" => from_stdin()?,
        Some(path) => from_file(&context.cwd.join(path))?,
        None if std::io::stdin().is_terminal() => typed(name)?,
        None => {
            let mut bytes = from_stdin()?;
            let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
            if newlines == 1 && bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            bytes
        }
    };
    Ok((SecretValue::from_zeroizing(value), None))
}

fn sort(kind: Kind) -> Sort {
    match kind {
        Kind::Password => Sort::Password,
        Kind::Token => Sort::Token,
        Kind::Hex => Sort::Hex,
        Kind::Base64 => Sort::Base64,
        Kind::Bytes => Sort::Bytes,
        Kind::SshEd25519 => Sort::SshEd25519,
    }
}

fn typed(name: &SecretName) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let ask = |prompt: String| prompt::hidden(&prompt).map_err(|failure| refused(&failure));
    let first = ask(format!("Value of {name}: "))?;
    let second = ask("The same again: ".to_owned())?;
    if *first != *second {
        return Err(CliError::usage("the two are not the same: nothing was set").hint("try again"));
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}

fn from_stdin() -> Result<Zeroizing<Vec<u8>>, CliError> {
    read(std::io::stdin().lock(), 0, "standard input")
}

fn from_file(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let shown = path.display().to_string();
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, file) = opened.map_err(|error| {
        CliError::usage(format!("cannot read {shown}"))
            .caused_by(&error)
            .hint("name a file that this user may read")
    })?;
    read(file, length, &shown)
}

/// All of it, in a buffer that is zeroed. One that grows leaves copies behind, so it begins big enough for most.
fn read(mut from: impl Read, length: u64, what: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::failed(format!("cannot read {what}"))
            .caused_by(&error)
            .hint("nothing was set: try again")
    };
    let room = usize::try_from(length.min(LIMIT))
        .unwrap_or(0)
        .max(64 << 10);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    (&mut from)
        .take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(CliError::usage(format!("{what} is bigger than 64 MiB"))
            .hint("encrypt such a file with age itself, and keep only its key here"));
    }
    Ok(bytes)
}
