//! `hmco-boot kubeconfig`: the administrator's credentials of the cluster, from a server, with an address that is good
//! from here. Written to a file that only its owner may read, never shown and kept nowhere else.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::{CliError, Kind};
use super::files;
use super::reach::BecomeArgs;
use super::secrets::git::Git;
use super::{Context, cluster, hosts, paths};
use crate::cluster::connect;
use crate::model::id::Target;
use crate::model::inventory::{Connection, Inventory, Node};
use crate::model::kube::document;
use crate::model::outcome::{ExitCode, Failure};

/// Arguments of `kubeconfig`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hmco-boot kubeconfig --out homelab.yaml && kubectl --kubeconfig homelab.yaml get nodes
  hmco-boot kubeconfig --merge         into $KUBECONFIG or ~/.kube/config, as the context of the cluster's name")]
pub struct Args {
    /// The file to write; by default kubeconfig in the working folder
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "merge")]
    pub out: Option<PathBuf>,
    /// Put it into $KUBECONFIG or ~/.kube/config, beside the contexts that are there, and make it the current one
    #[arg(long)]
    pub merge: bool,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// Fetches and writes it.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let chosen = hosts::choose(Some("role:server"), context)?;
    let state = paths::existing_state_dir(context, &chosen.inventory.cluster.name)?;
    let pin = cluster::pin(&chosen.inventory, state.as_ref())?;
    let machines = hosts::machines(&chosen, &args.become_root, context).await?;
    let redactor = context.output.redactor().clone();
    let mut troubles: Vec<Failure> = Vec::new();
    for node in &chosen.nodes {
        let target = Target::Node(node.name.clone());
        match connect::k3s_kubeconfig(machines.as_ref(), &target, &redactor).await {
            Ok(text) => {
                let held = connect::held(&text, &pin).await;
                held.map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
                return write(args, &text, node, &chosen.inventory, context);
            }
            Err(mut failure) => {
                failure.message = format!("{}: {}", node.name, failure.message);
                troubles.push(failure);
            }
        }
    }
    let mut failure = Failure::new("no server of the cluster gave its kubeconfig");
    failure.evidence = troubles
        .iter()
        .map(|trouble| trouble.message.clone())
        .collect();
    failure.hint = troubles.into_iter().find_map(|trouble| trouble.hint);
    Err(CliError::from_failure(Kind::Unreachable, &failure))
}

fn write(
    args: &Args,
    text: &str,
    node: &Node,
    inventory: &Inventory,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let name = &inventory.cluster.name;
    let new = renamed(text, name, &host(node, inventory))
        .map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
    let path = match (args.merge, &args.out) {
        (true, _) => usual(context)?,
        (false, Some(path)) => context.cwd.join(path),
        (false, None) => context.cwd.join("kubeconfig"),
    };
    let before = match args.merge {
        true => there(&path)?,
        false => None,
    };
    let whole = match &before {
        Some(text) => joined(text, new).map_err(|why| {
            CliError::failed(format!("{} stays as it is: {why}", path.display()))
                .hint("mend it or move it away, or write to another file with --out")
        })?,
        None => new,
    };
    let text = yaml(&whole).map_err(|why| {
        CliError::failed(format!(
            "{} is not written: {why}",
            paths::shown(&path, &context.cwd)
        ))
        .hint("write to another file with --out, and name both in $KUBECONFIG")
    })?;
    // What kubectl or a login wrote there meanwhile would be lost.
    if args.merge && there(&path)? != before {
        return Err(CliError::failed(format!(
            "{} was changed by somebody else just now; it stays as it is",
            path.display()
        ))
        .hint("the same command again"));
    }
    files::write_private(&path, text.as_bytes()).map_err(|error| {
        CliError::failed(format!("cannot write {}", path.display())).caused_by(&error)
    })?;
    let address = whole_server(&whole, name);
    context.output.talk(&format!(
        "{} has the credentials of an administrator of {name} ({address}); only you may read it.\n",
        path.display()
    ));
    if Git::would_commit(&path) {
        let path = paths::shown(&path, &context.cwd);
        context.output.talk(&format!(
            "warning: git does not ignore {path}: whoever gets a commit with it is an administrator of {name}\n\
             hint: add it to .gitignore, or keep it outside of the project with --out\n"
        ));
    }
    Ok(ExitCode::Done)
}

/// Where the API answers from here.
fn host(node: &Node, inventory: &Inventory) -> String {
    match (&inventory.cluster.api_address, &node.connection) {
        (Some(address), _) => address.clone(),
        (None, Connection::Ssh(ssh)) => ssh.address.clone(),
        (None, Connection::Local { .. }) => "127.0.0.1".to_owned(),
    }
}

/// The credentials under the cluster's name, with another host in the server's address.
fn renamed(text: &str, name: &str, host: &str) -> Result<Value, Failure> {
    let odd = || Failure::new("the kubeconfig of the server is none that K3s writes");
    let old = document::any(text).map_err(|error| odd().evidence(error.to_string()))?;
    let first = |list: &str, inner: &str| old.pointer(&format!("/{list}/0/{inner}")).cloned();
    let mut cluster = first("clusters", "cluster").ok_or_else(odd)?;
    let user = first("users", "user").ok_or_else(odd)?;
    let server = cluster
        .get("server")
        .and_then(Value::as_str)
        .ok_or_else(odd)?;
    let port = server
        .rsplit_once(':')
        .map_or("6443", |(_, port)| port.trim_end_matches('/'));
    let host = match host.contains(':') {
        true => format!("[{}]", host.trim_matches(['[', ']'])),
        false => host.to_owned(),
    };
    let server = format!("https://{host}:{port}");
    if let Some(cluster) = cluster.as_object_mut() {
        cluster.insert("server".to_owned(), json!(server));
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": cluster }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": user }],
    }))
}

fn whole_server(whole: &Value, name: &str) -> String {
    let clusters = whole.get("clusters").and_then(Value::as_array);
    let own = clusters
        .into_iter()
        .flatten()
        .find(|cluster| cluster.get("name") == Some(&json!(name)));
    let server = own
        .and_then(|own| own.pointer("/cluster/server"))
        .and_then(Value::as_str);
    server.unwrap_or_default().to_owned()
}

/// `$KUBECONFIG`, its first file; else `~/.kube/config`.
fn usual(context: &Context<'_>) -> Result<PathBuf, CliError> {
    let text = |name: &str| {
        let value = context.env.var(name).filter(|value| !value.is_empty())?;
        Some(value.to_string_lossy().into_owned())
    };
    let named = text("KUBECONFIG").and_then(|list| {
        let first = list.split(':').find(|path| !path.is_empty())?.to_owned();
        Some(PathBuf::from(first))
    });
    named
        .or_else(|| text("HOME").map(|home| PathBuf::from(home).join(".kube/config")))
        .map(|path| context.cwd.join(path))
        .ok_or_else(|| CliError::usage("there is no home folder").hint("name a file with --out"))
}

/// What is in a kubeconfig; `None` where there is none.
fn there(path: &Path) -> Result<Option<String>, CliError> {
    match files::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(CliError::failed(format!("cannot read {}", path.display())).caused_by(&error))
        }
    }
}

/// A kubeconfig's text with the new one's contexts in it, or why that would lose something.
fn joined(text: &str, new: Value) -> Result<Value, String> {
    // Its bare `yes` is true, as kubectl has it.
    let documents = serde_saphyr::from_multiple::<Value>(text)
        .map_err(|error| format!("it is no YAML: {}", first_line(&error.to_string())))?;
    let mut documents = documents.into_iter().filter(|document| !document.is_null());
    let Some(old) = documents.next() else {
        return Ok(new);
    };
    let others = documents.count();
    if others > 0 {
        return Err(format!(
            "it has {} YAML documents, of which kubectl reads the first only",
            others + 1
        ));
    }
    let Value::Object(mut whole) = old else {
        return Err("it is no kubeconfig, for it is no mapping".to_owned());
    };
    for (key, value) in new.as_object().into_iter().flatten() {
        let Value::Array(items) = value else {
            whole.insert(key.clone(), value.clone());
            continue;
        };
        let mut all = match whole.remove(key) {
            Some(Value::Array(kept)) => kept,
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err(format!("it is no kubeconfig, for its `{key}` is no list")),
        };
        all.retain(|old| items.iter().all(|item| item.get("name") != old.get("name")));
        all.extend(items.iter().cloned());
        whole.insert(key.clone(), Value::Array(all));
    }
    Ok(Value::Object(whole))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A kubeconfig as text that is proven to be read as what it is.
fn yaml(whole: &Value) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(whole, options);
    let text = text.map_err(|error| error.to_string())?;
    match document::any(&text) {
        Ok(again) if again == *whole => Ok(text),
        Ok(_) => Err("it would be read as something else than it shall hold".to_owned()),
        Err(error) => Err(format!("it could not be read again: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K3S: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://127.0.0.1:6443\n  name: default\ncontexts:\n- context:\n    cluster: default\n    user: default\n  name: default\ncurrent-context: default\nkind: Config\nusers:\n- name: default\n  user:\n    client-certificate-data: QQ==\n";

    #[test]
    fn the_credentials_are_named_after_the_cluster_and_its_address_is_good_from_here() {
        let new = renamed(K3S, "homelab", "192.168.1.11").unwrap();
        assert_eq!(whole_server(&new, "homelab"), "https://192.168.1.11:6443");
        assert_eq!(
            new["clusters"][0]["cluster"]["certificate-authority-data"],
            "QQ=="
        );
        assert_eq!(new["users"][0]["name"], "homelab");
        let new = renamed(K3S, "homelab", "fd00::1").unwrap();
        assert_eq!(whole_server(&new, "homelab"), "https://[fd00::1]:6443");
        assert!(renamed("a: 1", "homelab", "x").is_err());
    }

    #[test]
    fn other_contexts_stay_and_the_own_one_is_replaced() {
        let old = "clusters: [{name: work, cluster: {}}, {name: homelab, cluster: {server: old}}]\n\
                   contexts: null\npreferences: {colors: yes}\ncurrent-context: work\n---\n# nothing\n";
        let whole = joined(old, renamed(K3S, "homelab", "a").unwrap()).unwrap();
        assert_eq!(whole["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(whole_server(&whole, "homelab"), "https://a:6443");
        assert_eq!(whole["current-context"], "homelab");
        assert_eq!(whole["preferences"]["colors"], true);
        assert_eq!(whole["contexts"].as_array().unwrap().len(), 1);
        let new = json!({ "users": [] });
        assert_eq!(joined("# only words\n", new.clone()), Ok(new));
    }

    #[test]
    fn what_would_lose_something_of_a_file_is_refused() {
        let why = |old| joined(old, json!({ "users": [] })).unwrap_err();
        assert!(why("a: 1\n---\nb: 2\n").contains("2 YAML documents"));
        assert!(why("- 1\n").contains("no mapping"));
        assert!(why("just words").contains("no mapping"));
        assert!(why("users: {a: 1}\n").contains("`users` is no list"));
        assert!(why("a: [").contains("no YAML"));
    }

    #[test]
    fn every_text_is_read_back_as_it_was() {
        let texts = [
            "  indented\nlines\n",
            "\n\nfirst lines are empty",
            "several ends\n\n\n",
            "\ttab\r\nreturn\u{85}\u{2028}\u{feff}\u{7f}\u{0}",
            "yes",
            "~",
            "0644",
            "1_000",
            "12:30:45",
            ".5",
            "1e3",
            "2001-01-01",
            "=",
            "- a",
            "a: b",
            "a #b",
            "'",
            "\"",
            "",
            "a long line that somebody may want to fold because it has more than eighty characters, which is too many ",
        ];
        for text in texts {
            let whole = json!({ "token": text, "list": [text, [text]], text: {} });
            let written = yaml(&whole).unwrap();
            let lax: Value = serde_saphyr::from_str(&written).unwrap();
            assert_eq!(lax, whole, "{written}");
        }
    }
}
