//! What keeps a K3s from being brought to the wish in passing.

use super::files::{self, BINARY, OWN};
use super::install::{Install, Part};
use super::{Setting, cluster, flags, live};
use crate::facts::fact::{Content, Fact};
use crate::facts::known::{Known, Unreadable};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::steps::preflight::Role;
use crate::steps::shared::digest::sha256;
use crate::steps::{Decision, Kind};

/// Keys that decide which cluster a server belongs to: nobody else may set them.
const JOINING: [&str; 6] = [
    "cluster-init",
    "server",
    "token-file",
    "cluster-reset",
    "data-dir",
    "datastore-endpoint",
];

impl Install<'_> {
    /// Why K3s here cannot be brought to the wish by this kind.
    pub(super) fn objection(
        &self,
        part: &Part,
        known: &Known<'_>,
    ) -> Result<Option<Failure>, Unreadable> {
        if let Some(failure) = self.other_version(part.has_data, known)? {
            return Ok(Some(failure));
        }
        if let Some(failure) = live::named(self.role, known)? {
            return Ok(Some(failure));
        }
        if let Some(failure) = self.foreign_unit(part.has_data, known)? {
            return Ok(Some(failure));
        }
        let other = files::other_unit(self.role);
        if known.unit(other)?.is_some_and(cluster::is_alive) {
            return Ok(Some(
                Failure::new(format!(
                    "{other} runs here: a node is server or agent, not both"
                ))
                .hint("correct its `roles`, or before it becomes something else: `hmco-boot k3s reset --node NAME`"),
            ));
        }
        for at in live::foreign(known) {
            if OWN.contains(&at.as_str()) || !live::is_config(&at) {
                continue;
            }
            if let Some(failure) = self.set_twice(&at, part, known)? {
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    /// A unit of somebody else, on a server without data where they are looked for: they may be elsewhere, and with this tool's
    /// unit K3s would start without them, as a new cluster.
    fn foreign_unit(
        &self,
        has_data: bool,
        known: &Known<'_>,
    ) -> Result<Option<Failure>, Unreadable> {
        if self.role == Role::Agent || has_data {
            return Ok(None);
        }
        let at = files::unit_path(self.role);
        let own = sha256(files::unit_text(self.role).as_bytes());
        let live = known.digest(&Fact::Digest {
            path: at.clone(),
            uncached: false,
        })?;
        if live.is_none_or(|live| *live == own) {
            return Ok(None);
        }
        Ok(Some(
            Failure::new("K3s was installed here in another way, and has no data in /var/lib/rancher/k3s")
                .evidence(format!("{at} is not of this tool"))
                .hint("if it keeps its data elsewhere (data-dir, a database), it cannot be taken over; if it is not needed any more, take it away first (k3s-uninstall.sh)"),
        ))
    }

    /// Keys that somebody's file sets otherwise than this step. Where it says the same, as on a node that was installed in
    /// another way, it does no harm.
    fn set_twice(
        &self,
        at: &AbsPath,
        part: &Part,
        known: &Known<'_>,
    ) -> Result<Option<Failure>, Unreadable> {
        let Some(Content {
            bytes: Some(bytes), ..
        }) = known.content(&live::content(at))?
        else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(bytes);
        let theirs = match flags::of_file(&text) {
            Ok(theirs) => theirs,
            Err(_) => {
                let failure = Failure::new(format!("{at} is not understood: is it a file of flags?"))
                    .hint("K3s would read it beside what this step writes; take what is needed of it into the step's `config`, and move it away");
                return Ok(Some(failure));
            }
        };
        let token = Setting::text(self.token.expose());
        let ours = |key: &str| match key {
            "token" => Some(&token),
            key => part.settings.get(key),
        };
        let other = |(key, value): &(&String, &Setting)| {
            ours(key).is_some_and(|ours| !flags::same(ours, value))
                || (JOINING.contains(&key.as_str()) && ours(key).is_none())
        };
        let keys: Vec<&str> = theirs
            .iter()
            .filter(other)
            .map(|(key, _)| key.as_str())
            .collect();
        Ok((!keys.is_empty()).then(|| {
            Failure::new(format!(
                "{at} sets otherwise what this step decides: {}",
                keys.join(", ")
            ))
            .evidence("of two files that set a key, K3s takes the last one by name")
            .hint(format!(
                "take these keys out of {at}; the step's `config` is their place"
            ))
        }))
    }

    /// Another version on a node of a cluster is another procedure.
    fn other_version(
        &self,
        has_data: bool,
        known: &Known<'_>,
    ) -> Result<Option<Failure>, Unreadable> {
        let wished = self.version(known)?;
        if !has_data || wished.is_empty() {
            return Ok(None);
        }
        // `NAME version VERSION (COMMIT)`; the name is the file's.
        let live = live::installed(known)?.map(|install| install.version.as_str());
        let live = live.and_then(|version| version.split_whitespace().nth(2));
        match live {
            Some(live) if live == wished => Ok(None),
            Some(live) => Ok(Some(
                Failure::new(format!(
                    "K3s is {live} here, and {wished} is pinned: a version is not changed in passing"
                ))
                .evidence("the order of the nodes, drains and a snapshot before belong to it")
                .hint(format!(
                    "pin {live} again. `hmco-boot k3s upgrade`, which is to do it, does not exist yet; by hand, never downwards and no minor \
                     version left out: save a snapshot, then on one server after the other, then on the agents, put the pinned binary in \
                     the place of {BINARY}, restart K3s, and wait until its Node is Ready"
                )),
            )),
            None => self.unknown_version(&wished, known),
        }
    }

    /// Data of a version that nobody tells: a lower one must not be put to it.
    fn unknown_version(
        &self,
        wished: &str,
        known: &Known<'_>,
    ) -> Result<Option<Failure>, Unreadable> {
        // It is there, whatever keeps it from telling its version.
        if matches!(Kind::decide(&self.binary(), known)?, Decision::Unchanged) {
            return Ok(None);
        }
        let there = live::installed(known)?.is_some_and(|install| !install.binary.is_empty());
        let what = match there {
            true => "its binary does not tell its version",
            false => "its binary is gone",
        };
        Ok(Some(
            Failure::new(format!(
                "K3s has data here, and {what}: whether {wished}, which is pinned, may take its place is not known"
            ))
            .evidence("a lower version cannot be relied on to read the data of a higher one")
            .hint(format!(
                "`kubectl get nodes` on a server says which version ran here: put the binary of that one at {BINARY} (the pinned one, if it \
                 is that). If nothing of the data is wanted: hmco-boot k3s reset --node NAME"
            )),
        ))
    }
}
