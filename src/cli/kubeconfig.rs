//! `hmco-boot kubeconfig`: the administrator's credentials of the cluster, from a server, with an address that is good
//! from here. Written to a file that only its owner may read, never shown and kept nowhere else.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::{CliError, Kind};
use super::files;
use super::reach::BecomeArgs;
use super::{Context, cluster, hosts, paths};
use crate::cluster::connect;
use crate::model::id::Target;
use crate::model::inventory::{Connection, Inventory, Node};
use crate::model::kube::{document, show};
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
    let whole = match args.merge {
        true => merged(&path, new)?,
        false => new,
    };
    files::write_private(&path, show::yaml(&whole).as_bytes()).map_err(|error| {
        CliError::failed(format!("cannot write {}", path.display())).caused_by(&error)
    })?;
    let address = whole_server(&whole, name);
    context.output.talk(&format!(
        "{} has the credentials of an administrator of {name} ({address}); only you may read it.\n",
        path.display()
    ));
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

/// The file's own contexts with the new one beside them.
fn merged(path: &Path, new: Value) -> Result<Value, CliError> {
    let text = match files::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(new),
        Err(error) => {
            return Err(
                CliError::failed(format!("cannot read {}", path.display())).caused_by(&error)
            );
        }
    };
    let old = document::any(&text).map_err(|error| {
        CliError::failed(format!("{} is no kubeconfig: {error}", path.display()))
            .hint("move it away, or write to another file with --out")
    })?;
    Ok(joined(old, new))
}

fn joined(old: Value, new: Value) -> Value {
    let mut whole = match old {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let Value::Object(new) = new else {
        return Value::Object(whole);
    };
    for (key, value) in new {
        let Value::Array(items) = value else {
            whole.insert(key, value);
            continue;
        };
        let kept = whole.remove(&key).and_then(|kept| match kept {
            Value::Array(kept) => Some(kept),
            _ => None,
        });
        let mut all: Vec<Value> = kept.unwrap_or_default();
        all.retain(|old| items.iter().all(|item| item.get("name") != old.get("name")));
        all.extend(items);
        whole.insert(key, Value::Array(all));
    }
    Value::Object(whole)
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
        let old = json!({
            "clusters": [{ "name": "work", "cluster": {} }, { "name": "homelab", "cluster": { "server": "old" } }],
            "preferences": { "colors": true }, "current-context": "work"
        });
        let whole = joined(old, renamed(K3S, "homelab", "a").unwrap());
        assert_eq!(whole["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(whole_server(&whole, "homelab"), "https://a:6443");
        assert_eq!(whole["current-context"], "homelab");
        assert_eq!(whole["preferences"]["colors"], true);
        let again = document::any(&show::yaml(&whole)).unwrap();
        assert_eq!(again, whole, "what is written is read as what it is");
    }
}
