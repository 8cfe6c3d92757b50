//! Why K3s does not come up: from lines of its journal to causes with their cures.
//!
//! A table, in order of how much a line tells. Its lines are those of real K3s (tests/k3s-standin/recordings, v1.32 to
//! v1.34); the few that nobody could record are from the sources of K3s and Go, and are marked so.

use crate::model::action::JobEnd;
use crate::model::outcome::Failure;
use crate::steps::shared::diff::shown;

/// Whether waiting may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nature {
    /// It stays so until somebody does something, and K3s goes on trying for ever.
    Lasting,
    /// K3s ends because of it.
    Fatal,
    /// It may pass by itself: told only where nothing better is known.
    Passing,
}

/// A row of the table.
struct Cause {
    /// Parts of a line, one of which is enough.
    signs: &'static [&'static str],
    nature: Nature,
    /// What happened.
    what: &'static str,
    /// What to do.
    cure: &'static str,
}

const CAUSES: [Cause; 23] = [
    Cause {
        signs: &["token CA hash does not match the Cluster CA certificate hash"],
        nature: Nature::Lasting,
        what: "the token is for a cluster with another CA",
        cure: "the token in the store is of another cluster, or the cluster was made anew: take the password part (after the last `:`) of /var/lib/rancher/k3s/server/token of a server, and set it with `hmco-boot secrets set`",
    },
    Cause {
        signs: &[
            "failed to validate server configuration: not authorized",
            "failed to retrieve configuration from server: not authorized",
        ],
        nature: Nature::Lasting,
        what: "the token is wrong: the cluster does not accept it",
        cure: "compare the secret with /var/lib/rancher/k3s/server/token of a server that runs (the part after the last `:`), and set it with `hmco-boot secrets set`",
    },
    Cause {
        signs: &["bootstrap data already found and encrypted with different token"],
        nature: Nature::Fatal,
        what: "this server was started with another token than its datastore is sealed with",
        cure: "put back the former token (a copy is in `server/token` of the other servers, and with every snapshot); a token is changed with `k3s token rotate`, never in a file alone",
    },
    Cause {
        signs: &["Node password rejected, duplicate hostname"],
        nature: Nature::Lasting,
        what: "a node of this name has joined before with another node password: two nodes have one name, or this one was installed anew",
        cure: "two nodes: give one another name (kind `hostname`). The same node, anew: `hmco-boot k3s node replace NAME`",
    },
    Cause {
        // pkg/etcd of K3s.
        signs: &["duplicate node name found, please use a unique name for this node"],
        nature: Nature::Fatal,
        what: "etcd has a member of this name already",
        cure: "two nodes have one name: give one another (kind `hostname`); where it is a former life of this node: `hmco-boot k3s node replace NAME`",
    },
    Cause {
        signs: &[
            "critical configuration mismatched:",
            "critical configuration value mismatch between servers",
        ],
        nature: Nature::Fatal,
        what: "this server's configuration differs from that of the others in a key that must be equal on all",
        cure: "give all servers the same value of that key, in `config` of the k3s_server step",
    },
    Cause {
        signs: &[
            "no matching key was found for the provided AES transformer",
            "invalid padding on input",
        ],
        nature: Nature::Lasting,
        what: "it cannot decrypt Secrets: the key they were sealed with is not among those that it has",
        cure: "look for that key in server/cred/encryption-config.json of the other servers and in copies of it, before anything is started anew; delete nothing",
    },
    Cause {
        signs: &["identity transformer tried to read encrypted data"],
        nature: Nature::Lasting,
        what: "Secrets are encrypted in the datastore, and this server was started without `secrets-encryption`",
        cure: "set `secrets_encryption = true` for all servers",
    },
    Cause {
        signs: &["newer than datastore and could cause a cluster outage"],
        nature: Nature::Fatal,
        what: "a file of credentials here is newer than what the datastore holds: a rotation was cut off",
        cure: "copy server/cred away first: where keys were rotated, encryption-config.json may be the only copy of the new key. Only then follow what the line says",
    },
    Cause {
        signs: &["no space left on device"],
        nature: Nature::Lasting,
        what: "the disk is full",
        cure: "make room below /var/lib/rancher (`du -xsh /var/lib/rancher/k3s/*`; old databases are server/db/etcd-old-*), then run it again",
    },
    Cause {
        // Go's crypto/x509, as K3s prints it.
        signs: &["certificate has expired or is not yet valid"],
        nature: Nature::Lasting,
        what: "a certificate is not valid at this machine's time",
        cure: "look at the clock first (`timedatectl`; a Raspberry Pi has none when it is off); where it is right, the certificate has expired: a restart of its server renews it",
    },
    Cause {
        // pkg/cgroups of K3s.
        signs: &[
            "failed to find memory cgroup",
            "failed to find cpuset cgroup",
            "failed to find cpu cgroup",
        ],
        nature: Nature::Fatal,
        what: "the kernel has a control group switched off that kubelet needs",
        cure: "add `cgroup_memory=1 cgroup_enable=memory` to the kernel's command line (playbook os does) and restart the machine",
    },
    Cause {
        signs: &["msg=\"yaml: line "],
        nature: Nature::Fatal,
        what: "a configuration file is no YAML",
        cure: "correct the files of /etc/rancher/k3s that hmco-boot did not write",
    },
    Cause {
        signs: &["apiserver exited:", "unknown flag: --"],
        nature: Nature::Fatal,
        what: "the API server refuses its arguments",
        cure: "correct `kube-apiserver-arg` (or the file that it names) in `config` of the step",
    },
    Cause {
        signs: &[
            "unsupported secrets-encryption-key-type",
            "unsupported secrets-encryption-provider",
        ],
        nature: Nature::Fatal,
        what: "this version of K3s does not know the kind of encryption that is set",
        cure: "`secrets-encryption-provider` is aescbc or, from v1.33 on, secretbox",
    },
    Cause {
        signs: &["snapshotter cannot be enabled for"],
        nature: Nature::Lasting,
        what: "containerd cannot use this file system for its images",
        cure: "put /var/lib/rancher on ext4 or xfs, or set `snapshotter = \"native\"` in `config`",
    },
    Cause {
        signs: &["invalid downgrade; server version is lower than determined cluster version"],
        nature: Nature::Fatal,
        what: "the datastore was used by a newer version of K3s than this one",
        cure: "put the newer version's binary back; there is no way down but to restore a snapshot",
    },
    Cause {
        signs: &["request sent was ignored by remote peer due to cluster ID mismatch"],
        nature: Nature::Lasting,
        what: "its database is of another etcd cluster than that of the other servers",
        cure: "after a restore: stop it, move /var/lib/rancher/k3s/server/db/etcd away, and start it; it joins anew",
    },
    Cause {
        signs: &["Error: --token is required", "Error: --server is required"],
        nature: Nature::Fatal,
        what: "its configuration has no token or no server",
        cure: "run the step again: it writes both; look for another file in /etc/rancher/k3s that takes them away",
    },
    Cause {
        signs: &["bind: address already in use"],
        nature: Nature::Fatal,
        what: "a port that it needs is taken by another program",
        cure: "see which one with `ss -ltnp`, and stop it (a former K3s: systemctl stop; a web server on 6443)",
    },
    Cause {
        signs: &[
            "leaderelection lost",
            "etcdserver: no leader",
            "RAFT NO LEADER",
            "transport: authentication handshake failed: context deadline exceeded",
            "failed to get etcd MemberList: context deadline exceeded",
        ],
        nature: Nature::Passing,
        what: "etcd has no quorum: too few of the servers run and reach each other",
        cure: "start the other servers (`systemctl start --no-block k3s` there), and see that ports 2379 and 2380 are open between them",
    },
    Cause {
        signs: &[
            "failed to get CA certs: Get",
            "connect: no route to host",
            "cacerts\\\": dial tcp",
        ],
        nature: Nature::Passing,
        what: "it does not reach port 6443 of the server that it is to join",
        cure: "see that K3s runs there, and that no firewall drops 6443/tcp between the two: `hmco-boot hosts preflight --measure`",
    },
    Cause {
        signs: &["connect: connection refused"],
        nature: Nature::Passing,
        what: "another server does not answer",
        cure: "see that K3s runs on all servers",
    },
];

/// How the first line of every start begins its message.
const STARTING: &str = "msg=\"Starting k3s ";

/// Parts of lines that, where K3s says them again and again, nothing but somebody's doing ends.
pub fn lasting() -> impl Iterator<Item = &'static str> {
    CAUSES
        .iter()
        .filter(|cause| cause.nature == Nature::Lasting)
        .flat_map(|cause| cause.signs.iter().copied())
}

/// The cause that a journal shows, and the line that shows it: the last line of the surest kind.
fn find(text: &str) -> Option<(&'static Cause, &str)> {
    let row = |line: &str, passing: bool| {
        CAUSES.iter().find(|cause| {
            (cause.nature == Nature::Passing) == passing
                && cause.signs.iter().any(|sign| line.contains(sign))
        })
    };
    // What leads to something else is said before it: of a mismatch the line with the key comes first.
    let search = |passing: bool| {
        let mut lines = text.lines().rev();
        lines.find_map(|line| Some((row(line, passing)?, line)))
    };
    let (cause, line) = search(false).or_else(|| search(true))?;
    let told = text.lines().rev().find(|other| {
        let first = cause.signs.first();
        first.is_some_and(|sign| other.contains(sign))
    });
    Some((cause, told.unwrap_or(line)))
}

/// A failed start in better words: the cause in front, its cure, the line that shows it, and how the unit was.
pub fn explain(failure: Failure, end: &JobEnd) -> Failure {
    let text = format!("{}\n{}", end.stdout, end.stderr);
    // A K3s that was stopped for this start says why it was not up, too: that is another story.
    let own = text.find(STARTING).and_then(|at| text.get(at..));
    let Some((cause, line)) = find(own.unwrap_or(&text)) else {
        return match failure.hint {
            Some(_) => failure,
            None => failure.hint("look at `journalctl -u k3s -u k3s-agent` there"),
        };
    };
    let mut better = Failure::new(format!("{}: {}", failure.message, cause.what))
        .evidence(shown(message_of(line)))
        .hint(cause.cure);
    // How it ended is at the end.
    let last = failure.evidence.iter().rev().take(3);
    let mut rest: Vec<String> = last
        .filter(|other| !other.contains(line))
        .cloned()
        .collect();
    rest.reverse();
    better.evidence.extend(rest);
    better
}

/// The words of a log line of K3s, without time and level.
fn message_of(line: &str) -> &str {
    line.split_once("msg=")
        .map_or(line, |(_, message)| message)
        .trim_matches('"')
}

#[cfg(test)]
mod tests;
