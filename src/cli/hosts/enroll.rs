//! `hmco-boot hosts enroll`: installs a public key on nodes, once by password, and proves that it lets in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::trust::{self, Place};
use super::{access, choose, pin};
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::cli::{Context, files, reach};
use crate::model::id::NodeName;
use crate::model::inventory::{Connection, Node};
use crate::model::outcome::{ExitCode, Failure};
use crate::transport::ssh::enroll::{Installed, install};
use crate::transport::ssh::resolve::Resolver;
use crate::transport::ssh::route::{Password, Route};
use crate::transport::ssh::{self, Access};
use crate::transport::{HostError, HostErrorKind};

/// Arguments of `hosts enroll`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Adds the key to ~/.ssh/authorized_keys of the user that hmco-boot logs in as, and then logs in with
it. A node that lets the key in already is left alone, so it can be said again. Host keys are pinned
first, as by `hosts pin`: a password is never sent to a machine that is not known.

Examples:
  hmco-boot hosts enroll all
  hmco-boot hosts enroll pi5-01 --key ~/.ssh/lab.pub")]
pub struct Args {
    /// Selector of the nodes
    #[arg(value_name = "SEL")]
    pub selector: String,
    /// The public key; by default the one beside the node's `identity`
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Pin host keys that are not known without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// One node's part.
#[derive(Clone)]
struct Work {
    node: NodeName,
    /// As everything else goes there, but with the wanted key only.
    route: Route,
    /// The line for authorized_keys.
    line: String,
}

/// What became of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    /// The key lets in already.
    Before,
    /// It was installed and lets in.
    Now,
}

/// Enrolls.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let mut chosen = choose(Some(&args.selector), context)?;
    let nodes: Vec<Node> = chosen.by_ssh()?.into_iter().cloned().collect();
    let resolver = super::resolver(&chosen.inventory, &chosen.root, context)?;
    let unknown: Vec<Place> = nodes
        .iter()
        .map(|node| Place::Node(node.name.clone()))
        .filter(|place| !trust::is_trusted(place, &chosen.inventory, &resolver))
        .collect();
    let mut codes = vec![ExitCode::Done];
    if !unknown.is_empty() {
        let how = pin::How {
            yes: args.yes,
            replace: false,
            from_known_hosts: false,
        };
        let pinned = pin::pin(&mut chosen, &unknown, how, context).await?;
        codes.push(pinned.code);
    }
    let resolver = super::resolver(&chosen.inventory, &chosen.root, context)?;
    let mut work = Vec::new();
    for node in &nodes {
        let place = Place::Node(node.name.clone());
        // Told by the pinning.
        if !trust::is_trusted(&place, &chosen.inventory, &resolver) {
            codes.push(ExitCode::Failed);
            continue;
        }
        let node = chosen.inventory.node(&node.name).unwrap_or(node);
        work.push(prepare(node, &resolver, args, context)?);
    }
    codes.extend(enroll(work, args, context).await?);
    Ok(ExitCode::strongest(codes))
}

/// The key of a node and the way to it.
fn prepare(
    node: &Node,
    resolver: &Resolver,
    args: &Args,
    context: &mut Context<'_>,
) -> Result<Work, CliError> {
    let usage = |failure: Failure| CliError::from_failure(Kind::Usage, &failure);
    let Connection::Ssh(ssh) = &node.connection else {
        return Err(CliError::usage(format!(
            "{} is not reached by SSH",
            node.name
        )));
    };
    let mut route = resolver.route(&node.name, ssh).map_err(usage)?;
    reach::warn_unsupported(node.name.as_str(), &route, context);
    let last = route.hops.last_mut();
    let hop = last.ok_or_else(|| CliError::usage(format!("there is no way to {}", node.name)))?;
    let candidates: Vec<PathBuf> = match &args.key {
        Some(key) => vec![context.cwd.join(key)],
        None => hop.identities.iter().map(|path| public(path)).collect(),
    };
    let found = candidates
        .iter()
        .find_map(|path| Some((path, files::read(path).ok()?)));
    let Some((path, text)) = found else {
        let looked: Vec<String> = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(usage(
            Failure::new(format!("there is no public key for {}", node.name))
                .evidence(format!("looked for: {}", looked.join(", ")))
                .hint("make one with `ssh-keygen -t ed25519`, or name one with --key FILE"),
        ));
    };
    let line = text.trim().to_owned();
    let is_one = !line.contains('\n') && russh::keys::PublicKey::from_openssh(&line).is_ok();
    if !is_one {
        return Err(
            CliError::usage(format!("{} holds no public key", path.display()))
                .hint("name the file that ends with .pub, not the private key"),
        );
    }
    let private = path.with_extension("");
    hop.identities = vec![private];
    hop.identities_only = true;
    Ok(Work {
        node: node.name.clone(),
        route,
        line,
    })
}

fn public(private: &Path) -> PathBuf {
    let mut path = private.as_os_str().to_owned();
    path.push(".pub");
    PathBuf::from(path)
}

/// Tries the key on all nodes, asks for the password where it does not let in, installs it, and tries again.
async fn enroll(
    work: Vec<Work>,
    args: &Args,
    context: &mut Context<'_>,
) -> Result<Vec<ExitCode>, CliError> {
    let access = access();
    let mut refused = Vec::new();
    let mut codes = Vec::new();
    for (work, tried) in all(work, &access, |work, access| async move {
        try_key(&work.route, &access).await
    })
    .await
    {
        match tried {
            Ok(()) => tell(&work.node, Ok(Done::Before), context)?,
            // It answers and wants another key, or a password.
            Err(error) if error.kind == (HostErrorKind::Unreachable { transient: false }) => {
                refused.push(work);
            }
            Err(error) => {
                codes.push(ExitCode::Unreachable);
                tell(&work.node, Err(&error), context)?;
            }
        }
    }
    if refused.is_empty() {
        return Ok(codes);
    }
    let password = password(&refused, args)?;
    let with = move |work: Work, access: Arc<Access>| {
        let password = password.clone();
        async move { by_password(&work, password, &access).await }
    };
    for (work, done) in all(refused, &access, with).await {
        if let Err(error) = &done {
            codes.push(match error.kind {
                HostErrorKind::Unreachable { transient: true } => ExitCode::Unreachable,
                _ => ExitCode::Failed,
            });
        }
        tell(&work.node, done.as_ref().map(|()| Done::Now), context)?;
    }
    Ok(codes)
}

/// Does something with all nodes at once; gives them back in their order.
async fn all<F, R>(
    work: Vec<Work>,
    access: &Arc<Access>,
    what: F,
) -> Vec<(Work, Result<(), HostError>)>
where
    F: Fn(Work, Arc<Access>) -> R,
    R: Future<Output = Result<(), HostError>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for (index, work) in work.iter().enumerate() {
        let doing = what(work.clone(), access.clone());
        tasks.spawn(async move { (index, doing.await) });
    }
    let mut done = Vec::new();
    while let Some(result) = tasks.join_next().await {
        done.extend(result.ok());
    }
    done.sort_by_key(|(index, _)| *index);
    work.into_iter()
        .zip(done)
        .map(|(work, (_, done))| (work, done))
        .collect()
}

async fn try_key(route: &Route, access: &Access) -> Result<(), HostError> {
    ssh::Connection::open(route, access).await.map(|_| ())
}

async fn by_password(
    work: &Work,
    password: Password,
    access: &Arc<Access>,
) -> Result<(), HostError> {
    let mut route = work.route.clone();
    if let Some(hop) = route.hops.last_mut() {
        hop.password = Some(password);
        hop.identities.clear();
        hop.agent = None;
    }
    let installed = install(&route, access, &work.line).await;
    let installed = installed.map_err(|mut error| {
        let refused = |line: &String| line.starts_with("password: ");
        if error.failure.evidence.iter().any(refused) {
            error.failure.hint = Some(
                "try again with the right password; sshd may take none (`PasswordAuthentication`), or none of root's \
                 (`PermitRootLogin`)"
                    .to_owned(),
            );
        }
        error
    })?;
    try_key(&work.route, access).await.map_err(|mut error| {
        let was = match installed {
            Installed::Added => "the key was installed",
            Installed::Present => "the key is installed",
        };
        let name = &work.node;
        error.failure = Failure::new(format!("{was} on {name}, and it does not let in"))
            .evidence(error.failure.message)
            .hint(
                "sshd's log there says why; it takes no key where the home folder can be written by others (`chmod go-w ~`)",
            );
        error.kind = HostErrorKind::Unreachable { transient: false };
        error
    })
}

/// One password for all that want one.
fn password(work: &[Work], args: &Args) -> Result<Password, CliError> {
    let logins: Vec<String> = work
        .iter()
        .filter_map(|work| Some(format!("{}@{}", work.route.hops.last()?.user, work.node)))
        .collect();
    if args.password_stdin {
        return reach::password_from_stdin();
    }
    reach::ask(&format!("Password of {}: ", logins.join(", "))).map_err(|failure| {
        CliError::from_failure(Kind::Usage, &failure).hint("or pass it with --password-stdin")
    })
}

fn tell(
    node: &NodeName,
    done: Result<Done, &HostError>,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    if context.output.format() == Format::Json {
        let (state, failure) = match done {
            Ok(Done::Before) => ("unchanged", None),
            Ok(Done::Now) => ("installed", None),
            Err(error) => ("failed", Some(&error.failure)),
        };
        let told = json!({ "node": node, "state": state, "failure": failure });
        return context.output.json("enrolled", &told);
    }
    match done {
        Ok(Done::Before) => context
            .output
            .data(&format!("{node}  lets the key in already\n")),
        Ok(Done::Now) => context
            .output
            .data(&format!("{node}  key installed, login proven\n")),
        Err(error) => {
            let failure = super::about(node.as_str(), &error.failure);
            let shown = CliError::from_failure(Kind::Failed, &failure);
            context.output.report(&shown);
            Ok(())
        }
    }
}
