use super::*;
use crate::facts::fact::FileKind;
use crate::facts::known::Store;
use crate::model::id::Target;
use crate::steps::shared::testing::{stat_of, told};

#[derive(Clone, Copy)]
enum State {
    Empty,
    Starting,
    Up(&'static str),
    Down(&'static str),
    Sqlite,
    Lost,
    /// Its database was taken away by hand.
    Emptied,
    /// A first start that failed before it had a database.
    Begun,
    Silent,
    Elsewhere,
}
use State::*;

fn data(state: State) -> K3sData {
    let mut data = K3sData::default();
    match state {
        Up(ca) | Down(ca) => {
            data.etcd = true;
            data.ca_sha256 = Some(ca.to_owned());
        }
        Sqlite => {
            data.sqlite = true;
            data.ca_sha256 = Some("own".to_owned());
        }
        Lost => {
            data.old = vec!["etcd-old-1700000000".to_owned()];
            data.ca_sha256 = Some("a".to_owned());
        }
        Emptied | Begun => {
            data.started = matches!(state, Emptied);
            data.old = vec!["snapshots".to_owned()];
            data.ca_sha256 = Some("a".to_owned());
        }
        Empty | Starting | Silent | Elsewhere => {}
    }
    data
}

/// What server 1 decides, of these states of servers 1, 2 and so on.
fn with<R>(states: &[State], look: impl FnOnce(&Servers<'_>) -> R) -> R {
    let nodes: Vec<Peer> = (1..=states.len())
        .map(|n| Peer {
            name: format!("s{n}"),
            address: Some(format!("192.0.2.{n}")),
            roles: vec!["server".to_owned()],
            ..Peer::default()
        })
        .collect();
    let mut store = Store::default();
    for (peer, state) in nodes.iter().zip(states) {
        let [data_fact, unit_fact, encryption] = facts();
        let unit = |active: &str| Unit {
            active: active.to_owned(),
            ..Unit::default()
        };
        let unit = match state {
            Up(_) | Sqlite | Elsewhere => Ok(FactValue::Unit(unit("active"))),
            Starting => Ok(FactValue::Unit(unit("activating"))),
            Down(_) | Lost | Emptied | Begun => Ok(FactValue::Unit(unit("failed"))),
            Empty => Err(FactError::NotFound),
            Silent => Err(FactError::Failed("no route to host".to_owned())),
        };
        let has = match state {
            Silent => Err(FactError::Failed("no route to host".to_owned())),
            state => Ok(FactValue::K3sData(data(*state))),
        };
        let stat = match state {
            Up(_) => Ok(FactValue::Stat(stat_of(FileKind::File))),
            _ => Err(FactError::NotFound),
        };
        store.insert(
            &peer.target(),
            [(data_fact, has), (unit_fact, unit), (encryption, stat)],
        );
    }
    let target = Target::Node("s1".into());
    let known = store.view(&target);
    look(&Servers::of(&nodes, &known).unwrap().unwrap())
}

fn how(states: &[State], live: Option<How>) -> String {
    with(states, |servers| {
        match servers.how(live.as_ref(), Some("https://192.0.2.200:6443")) {
            Ok(how) => format!("{how:?}"),
            Err(failure) => failure.message,
        }
    })
}

fn join(n: u8) -> How {
    How::Join(format!("https://192.0.2.{n}:6443"))
}

#[test]
fn it_makes_a_cluster_only_where_every_server_says_that_there_is_none() {
    assert_eq!(how(&[Empty], None), "Init");
    assert_eq!(how(&[Empty, Empty, Empty], None), "Init");
    for states in [&[Empty, Silent][..], &[Empty, Empty, Silent]] {
        assert!(how(states, None).contains("did not answer"));
    }
    assert!(how(&[Empty, Starting], None).contains("may be a cluster"));
    assert!(how(&[Empty, Sqlite], None).contains("nobody can join"));
    assert!(how(&[Lost, Empty], None).contains("new, empty one"));
    assert!(how(&[Empty, Lost], None).contains("a cluster was on s2"));
    assert!(how(&[Emptied, Empty], None).contains("new, empty one"));
    assert_eq!(how(&[Begun, Empty], None), "Init");
    assert!(how(&[Begun, Silent], None).contains("did not answer"));
    assert!(how(&[Empty, Begun], None).contains("a cluster is begun there"));
    assert!(how(&[Empty, Emptied], None).contains("a cluster was on s2"));
    assert!(how(&[Elsewhere], None).contains("its data are not in"));
    assert!(how(&[Elsewhere, Empty], None).contains("its data are not in"));
}

#[test]
fn it_joins_a_server_that_is_up_and_refuses_where_none_is() {
    assert_eq!(how(&[Empty, Up("a")], None), format!("{:?}", join(2)));
    assert_eq!(
        how(&[Empty, Down("a"), Up("a")], None),
        format!("{:?}", join(3))
    );
    assert_eq!(
        how(&[Empty, Silent, Up("a")], None),
        format!("{:?}", join(3))
    );
    assert_eq!(
        how(&[Lost, Up("a")], None),
        format!("{:?}", join(2)),
        "it was taken apart for that"
    );
    assert!(how(&[Empty, Down("a")], None).contains("none of its servers"));
    assert!(how(&[Empty, Down("a"), Silent], None).contains("none of its servers"));
}

#[test]
fn what_was_written_for_an_interrupted_start_does_not_bind() {
    assert_eq!(
        how(&[Empty, Up("a")], Some(How::Init)),
        format!("{:?}", join(2))
    );
    assert_eq!(how(&[Empty, Empty], Some(join(2))), "Init");
}

#[test]
fn a_member_stays_as_it_is() {
    assert_eq!(how(&[Up("a"), Up("a")], Some(How::Init)), "Init");
    assert_eq!(how(&[Up("a"), Silent], Some(How::Init)), "Init");
    assert_eq!(
        how(&[Up("a"), Up("a"), Down("a")], Some(join(3))),
        format!("{:?}", join(3))
    );
    let api = How::Join("https://192.0.2.200:6443".to_owned());
    assert_eq!(
        how(&[Up("a"), Up("a")], Some(api.clone())),
        format!("{api:?}")
    );
    // A server that is no more.
    assert_eq!(
        how(&[Up("a"), Up("a")], Some(join(9))),
        format!("{:?}", join(2))
    );
    assert_eq!(how(&[Up("a"), Up("a")], None), format!("{:?}", join(2)));
    assert_eq!(how(&[Up("a")], None), "Init");
}

#[test]
fn two_clusters_in_one_inventory_are_refused_and_sqlite_stays_alone() {
    assert!(how(&[Up("a"), Up("b")], Some(How::Init)).contains("two different clusters"));
    assert!(how(&[Empty, Up("a"), Up("b")], None).contains("two different clusters"));
    assert_eq!(how(&[Sqlite], None), "Alone");
    assert!(how(&[Sqlite, Empty], None).contains("no other server can join"));
}

#[test]
fn a_restart_that_would_take_the_quorum_is_refused() {
    let may = |states: &[State]| {
        with(states, |servers| {
            servers.may_restart().map_err(|failure| told(&failure))
        })
    };
    for fine in [
        &[Up("a")][..],
        &[Up("a"), Up("a")],
        &[Up("a"), Up("a"), Up("a")],
        &[Up("a"), Up("a"), Up("a"), Up("a"), Down("a")],
    ] {
        assert_eq!(may(fine), Ok(()));
    }
    let refused = may(&[Up("a"), Up("a"), Silent]).unwrap_err();
    assert!(
        refused.contains("only 1 of 3 would be up, and etcd needs 2"),
        "{refused}"
    );
    assert!(refused.contains("not up: s3"), "{refused}");
    assert!(may(&[Up("a"), Up("a"), Down("a")]).is_err());
}

#[test]
fn a_cluster_that_is_there_says_whether_it_encrypts() {
    let encrypts = |states: &[State]| with(states, |servers| servers.encrypts());
    assert_eq!(encrypts(&[Empty, Empty]), None);
    assert_eq!(encrypts(&[Empty, Up("a")]), Some(true));
    assert_eq!(encrypts(&[Empty, Down("a")]), Some(false));
    assert_eq!(encrypts(&[Up("a")]), Some(true));
}

#[test]
fn addresses_become_urls() {
    assert_eq!(url("192.0.2.1"), "https://192.0.2.1:6443");
    assert_eq!(url("2001:db8::1"), "https://[2001:db8::1]:6443");
    assert_eq!(url("k3s.example.org"), "https://k3s.example.org:6443");
}
