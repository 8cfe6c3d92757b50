//! `hmco-boot init`: the first files of a project. It never overwrites anything: a file that is there is left alone and
//! said to be, and where there is an inventory already, there is a project already.

#![expect(
    clippy::disallowed_methods,
    reason = "looks into the folder that becomes a project"
)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::CliError;
use super::files::write_new;
use super::output::Format;
use super::paths::shown;
use super::secrets::identity::IdentityArgs;
use super::{Context, secrets};
use crate::config::pins;
use crate::model::outcome::ExitCode;
use crate::model::shell::quote;

/// Arguments of `init`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Makes inventory/homelab.toml (one node: this machine, in a sandbox), playbooks/hello.toml, .gitignore and
hmco-boot.lock (which K3s is fetched, and from where); and secrets/, with an identity of yours
(~/.config/hmco-boot/identity.txt, where it is missing) and a recovery key to lock away (see `hmco-boot secrets init --help`).

Examples:
  hmco-boot init              here
  hmco-boot init homelab      in a new folder")]
pub struct Args {
    /// The project's folder; made where it is missing; by default the one you are in (or --project)
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Write the private recovery key of the secrets into this new file, outside of the project
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub recovery_out: Option<PathBuf>,
}

const INVENTORY: &str = "inventory/homelab.toml";
const HELLO: &str = "playbooks/hello.toml";
const GITIGNORE: &str = ".gitignore";

/// What was done with each file.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The project's folder.
    project: String,
    /// Files that were made.
    made: Vec<String>,
    /// Files that are as they were, and why.
    left_alone: Vec<Left>,
    /// The public key of this user, which reads the secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// Where the private recovery key is, to be locked away.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
}

#[derive(Debug, Serialize)]
struct Left {
    file: String,
    why: String,
}

/// Makes the files.
pub fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let dir = match args.dir.as_ref().or(context.globals.project.as_ref()) {
        Some(dir) => context.cwd.join(dir),
        None => context.cwd.clone(),
    };
    let mut report = Report {
        project: shown(&dir, &context.cwd),
        ..Report::default()
    };
    if dir.exists() && !dir.is_dir() {
        let what = format!("{} is not a folder", report.project);
        return Err(CliError::usage(what).hint("name a folder: hmco-boot init DIR"));
    }
    let inventories = existing_inventories(&dir)?;
    if let Some(file) = inventories.first() {
        let why = format!("inventory/{file} is there");
        for name in [HELLO, INVENTORY] {
            let why = if dir.join(name).exists() {
                "it is there".to_owned()
            } else {
                why.clone()
            };
            report.left_alone.push(Left {
                file: name.to_owned(),
                why,
            });
        }
    } else {
        report.make(&dir, HELLO, include_str!("hello.toml"))?;
    }
    report.make(&dir, GITIGNORE, include_str!("gitignore"))?;
    report.make(&dir, pins::FILE, include_str!("hmco-boot.lock"))?;
    if inventories.is_empty() {
        // Last: a folder becomes a project by its inventory, so an `init` that was cut off can simply be repeated.
        let text = include_str!("homelab.toml");
        let text = text.replace("\"homelab\"", &format!("\"{}\"", cluster_name(&dir)));
        report.make(&dir, INVENTORY, &text)?;
    }
    let secrets = make_secrets(args, &dir, &mut report, context);
    show(&report, &dir, context)?;
    if let Ok(made) = &secrets
        && context.output.format() != Format::Json
    {
        secrets::init::tell(made, context);
    }
    secrets.map(|_| ExitCode::Done)
}

/// The store of secrets. Where it cannot be made, the project is one all the same, and the command says what is missing.
fn make_secrets(
    args: &Args,
    dir: &Path,
    report: &mut Report,
    context: &mut Context<'_>,
) -> Result<secrets::init::Made, CliError> {
    let wish = secrets::init::Args {
        recovery_out: args.recovery_out.clone(),
        ..secrets::init::Args::default()
    };
    let made = secrets::init::make(dir, &wish, &IdentityArgs::default(), context)?;
    report.made.extend(made.made.iter().cloned());
    for file in &made.left_alone {
        report.left_alone.push(Left {
            file: file.clone(),
            why: "it is there".to_owned(),
        });
    }
    report.public_key = Some(made.public_key.clone());
    report.recovery.clone_from(&made.recovery);
    Ok(made)
}

impl Report {
    fn make(&mut self, dir: &Path, name: &str, text: &str) -> Result<(), CliError> {
        let path = dir.join(name);
        match write_new(&path, text.as_bytes()) {
            Ok(()) => self.made.push(name.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.exists() => {
                self.left_alone.push(Left {
                    file: name.to_owned(),
                    why: "it is there".to_owned(),
                });
            }
            Err(error) => {
                return Err(CliError::failed(format!("cannot make {}", path.display()))
                    .caused_by(&error)
                    .hint("name a folder you may write to: hmco-boot init DIR"));
            }
        }
        Ok(())
    }
}

/// The TOML files in `inventory/`, by name.
fn existing_inventories(dir: &Path) -> Result<Vec<String>, CliError> {
    let folder = dir.join("inventory");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(
                CliError::failed(format!("cannot read {}", folder.display()))
                    .caused_by(&error)
                    .hint("name a folder for the project: hmco-boot init DIR"),
            );
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    Ok(names)
}

/// A name for the cluster: the folder's, so that two projects do not share their records; `homelab` where that is no
/// name.
fn cluster_name(dir: &Path) -> String {
    // What is there by now can be resolved, so `.` and `..` have names too.
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let name: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() || name.len() > 63 {
        "homelab".to_owned()
    } else {
        name.to_owned()
    }
}

fn show(report: &Report, dir: &Path, context: &mut Context<'_>) -> Result<(), CliError> {
    if context.output.format() == Format::Json {
        return context.output.json("init", report);
    }
    let mut text = String::new();
    for name in &report.made {
        text.push_str(&format!("made        {name}\n"));
    }
    for left in &report.left_alone {
        text.push_str(&format!("left alone  {} ({})\n", left.file, left.why));
    }
    context.output.data(&text)?;
    let mut next = String::from("\nNext:\n");
    if report.project != "." {
        next.push_str(&format!("  cd {}\n", quote(&report.project)));
    }
    next.push_str("  hmco-boot check\n");
    let has_hello = dir.join(HELLO).exists();
    next.push_str(if has_hello {
        "  hmco-boot plan hello\n  hmco-boot run hello\n"
    } else {
        "  hmco-boot playbooks list\n"
    });
    context.output.talk(&next);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_the_cluster_where_it_can() {
        for (folder, name) in [
            ("/x/Home Lab_2", "home-lab-2"),
            ("/x/lab", "lab"),
            ("/x/---", "homelab"),
            ("/x/Ünter", "nter"),
            ("/", "homelab"),
        ] {
            assert_eq!(cluster_name(Path::new(folder)), name, "{folder}");
        }
    }

    #[test]
    fn the_marked_place_of_the_inventory_is_its_cluster_name_alone() {
        assert_eq!(
            include_str!("homelab.toml").matches("\"homelab\"").count(),
            1
        );
    }
}
