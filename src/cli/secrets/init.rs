//! `hmco-boot secrets init`: the store, an identity of this user, and a recovery key for a drawer. What is there is left
//! alone. The recovery key is kept by somebody before anything is encrypted to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use zeroize::Zeroizing;

use super::identity::{IdentityArgs, config_folder, refused};
use super::place::{self, FOLDER, failed};
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::cli::{Context, project};
use crate::model::outcome::{ExitCode, Failure};
use crate::secrets::approved::Approved;
use crate::secrets::identity::{self, Identities};
use crate::secrets::manifest;
use crate::secrets::recipients::{Recipient, RecipientKey, Recipients, is_name};
use crate::secrets::store::Tree;

/// Arguments of `secrets init`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "\
Makes secrets/ with the list of readers: you, by your identity (~/.config/hmco-boot/identity.txt, made where it is
missing), and a recovery key. The private recovery key is not kept here: print it, or put the file on a stick, and lock it
away. With it everything can be read when all other keys are lost.

Examples:
  hmco-boot secrets init
  hmco-boot secrets init --recovery-out /media/stick/recovery.txt
  hmco-boot secrets init --identity ~/.ssh/id_ed25519")]
pub struct Args {
    /// Your name among the readers; by default your login name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write the private recovery key into this new file, outside of the project
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub recovery_out: Option<PathBuf>,
}

/// What was made, and what was there.
#[derive(Debug, Default, Serialize)]
pub struct Made {
    /// Files that were made.
    pub made: Vec<String>,
    /// Files that are as they were.
    pub left_alone: Vec<String>,
    /// The private recovery key, to be locked away; `None` where it was shown, or made earlier.
    pub recovery: Option<String>,
    /// This user's public key.
    pub public_key: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// This user reads the store.
    pub reads: bool,
}

/// Makes what is missing.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let root = project::root(context).ok_or_else(|| {
        CliError::usage("there is no project here: no folder `inventory/`")
            .hint("make one, with its secrets: hmco-boot init")
    })?;
    let made = make(&root, args, who, context)?;
    if context.output.format() == Format::Json {
        context.output.json("secrets_init", &made)?;
        return Ok(ExitCode::Done);
    }
    let mut text = String::new();
    for file in &made.made {
        text.push_str(&format!("made        {file}\n"));
    }
    for file in &made.left_alone {
        text.push_str(&format!("left alone  {file} (it is there)\n"));
    }
    context.output.data(&text)?;
    tell(&made, context);
    Ok(ExitCode::Done)
}

/// What a person must know of what was made.
pub fn tell(made: &Made, context: &mut Context<'_>) {
    if let Some(file) = &made.recovery {
        context.output.warn(
            &format!("{file} is the private recovery key: whoever has it reads every secret"),
            "move it off this machine (a stick, a printed page), and lock it away; without it, a lost identity means lost secrets",
        );
    }
    if !made.reads {
        context.output.warn(
            "this identity is not among the readers of the secrets",
            &format!(
                "let a reader add it: hmco-boot secrets recipients add NAME {}",
                made.public_key
            ),
        );
    }
}

/// The same, for `hmco-boot init`.
pub fn make(
    root: &Path,
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<Made, CliError> {
    let mut made = Made::default();
    let recovery_out = args
        .recovery_out
        .as_ref()
        .map(|path| context.cwd.join(path));
    if let Some(path) = &recovery_out {
        expect_outside(path, root)?;
    }
    let identities = own_identity(who, &mut made, context)?;
    let Some(own) = identities.found().first() else {
        return Err(CliError::failed("there is no identity").hint("name one with --identity FILE"));
    };
    made.public_key = own.public.to_string();
    made.fingerprint = own.public.fingerprint().to_string();
    let location = place::location(context, root)?;
    let list = format!("{FOLDER}/{}", crate::secrets::recipients::FILE);
    if location.tree.join(manifest::FILE).exists() {
        made.left_alone.push(list);
        let readers =
            place::Place::at(root.to_path_buf(), context).and_then(|place| place.recipients());
        made.reads = readers?.by_fingerprint(own.public.fingerprint()).is_some();
        return Ok(made);
    }
    let recovery = recovery_key(recovery_out.as_deref(), root, &mut made, context)?;
    let reader = |name: String, key: RecipientKey, recovery: bool| Recipient {
        name,
        key,
        since: place::today().to_string(),
        groups: Vec::new(),
        recovery,
    };
    let readers = [
        reader(own_name(args, context)?, own.public.clone(), false),
        reader("recovery".into(), recovery, true),
    ];
    let recipients = Recipients::first(&readers).map_err(|failure| failed(&failure))?;
    let mut approved = Approved::none();
    readers.iter().for_each(|reader| approved.approve(reader));
    let tree = Tree::create(&location, &recipients, Arc::new(identities), &approved);
    let tree = tree.map_err(|failure| failed(&failure))?;
    approved
        .save(&location.state, tree.id())
        .map_err(|failure| failed(&failure))?;
    made.made.push(list);
    made.made.push(format!("{FOLDER}/{}", manifest::FILE));
    made.reads = true;
    Ok(made)
}

/// The identity of this user: a named one, the one in the folder of configuration, or a new one there. A key for SSH is
/// not taken unasked.
fn own_identity(
    who: &IdentityArgs,
    made: &mut Made,
    context: &Context<'_>,
) -> Result<Identities, CliError> {
    let mut env = who.env(context);
    env.home = None;
    let mut asking = super::prompt::Asking::new(context.env);
    let found = Identities::find(&env, None, &mut asking).map_err(|failure| refused(&failure))?;
    if !found.found().is_empty() {
        return Ok(found);
    }
    let path = config_folder(context)?.join(identity::FILE);
    let (text, _) = identity::generate(
        "identity of hmco-boot: opens the secrets it is a reader of; keep it to yourself",
    );
    write(&path, &text)?;
    made.made.push(at_home(&path, context));
    env.named = vec![path];
    Identities::find(&env, None, &mut asking).map_err(|failure| failed(&failure))
}

/// The name of this user among the readers.
fn own_name(args: &Args, context: &Context<'_>) -> Result<String, CliError> {
    if let Some(name) = &args.name {
        if !is_name(name) || name == "recovery" {
            return Err(CliError::usage(format!("{name:?} cannot name a reader"))
                .hint("use letters, digits and ._@-; `recovery` is taken"));
        }
        return Ok(name.clone());
    }
    let login = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| context.env.var(name)?.into_string().ok());
    Ok(login
        .filter(|name| is_name(name) && name != "recovery")
        .unwrap_or_else(|| "me".to_owned()))
}

/// A new recovery key, whose private half somebody has before it is used: in the file they named, on their screen, or,
/// where nobody watches, in a file beside the identity.
fn recovery_key(
    out: Option<&Path>,
    root: &Path,
    made: &mut Made,
    context: &mut Context<'_>,
) -> Result<RecipientKey, CliError> {
    let folder = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let project = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let about = format!(
        "recovery key for the secrets of {project}, made {}: keep it offline",
        place::today()
    );
    let (text, public) = identity::generate(&about);
    if let Some(path) = out {
        write(path, &text)?;
        made.recovery = Some(at_home(path, context));
        return Ok(public);
    }
    if context.output.interactive() && context.output.format() != Format::Json {
        show(&text, context)?;
        return Ok(public);
    }
    let folder = config_folder(context)?;
    let names = (0..1000).map(|number| match number {
        0 => format!("recovery-{project}.txt"),
        number => format!("recovery-{project}-{number}.txt"),
    });
    for name in names {
        let path = folder.join(name);
        if !path.exists() {
            write(&path, &text)?;
            made.recovery = Some(at_home(&path, context));
            return Ok(public);
        }
    }
    Err(CliError::usage("there is no place for the recovery key")
        .hint("name one with --recovery-out FILE"))
}

/// Shows the key, once, and waits until somebody says that they have it.
fn show(text: &Zeroizing<String>, context: &mut Context<'_>) -> Result<(), CliError> {
    context.output.talk("\nThis is the private recovery key. Whoever has it reads every secret; without it, a lost identity means lost secrets.\n\
         It is shown only now. Print it or write it down, and lock it away:\n\n");
    context.output.talk_secret(text);
    context.output.talk("\n");
    if context.output.confirm("Do you have it?") {
        return Ok(());
    }
    Err(
        CliError::failed("no store was made: nobody has its recovery key").hint(
            "begin again, or have it written to a file: hmco-boot secrets init --recovery-out FILE",
        ),
    )
}

fn expect_outside(path: &Path, root: &Path) -> Result<(), CliError> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = folder.canonicalize().map_err(|error| {
        CliError::usage(format!("there is no folder {}", folder.display()))
            .caused_by(&error)
            .hint("name a file in a folder that is there: --recovery-out FILE")
    })?;
    if folder.starts_with(&root) {
        return Err(CliError::usage(
            "the recovery key may not lie in the project: it would end up in git",
        )
        .hint("name a file elsewhere, best on another medium: --recovery-out FILE"));
    }
    Ok(())
}

/// A path as a person writes it.
fn at_home(path: &Path, context: &Context<'_>) -> String {
    let home = context.env.var("HOME").map(PathBuf::from);
    let below = home.as_ref().and_then(|home| path.strip_prefix(home).ok());
    match below {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

/// Writes a private key into a new file.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    identity::write_new(path, text).map_err(|error| {
        let failure = Failure::new(format!("cannot write {}: {error}", path.display()));
        let hint = if error.kind() == std::io::ErrorKind::AlreadyExists {
            "it is there already and is not written over: name another file, or move it away"
        } else {
            "name a folder that this user may write to"
        };
        CliError::from_failure(Kind::Failed, &failure.hint(hint))
    })
}
