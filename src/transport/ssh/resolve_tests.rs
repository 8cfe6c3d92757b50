//! Routes from an inventory, an ssh_config and known_hosts in memory.

use super::super::files::MemoryFiles;
use super::*;
use crate::model::inventory::Cluster;
use crate::model::value::{FileId, Span};

const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

fn bastion(name: &str, via: Via) -> Bastion {
    Bastion {
        name: name.to_owned(),
        span: Span::new(FileId(0), 0..0),
        address: format!("{name}.example.org"),
        port: None,
        user: None,
        identity: None,
        host_keys: vec![A.to_owned()],
        via,
    }
}

fn inventory(bastions: Vec<Bastion>) -> Inventory {
    Inventory {
        file: "inventory/lab.toml".to_owned(),
        cluster: Cluster {
            name: "lab".to_owned(),
            domain: None,
            api_address: None,
            ca_sha256: None,
            kubeconfig: None,
        },
        nodes: Vec::new(),
        groups: Vec::new(),
        bastions,
        vars: BTreeMap::new(),
    }
}

/// With an ssh_config and other files of the caller.
fn resolver(bastions: Vec<Bastion>, config: &str, files: &[(&str, &str)]) -> Resolver {
    let mut all = MemoryFiles::default();
    for (path, text) in files.iter().chain([&(".ssh/config", config)]) {
        let path = Path::new("/home/me").join(path);
        all.0.insert(path, (*text).to_owned());
    }
    let environment = Environment {
        home: PathBuf::from("/home/me"),
        user: "me".to_owned(),
        agent: Some(PathBuf::from("/run/agent")),
        uid: 1000,
        host: "desk.lan".to_owned(),
    };
    let config = SshConfig::load(&all, &environment.home, &|_| None).unwrap();
    Resolver::new(
        &inventory(bastions),
        Path::new("/project"),
        environment,
        config,
        Arc::new(all),
    )
}

fn ssh(address: &str) -> Ssh {
    Ssh {
        address: address.to_owned(),
        host_keys: vec![A.to_owned()],
        ..Ssh::default()
    }
}

fn node() -> NodeName {
    NodeName::new("pi")
}

/// `NAME=USER@ADDRESS:PORT`, hop by hop.
fn way(route: &Route) -> Vec<String> {
    let hops = route.hops.iter();
    hops.map(|hop| format!("{}={}@{}:{}", hop.name, hop.user, hop.address, hop.port))
        .collect()
}

fn known(route: &Route) -> (usize, usize) {
    match &route.hops.last().unwrap().host_keys {
        HostKeys::Known { keys, revoked, .. } => (keys.len(), revoked.len()),
        HostKeys::Pinned(_) => panic!("pinned"),
    }
}

#[test]
fn the_inventory_wins_over_ssh_config_and_ssh_config_over_the_defaults() {
    let config =
        "Host 10.0.0.1\n HostName Real-%h.lan\n User pi\n Port 2200\n IdentityFile ~/.ssh/x\n";
    let resolver = resolver(Vec::new(), config, &[(".ssh/x", ""), (".ssh/id_rsa", "")]);
    let route = resolver.route(&node(), &ssh("10.0.0.1")).unwrap();
    assert_eq!(way(&route), ["pi=pi@real-10.0.0.1.lan:2200"]);
    let hop = &route.hops[0];
    assert_eq!(hop.identities, [PathBuf::from("/home/me/.ssh/x")]);
    assert!(!hop.identities_only);
    assert_eq!(hop.agent.as_deref(), Some(Path::new("/run/agent")));

    let own = Ssh {
        port: Some(22),
        user: Some("root".to_owned()),
        identity: Some("keys/lab".to_owned()),
        ..ssh("10.0.0.1")
    };
    let route = resolver.route(&node(), &own).unwrap();
    assert_eq!(way(&route), ["pi=root@real-10.0.0.1.lan:22"]);
    assert_eq!(
        route.hops[0].identities,
        [PathBuf::from("/project/keys/lab")]
    );
    assert!(route.hops[0].identities_only);

    let route = resolver.route(&node(), &ssh("10.0.0.2")).unwrap();
    assert_eq!(way(&route), ["pi=me@10.0.0.2:22"]);
    assert_eq!(
        route.hops[0].identities,
        [PathBuf::from("/home/me/.ssh/id_rsa")]
    );
}

#[test]
fn the_address_is_looked_up_and_the_name_of_the_node_is_not() {
    let resolver = resolver(Vec::new(), "Host pi\n User by-name\n", &[]);
    let route = resolver.route(&node(), &ssh("10.0.0.1")).unwrap();
    assert_eq!(route.hops[0].user, "me");
    let route = resolver.route(&node(), &ssh("pi")).unwrap();
    assert_eq!(route.hops[0].user, "by-name");
}

#[test]
fn tokens_are_filled_in_and_those_without_a_meaning_are_named() {
    let config = "IdentityFile ~/.ssh/%r@%h-%p-%u-%i-%L%%\nIdentityFile %d/%n\nIdentityFile ~/%C\n\
                  IdentityFile ${NOPE}/x\nIdentityFile none\nIdentityAgent none\nIdentitiesOnly yes\n";
    let there = [
        (".ssh/me@10.0.0.1-22-me-1000-desk%.pub", ""),
        ("10.0.0.1", ""),
    ];
    let route = resolver(Vec::new(), config, &there)
        .route(&node(), &ssh("10.0.0.1"))
        .unwrap();
    let hop = &route.hops[0];
    assert_eq!(
        hop.identities,
        [
            PathBuf::from("/home/me/.ssh/me@10.0.0.1-22-me-1000-desk%"),
            PathBuf::from("/home/me/10.0.0.1")
        ]
    );
    assert!(hop.identities_only && hop.agent.is_none());
    assert_eq!(
        route.unsupported,
        [
            "IdentityFile `~/%C`: the token `%C` is not supported here",
            "IdentityFile `${NOPE}/x` names a variable that is not set",
        ]
    );
}

#[test]
fn bastions_of_the_inventory_come_first_and_proxy_jump_is_then_not_asked() {
    let bastions = vec![
        bastion("outer", Via::SshConfig),
        bastion("inner", Via::Bastion("outer".to_owned())),
    ];
    let config = "Host outer.example.org\n Port 2022\nHost 10.*\n ProxyCommand nc\n";
    let resolver = resolver(bastions, config, &[]);
    let through = |via: Via| Ssh {
        via,
        ..ssh("10.0.0.1")
    };
    let route = resolver
        .route(&node(), &through(Via::Bastion("inner".to_owned())))
        .unwrap();
    assert_eq!(
        way(&route),
        [
            "bastion outer=me@outer.example.org:2022",
            "bastion inner=me@inner.example.org:22",
            "pi=me@10.0.0.1:22"
        ]
    );
    assert!(route.unsupported.is_empty(), "{:?}", route.unsupported);
    let route = resolver.route(&node(), &through(Via::Direct)).unwrap();
    assert!(route.unsupported.is_empty());
    let route = resolver.route(&node(), &ssh("10.0.0.1")).unwrap();
    assert_eq!(route.unsupported, ["ProxyCommand (~/.ssh/config:4)"]);
}

#[test]
fn the_hosts_of_a_proxy_jump_become_hops() {
    let config = "Host 10.*\n ProxyJump a@one:1,two\nHost one\n ProxyJump zero\n User never\nHost two\n \
                  ProxyJump never\n HostName two.lan\n Ciphers x\n";
    let route = resolver(Vec::new(), config, &[])
        .route(&node(), &ssh("10.0.0.1"))
        .unwrap();
    assert_eq!(
        way(&route),
        [
            "jump host zero=me@zero:22",
            "jump host one=a@one:1",
            "jump host two=me@two.lan:22",
            "pi=me@10.0.0.1:22"
        ]
    );
    assert_eq!(
        route.unsupported,
        ["jump host two: Ciphers (~/.ssh/config:9)"]
    );
}

#[test]
fn a_jump_in_a_circle_is_an_error_that_names_its_place() {
    let resolver = resolver(Vec::new(), "Host *\n ProxyJump gate\n", &[]);
    let failure = resolver.route(&node(), &ssh("10.0.0.1")).unwrap_err();
    assert_eq!(
        failure.message,
        "jump host gate is reached through itself: pi -> jump host gate -> jump host gate"
    );
    assert!(failure.hint.unwrap().contains("~/.ssh/config:2"));
}

#[test]
fn known_hosts_is_asked_only_where_the_inventory_pins_nothing() {
    let text = format!("10.0.0.1 {B}\n[10.0.0.3]:2222 {A}\n10.0.0.3 {B}\n@revoked * {A}\n");
    let files = [(".ssh/known_hosts", text.as_str())];
    let resolver = resolver(Vec::new(), "Host alias\n HostKeyAlias 10.0.0.1\n", &files);
    let at = |address: &str, port: u16| {
        let unpinned = Ssh {
            host_keys: Vec::new(),
            port: Some(port),
            ..ssh(address)
        };
        resolver.route(&node(), &unpinned).unwrap()
    };
    assert_eq!(known(&at("10.0.0.1", 22)), (1, 1));
    // No key for this port, so the one of the host counts.
    assert_eq!(known(&at("10.0.0.1", 2222)), (1, 1));
    assert_eq!(known(&at("10.0.0.3", 2222)), (1, 1));
    assert_eq!(known(&at("10.0.0.2", 22)), (0, 1));
    assert_eq!(known(&at("alias", 2222)), (1, 1));
    let pinned = resolver.route(&node(), &ssh("10.0.0.1")).unwrap();
    assert!(matches!(&pinned.hops[0].host_keys, HostKeys::Pinned(keys) if keys.len() == 1));
}

#[test]
fn authorities_and_damaged_lines_are_told_where_they_are_about_the_host() {
    let text = format!("@cert-authority *.lan {A}\nx.lan ssh-ed25519 AAAA\ny.lan {A}\n");
    let files = [("kh", text.as_str())];
    let config = "UserKnownHostsFile ~/kh ~/other\nGlobalKnownHostsFile none\n";
    let resolver = resolver(Vec::new(), config, &files);
    let notes = |address: &str| {
        let unpinned = Ssh {
            host_keys: Vec::new(),
            ..ssh(address)
        };
        resolver.route(&node(), &unpinned).unwrap().unsupported
    };
    assert_eq!(
        notes("x.lan"),
        [
            "@cert-authority (~/kh:1)",
            "a line that is no host key (~/kh:2)"
        ]
    );
    assert!(notes("y.lan").is_empty());
    assert!(notes("z").is_empty());
}
