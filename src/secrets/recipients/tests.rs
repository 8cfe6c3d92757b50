use super::*;

const ANNA: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
const BERT: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
const RECOVERY: &str = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn file(rest: &str) -> String {
    format!(
        "# who\n[[recipient]]\nname = \"anna\" # the first\nkey = \"{ANNA}\"\nsince = 2026-02-01\ngroups = [\"ops\"]\n\n\
         [[recipient]]\nname = \"bert\"\nkey = \"{BERT} bert@laptop\"\n\n\
         [[recipient]]\nname = \"recovery\"\nkey = \"{RECOVERY}\"\nrecovery = true\n{rest}"
    )
}

fn names(readers: &[&Recipient]) -> Vec<String> {
    readers.iter().map(|reader| reader.name.clone()).collect()
}

#[test]
fn without_a_rule_everybody_reads_and_with_one_the_longest_prefix_of_whole_segments_decides() {
    let rules = "\n[readers]\nk3s = [\"group:ops\"]\n\"k3s/agents\" = [\"bert\"]\n\"k3s/agents/x\" = [\"anna\", \"bert\"]\n";
    let all = Recipients::parse(&file(rules)).unwrap();
    let reads = |secret: &str| names(&all.readers_of(&name(secret)));
    assert_eq!(reads("dns/key"), ["anna", "bert", "recovery"]);
    assert_eq!(reads("k3s/token"), ["anna", "recovery"]);
    assert_eq!(reads("k3s/agents/token"), ["bert", "recovery"]);
    assert_eq!(reads("k3s/agents/x/y"), ["anna", "bert", "recovery"]);
    assert_eq!(reads("k3s-old/token"), ["anna", "bert", "recovery"]);
    assert_eq!(
        all.rule_of(&name("k3s/agents")).unwrap().prefix,
        "k3s/agents"
    );
}

#[test]
fn a_key_is_the_same_whatever_comment_stands_behind_it() {
    let all = Recipients::parse(&file("")).unwrap();
    let bert = all.find("bert").unwrap();
    assert_eq!(bert.key.text(), BERT);
    assert_eq!(bert.key.sort(), "ssh-ed25519");
    let again: Fingerprint = bert.fingerprint().to_string().parse().unwrap();
    assert_eq!(all.by_fingerprint(again).unwrap().name, "bert");
    // The first 16 hex digits of sha256 of the text, as `printf %s KEY | sha256sum` shows them.
    assert_eq!(
        all.find("anna").unwrap().fingerprint().to_string().len(),
        16
    );
    assert!("0123456789ABCDEF".parse::<Fingerprint>().is_err());
}

#[test]
fn all_mistakes_are_said_at_once_each_with_its_line() {
    let text = file(&format!(
        "groups = \"ops\"\nrecover = true\n\n[[recipient]]\nname = \"anna\"\nkey = \"{ANNA}\"\nsince = \"soon\"\n\n\
         [[recipient]]\nname = \"a b\"\nkey = \"ssh-dss AAAA\"\n\n[[recipient]]\n\n[reader]\n\n[readers]\nK3S = [\"annna\"]\nx = []\ny = [\"group:op\"]\n"
    ));
    let failure = Recipients::parse(&text).unwrap_err();
    let said = failure.evidence.join("\n");
    for words in [
        "line 16: this is a list of strings",
        "unknown key \"recover\", did you mean `recovery`?",
        "`since` is a day",
        "\"a b\" cannot name a recipient",
        "this recipient has no `name`",
        "this recipient has no `key`",
        "unknown key \"reader\", did you mean `readers`?",
        "\"K3S\" is not the beginning of a secret's name",
        "nobody reads \"x\"",
        "two recipients are called `anna`",
        "there is no recipient `annna`, did you mean `anna`?",
        "there is no recipient in the group `op`, did you mean `group:ops`?",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(failure.hint.is_some());
}

#[test]
fn two_names_for_one_key_and_an_empty_list_are_refused() {
    let twice = file(&format!(
        "\n[[recipient]]\nname = \"carl\"\nkey = \"{ANNA}\"\n"
    ));
    let failure = Recipients::parse(&twice).unwrap_err();
    assert!(
        failure.evidence[0].contains("`anna` and `carl` have the same key"),
        "{failure:?}"
    );
    let failure = Recipients::parse("# nothing\n").unwrap_err();
    assert!(failure.evidence[0].contains("there is no recipient"));
    let failure = Recipients::parse("[[recipient\n").unwrap_err();
    assert!(failure.evidence[0].starts_with("line 1: "), "{failure:?}");
}

#[test]
fn a_private_key_in_the_wrong_place_is_refused_without_repeating_it() {
    let secret = age::x25519::Identity::generate().to_string();
    let secret = age::secrecy::ExposeSecret::expose_secret(&secret);
    let text = format!("[[recipient]]\nname = \"anna\"\nkey = \"{secret}\"\n");
    let failure = Recipients::parse(&text).unwrap_err();
    let said = format!("{failure:?}");
    assert!(
        said.contains("this is a private key") && !said.contains(secret),
        "{said}"
    );
}

#[test]
fn keys_that_nothing_can_be_encrypted_to_are_refused_by_their_sort() {
    for (text, words) in [
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDxFykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q=",
            "ecdsa-sha2-nistp256",
        ),
        ("age1ql3z7hjy54pw3hyww5ayy", "not a whole age key"),
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLq",
            "not a whole SSH key",
        ),
        ("hello", "not a public key"),
        ("", "not a public key"),
    ] {
        let failure = text.parse::<RecipientKey>().unwrap_err();
        assert!(failure.message.contains(words), "{text}: {failure:?}");
        assert!(failure.hint.is_some());
    }
}

fn carl() -> Recipient {
    Recipient {
        name: "carl".into(),
        key: age::x25519::Identity::generate().to_public().into(),
        since: "2026-03-04".into(),
        groups: vec!["ops".into(), "night".into()],
        recovery: false,
    }
}

#[test]
fn adding_and_removing_a_reader_changes_no_other_line() {
    let text = file("# about carl\n\n[readers]\nk3s = [\n  \"anna\", # her\n  \"bert\",\n]\n");
    let all = Recipients::parse(&text).unwrap();
    let with = all.with(&carl()).unwrap();
    assert_eq!(with.find("carl").unwrap().groups, ["ops", "night"]);
    assert_eq!(with.find("carl").unwrap().since, "2026-03-04");
    for line in text.lines() {
        assert!(
            with.text().lines().any(|kept| kept == line),
            "{line}\n{}",
            with.text()
        );
    }
    let back = with.without("carl").unwrap();
    assert_eq!(back.text(), text);
    let less = all.without("bert").unwrap();
    assert!(!less.text().contains("bert"), "{}", less.text());
    assert!(less.text().contains("# her") && less.text().starts_with("# who\n"));
    assert_eq!(
        names(&less.readers_of(&name("k3s/token"))),
        ["anna", "recovery"]
    );
    let without_first = all.without("anna").unwrap();
    assert!(
        without_first.text().starts_with("# who\n"),
        "{}",
        without_first.text()
    );
}

#[test]
fn another_key_changes_the_key_and_the_day_and_nothing_else() {
    let rules = "\n[readers]\nk3s = [\"anna\"]\n";
    let all = Recipients::parse(&file(rules)).unwrap();
    let new = Recipient {
        name: "anna".into(),
        ..carl()
    };
    let after = all.with_key(&new).unwrap();
    let expected = file(rules)
        .replace(ANNA, new.key.text())
        .replace("2026-02-01", "2026-03-04");
    assert_eq!(after.text(), expected);
    assert!(all.with_key(&carl()).is_err());
}

#[test]
fn the_last_reader_and_the_last_one_of_a_rule_stay() {
    let all = Recipients::parse(&file("\n[readers]\nk3s = [\"group:ops\"]\n")).unwrap();
    let failure = all.without("anna").unwrap_err();
    assert!(
        failure
            .message
            .contains("a rule of [readers] would name nobody"),
        "{failure:?}"
    );
    let all = Recipients::parse(&file("")).unwrap();
    let one = all.without("anna").unwrap();
    let failure = one.without("bert").unwrap_err();
    assert!(
        failure.message.contains("nobody but the recovery key"),
        "{failure:?}"
    );
    let failure = all.without("anan").unwrap_err();
    assert_eq!(failure.hint.unwrap(), "did you mean `anna`?");
}

#[test]
fn a_first_file_says_what_it_is_and_reads_back() {
    let recovery = Recipient {
        name: "recovery".into(),
        groups: Vec::new(),
        recovery: true,
        ..carl()
    };
    let recovery = Recipient {
        key: age::x25519::Identity::generate().to_public().into(),
        ..recovery
    };
    let first = Recipients::first(&[carl(), recovery]).unwrap();
    assert!(first.text().starts_with("# Who reads"), "{}", first.text());
    assert_eq!(first.text().matches("[[recipient]]").count(), 2);
    assert!(first.find("recovery").unwrap().recovery);
    assert_eq!(
        first.groups().into_iter().collect::<Vec<_>>(),
        ["night", "ops"]
    );
}

#[test]
fn a_file_with_the_line_ends_of_windows_keeps_them() {
    let text = file("").replace('\n', "\r\n");
    let with = Recipients::parse(&text).unwrap().with(&carl()).unwrap();
    assert_eq!(
        with.text().matches('\n').count(),
        with.text().matches("\r\n").count()
    );
}
