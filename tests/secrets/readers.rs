//! Who reads: rules, re-keys, readers that come and go, SSH keys, stock age and rage.

use std::io::Write as _;
use std::process::{Command, Stdio};

use hmco_boot::secrets::format::Header;
use hmco_boot::secrets::recipients::{Recipients, Rule};
use hmco_boot::secrets::rekey::{self, RekeyPlan};
use hmco_boot::secrets::store::{Change, Inspection, Mode, Tree};
use hmco_boot::secrets::verify::What;

use super::support::*;

fn rekeyed(store: &Store, to: &Recipients, people: &[&Person]) -> RekeyPlan {
    let inspection = store.inspect();
    let plan = rekey::plan(&inspection, to).unwrap();
    rekey::carry_out(inspection, &plan, &approved(people), &|_, _| {}).unwrap();
    plan
}

#[test]
fn a_re_key_says_who_gains_and_loses_what_and_then_it_is_so() {
    let store = Store::holding(&[("k3s/a", "1"), ("dns/b", "2")]);
    let carol = Person::age(store.folder.path(), "carol");
    let people = [&store.anna, &carol];
    let old = store.read("k3s.toml");
    let plan = rekeyed(&store, &recipients(&people), &people);
    for one in &plan.values {
        assert_eq!(one.gains, ["carol"], "{one:?}");
        assert_eq!(one.loses, ["bert"], "{one:?}");
        assert_eq!(one.keeps, ["anna"], "{one:?}");
    }
    assert_eq!(plan.gone_readers, ["bert"]);
    assert_eq!(plan.new_readers, [carol.recipient()]);
    let by = |who: &Person| {
        let tree = Tree::open(&store.location, who.identities(), Mode::Read)?;
        tree.get(&name("k3s/a"))
    };
    assert_eq!(by(&carol).unwrap().text(), Some("1"));
    assert_eq!(by(&store.anna).unwrap().text(), Some("1"));
    assert!(by(&store.bert).is_err());
    assert_ne!(armored(&old, "a"), armored(&store.read("k3s.toml"), "a"));
    assert_eq!(
        store.open(Mode::Read).unwrap().entries()[0].set_on,
        Some(today())
    );
}

#[test]
fn a_re_key_counts_its_values_and_makes_a_key_that_follows_the_old_one() {
    let store = Store::holding(&[("k3s/a", "1"), ("k3s/b", "2"), ("dns/c", "3")]);
    let seen = std::sync::Mutex::new(Vec::new());
    let inspection = store.inspect();
    let same = inspection.recipients().clone();
    let plan = rekey::plan(&inspection, &same).unwrap();
    assert!(
        plan.values
            .iter()
            .all(|one| one.gains.is_empty() && one.loses.is_empty())
    );
    rekey::carry_out(inspection, &plan, &store.everybody(), &|done, all| {
        seen.lock().unwrap().push((done, all));
    })
    .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
    // A machine that knows the key before takes the new one; twice over, too.
    let elsewhere = store.elsewhere();
    Tree::open(&elsewhere, store.bert.identities(), Mode::Read).unwrap();
    for _ in 0..2 {
        rekeyed(&store, &same, &[&store.anna, &store.bert]);
    }
    let tree = Tree::open(&elsewhere, store.bert.identities(), Mode::Read).unwrap();
    assert_eq!(tree.counter(), 5);
}

#[test]
fn a_re_key_for_readers_that_hand_edited_rules_name_is_possible_and_nothing_else_is() {
    let store = Store::holding(&[("k3s/a", "1"), ("dns/b", "2")]);
    let text = format!(
        "{}\n[readers]\n\"k3s\" = [\"anna\"]\n",
        store.read("recipients.toml")
    );
    store.write("recipients.toml", &text);
    let failure = store.open(Mode::Write).err().unwrap();
    assert!(said(&failure).contains("secrets rotate"), "{failure:?}");
    let to = Recipients::parse(&text).unwrap();
    assert_eq!(
        to.rules(),
        [Rule {
            prefix: "k3s".into(),
            readers: vec!["anna".into()]
        }]
    );
    rekeyed(&store, &to, &[&store.anna, &store.bert]);
    let bert = Tree::open(&store.location, store.bert.identities(), Mode::Read).unwrap();
    assert_eq!(bert.get(&name("dns/b")).unwrap().text(), Some("2"));
    let failure = bert.get(&name("k3s/a")).unwrap_err();
    assert!(
        said(&failure).contains("its readers are anna"),
        "{failure:?}"
    );
    // Bert can neither re-key what he cannot read nor write what nobody could prove.
    let inspection = Inspection::of(&store.location, store.bert.identities(), Mode::Write).unwrap();
    let plan = rekey::plan(&inspection, &to).unwrap();
    let failure = rekey::carry_out(inspection, &plan, &store.everybody(), &|_, _| {})
        .err()
        .unwrap();
    assert!(said(&failure).contains("k3s/a"), "{failure:?}");
    let mut bert = Tree::open(&store.location, store.bert.identities(), Mode::Write).unwrap();
    let change = Change::new().set(name("k3s/new"), value("x"));
    let failure = bert
        .commit(change, &store.everybody(), today())
        .unwrap_err();
    assert!(
        said(&failure).contains("nobody here can prove"),
        "{failure:?}"
    );
    // A tree with more wrong than that is not re-keyed.
    let swapped = store.read("dns.toml").replace("b = ", "c = ");
    store.write("dns.toml", &swapped);
    drop(bert);
    let inspection = store.inspect();
    assert!(rekey::plan(&inspection, &to).is_err());
    assert_eq!(inspection.findings()[0].what, What::Swapped);
}

#[test]
fn nobody_locks_everybody_at_this_machine_out() {
    let store = Store::holding(&[("k3s/a", "1")]);
    let before = store.read("manifest.toml");
    let inspection = store.inspect();
    let plan = rekey::plan(&inspection, &recipients(&[&store.bert])).unwrap();
    let failure = rekey::carry_out(inspection, &plan, &store.everybody(), &|_, _| {})
        .err()
        .unwrap();
    assert!(
        said(&failure).contains("nobody here can prove"),
        "{failure:?}"
    );
    assert_eq!(store.read("manifest.toml"), before);
    assert_eq!(store.get("k3s/a").unwrap(), "1");
}

#[test]
fn readers_with_ssh_keys_read_everything() {
    let store = Store::holding(&[("k3s/a", "1")]);
    let folder = store.folder.path();
    let ed = Person::ssh(folder, "ed", "ed25519");
    let rsa = Person::ssh(folder, "rsa", "rsa");
    let people = [&store.anna, &ed, &rsa];
    rekeyed(&store, &recipients(&people), &people);
    for who in people {
        let mut tree = Tree::open(&store.location, who.identities(), Mode::Write).unwrap();
        let change = Change::new().set(name("k3s/by"), value(&who.name));
        tree.commit(change, &approved(&people), today()).unwrap();
        assert_eq!(tree.get(&name("k3s/a")).unwrap().text(), Some("1"));
    }
    assert_eq!(store.get("k3s/by").unwrap(), "rsa");
}

/// Runs a stock tool; `None` where this machine does not have it.
fn stock(tool: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{tool}: {error}"),
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{tool} {args:?}");
    Some(output.stdout)
}

/// Both directions with a stock tool and readers of all three sorts.
fn both_directions(tool: &str) {
    let store = Store::holding(&[("k3s/a", "first\nsecond\n")]);
    let folder = store.folder.path();
    let ed = Person::ssh(folder, "ed", "ed25519");
    let rsa = Person::ssh(folder, "rsa", "rsa");
    let people = [&store.anna, &ed, &rsa];
    rekeyed(&store, &recipients(&people), &people);
    let text = store.read("k3s.toml");
    let ours = armored(&text, "a");
    for who in people {
        let identity = who.identity.to_str().unwrap();
        let Some(plain) = stock(tool, &["-d", "-i", identity], ours.as_bytes()) else {
            crate::skip::tell(format_args!(
                "{tool} is not installed: nothing was compared with it"
            ));
            return;
        };
        // As `tail -n +2` does.
        let value = plain.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        assert_eq!(value, b"first\nsecond\n", "{}", who.name);
    }
    let id = store.open(Mode::Read).unwrap().id().to_owned();
    let header = Header::new(
        &id,
        "k3s/a",
        true,
        people.iter().map(|one| one.key.fingerprint()),
    );
    let plain = format!("{}by hand", header.line());
    let keys: Vec<&str> = people.iter().map(|one| one.key.text()).collect();
    let args = ["-a", "-r", keys[0], "-r", keys[1], "-r", keys[2]];
    let theirs = String::from_utf8(stock(tool, &args, plain.as_bytes()).unwrap()).unwrap();
    store.write("k3s.toml", &text.replace(&ours, theirs.trim_end()));
    // Written behind our back: it opens, and counts once somebody sealed it.
    assert!(store.open(Mode::Read).is_err());
    let inspection = store.inspect();
    assert!(
        inspection.open_all().is_empty(),
        "{:?}",
        inspection.open_all()
    );
    inspection.accept(&approved(&people), today()).unwrap();
    assert_eq!(store.get("k3s/a").unwrap(), "by hand");
}

#[test]
fn stock_age_opens_our_values_and_we_open_its_own() {
    both_directions("age");
}

#[test]
fn stock_rage_opens_our_values_and_we_open_its_own() {
    both_directions("rage");
}
