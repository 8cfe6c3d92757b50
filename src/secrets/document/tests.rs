use super::*;

fn armored(content: &str) -> String {
    format!("-----BEGIN AGE ENCRYPTED FILE-----\n{content}\n-----END AGE ENCRYPTED FILE-----\n")
}

fn string(content: &str) -> String {
    format!("'''\n{}'''", armored(content))
}

fn parse(text: &str) -> Document {
    Document::parse("k3s", "secrets/k3s.toml", text.as_bytes()).unwrap()
}

fn refused(text: &str) -> String {
    let failure = Document::parse("k3s", "secrets/k3s.toml", text.as_bytes()).unwrap_err();
    assert!(failure.hint.is_some());
    format!("{}\n{}", failure.message, failure.evidence.join("\n"))
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn set(at: &str, content: &str) -> Edit {
    Edit::Set(name(at), armored(content))
}

fn names(document: &Document) -> Vec<&str> {
    document
        .values()
        .iter()
        .map(|value| value.name.as_str())
        .collect()
}

#[test]
fn values_are_found_with_names_and_lines_in_tables_dotted_keys_and_inline_tables() {
    let text = format!(
        "# head\ntoken = {}\na.\"b.c\" = {}\n\n[dns.provider]\nkey = {}\nmore = {{ x = {} }}\n",
        string("t"),
        string("u"),
        string("v"),
        string("w"),
    );
    let document = parse(&text);
    let found: Vec<(&str, usize)> = document
        .values()
        .iter()
        .map(|value| (value.name.as_str(), value.line))
        .collect();
    assert_eq!(
        found,
        [
            ("k3s/token", 2),
            ("k3s/a/b.c", 7),
            ("k3s/dns/provider/key", 14),
            ("k3s/dns/provider/more/x", 19)
        ]
    );
    assert_eq!(
        document.value(&name("k3s/a/b.c")).unwrap().armored,
        armored("u")
    );
}

#[test]
fn one_value_changed_leaves_every_other_byte_as_it_was() {
    let text = format!(
        "# head\n\n  token   =   {}   # why\n[t] # table\n\n# about x\nx = {}\n# tail, no end of line",
        string("old"),
        string("other")
    );
    let edited = parse(&text).edited(&[set("k3s/token", "new")]).unwrap();
    assert_eq!(edited.text(), text.replace("old", "new"));
}

#[test]
fn a_file_with_the_line_ends_of_windows_keeps_them_and_its_digests_are_the_same() {
    let unix = format!("# head\ntoken = {}\n", string("t"));
    let windows = unix.replace('\n', "\r\n");
    let (a, b) = (parse(&unix), parse(&windows));
    assert_eq!(a.values()[0].digest, b.values()[0].digest);
    let edits = [set("k3s/token", "new"), set("k3s/x/y", "more")];
    let (a, b) = (a.edited(&edits).unwrap(), b.edited(&edits).unwrap());
    assert_eq!(b.text(), a.text().replace('\n', "\r\n"));
}

#[test]
fn new_values_go_into_the_order_of_their_table_and_new_tables_to_the_end() {
    let text = format!(
        "# head\n\n# about a\na = {}\nc = {}\n\n[t]\nm = {}\n",
        string("a"),
        string("c"),
        string("m")
    );
    let edited = parse(&text)
        .edited(&[
            set("k3s/b", "b"),
            set("k3s/d", "d"),
            set("k3s/t/z", "z"),
            set("k3s/t/a", "a2"),
            set("k3s/new/key.v1", "n"),
        ])
        .unwrap();
    let expected = format!(
        "# head\n\n# about a\na = {}\nb = {}\nc = {}\nd = {}\n\n[t]\nm = {}\nz = {}\na = {}\n\n[new]\n\"key.v1\" = {}\n",
        string("a"),
        string("b"),
        string("c"),
        string("d"),
        string("m"),
        string("z"),
        string("a2"),
        string("n"),
    );
    assert_eq!(edited.text(), expected);
}

#[test]
fn a_key_of_no_table_goes_above_the_first_table_and_below_the_head_of_the_file() {
    let cases = [
        (
            format!("[t]\nm = {}\n", string("m")),
            format!("a = {}\n\n[t]\nm = {}\n", string("n"), string("m")),
        ),
        (
            format!("# head\n\n# about t\n[t]\nm = {}\n", string("m")),
            format!(
                "# head\n\na = {}\n\n# about t\n[t]\nm = {}\n",
                string("n"),
                string("m")
            ),
        ),
        (
            format!("# head\n[t]\nm = {}\n", string("m")),
            format!("# head\na = {}\n\n[t]\nm = {}\n", string("n"), string("m")),
        ),
        (
            "# only words".to_owned(),
            format!("# only words\na = {}\n", string("n")),
        ),
        (String::new(), format!("a = {}\n", string("n"))),
    ];
    for (text, expected) in cases {
        let edited = parse(&text).edited(&[set("k3s/a", "n")]).unwrap();
        assert_eq!(edited.text(), expected);
    }
}

#[test]
fn a_removed_value_takes_its_lines_and_nothing_else() {
    let text = format!(
        "# words above\na = {} # beside\nb = {}\n[t]\nc = {}",
        string("a"),
        string("b"),
        string("c")
    );
    let remove = |at: &str| Edit::Remove(name(at));
    let edited = parse(&text)
        .edited(&[remove("k3s/a"), remove("k3s/t/c")])
        .unwrap();
    assert_eq!(
        edited.text(),
        format!("# words above\nb = {}\n[t]\n", string("b"))
    );
    assert!(!edited.is_blank());
    let only = parse(&format!("a = {}\n", string("a")));
    assert!(only.edited(&[remove("k3s/a")]).unwrap().is_blank());
    assert!(only.edited(&[remove("k3s/z")]).is_err());
}

#[test]
fn an_empty_document_begins_a_file() {
    let document = Document::empty("k3s", "secrets/k3s.toml");
    let edited = document
        .edited(&[set("k3s/t/u/v", "x"), set("k3s/a", "y")])
        .unwrap();
    assert_eq!(names(&edited), ["k3s/a", "k3s/t/u/v"]);
    assert_eq!(
        edited.text(),
        format!("a = {}\n\n[t.u]\nv = {}\n", string("y"), string("x"))
    );
}

#[test]
fn a_name_that_would_be_a_table_and_a_value_is_refused() {
    let document = parse(&format!("[t]\na = {}\n", string("a")));
    for bad in ["k3s/t", "k3s/t/a/b"] {
        let failure = document.edited(&[set(bad, "x")]).unwrap_err();
        assert!(failure.message.contains("k3s/t/a"), "{failure:?}");
    }
}

#[test]
fn inline_and_dotted_layouts_are_changed_or_refused_but_never_broken() {
    let text = format!("a.b.c = {}\nd = {{ e = {} }}\n", string("1"), string("2"));
    let document = parse(&text);
    let edited = document
        .edited(&[set("k3s/d/e", "3"), set("k3s/a/b/d", "4")])
        .unwrap();
    assert_eq!(names(&edited), ["k3s/a/b/c", "k3s/a/b/d", "k3s/d/e"]);
    for bad in [
        set("k3s/d/f", "5"),
        set("k3s/a/x", "6"),
        Edit::Remove(name("k3s/d/e")),
    ] {
        let failure = document.edited(&[bad]).unwrap_err();
        assert!(failure.hint.is_some(), "{failure:?}");
    }
}

#[test]
fn what_is_not_encrypted_is_refused_with_its_place_and_never_shown() {
    let said = refused(&format!(
        "a = {}\npassword = \"hunter2\"\n[t]\nport = 4711\nlist = [\"hunter3\"]\n[[many]]\nx = 1\n",
        string("a")
    ));
    assert!(
        said.contains("line 6: k3s/password is not encrypted"),
        "{said}"
    );
    assert!(
        said.contains("line 8: k3s/t/port is not encrypted"),
        "{said}"
    );
    assert!(said.contains("line 9: k3s/t/list"), "{said}");
    assert!(said.contains("line 10: a list of tables"), "{said}");
    assert!(!said.contains("hunter") && !said.contains("4711"), "{said}");
}

#[test]
fn broken_files_are_refused_with_the_line_and_without_their_content() {
    let said = refused("a = hunter2\n");
    assert!(
        said.contains("line 1") && !said.contains("hunter2"),
        "{said}"
    );
    let said = refused(&format!("a = {}\na = {}\n", string("a"), string("b")));
    assert!(
        said.contains("line 6: a stands here a second time"),
        "{said}"
    );
    let said = refused(&format!("A = {}\n", string("a")));
    assert!(
        said.contains("line 1: this key cannot be part of a name"),
        "{said}"
    );
    let failure = Document::parse("k3s", "f", b"a = 1\n\xff\n").unwrap_err();
    assert_eq!(failure.evidence, ["line 2: this is not UTF-8"]);
}

#[test]
fn a_merge_that_nobody_resolved_is_told_by_the_values_it_is_about() {
    let said = refused(
        "[t]\na = '''\n-----BEGIN AGE ENCRYPTED FILE-----\n<<<<<<< HEAD\nxx\n=======\nyy\n>>>>>>> other\n-----END AGE ENCRYPTED FILE-----\n'''\n",
    );
    assert!(said.contains("nobody resolved"), "{said}");
    assert!(said.contains("line 4: in k3s/t/a"), "{said}");
}
