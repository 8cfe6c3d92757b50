use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;
use crate::model::shell;

fn knowing(values: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    redactor.register_all(values.iter().map(|value| ("a/b", value.as_bytes())));
    redactor
}

#[test]
fn where_nothing_is_registered_everything_is_given_back_as_it_is() {
    let redactor = Redactor::default();
    assert!(redactor.is_empty());
    assert!(matches!(redactor.text("hunter2-hunter2"), Cow::Borrowed(_)));
    let mut chunks = redactor.chunks();
    assert_eq!(chunks.push("hunter2-"), "hunter2-");
    assert_eq!(chunks.finish(), "");
}

#[test]
fn a_value_shows_as_its_name_and_what_is_around_it_stays() {
    let redactor = knowing(&["hunter2-hunter2"]);
    assert_eq!(redactor.text("p=hunter2-hunter2;"), "p=<secret a/b>;");
    assert_eq!(redactor.text("p=hunter2-hunter;"), "p=hunter2-hunter;");
    assert_eq!(redactor.finds("x hunter2-hunter2"), Some("a/b".to_owned()));
    assert_eq!(redactor.finds("hunter"), None);
    redactor.register("", b"unnamed-value");
    assert_eq!(redactor.text("unnamed-value"), "<secret>");
    redactor.register("c/d", b"unnamed-value\n");
    assert_eq!(redactor.text("unnamed-value"), "<secret c/d>");
}

#[test]
fn what_was_taken_out_is_not_taken_out_again() {
    let redactor = knowing(&["secret", "a/b", "hunter2-hunter2", "<secret a/b>"]);
    let once = redactor.text("p=hunter2-hunter2 secret").into_owned();
    assert_eq!(once, "p=<secret a/b> <secret a/b>");
    assert_eq!(redactor.text(&once), once);
    let mut chunks = redactor.chunks();
    let twice: String = once.chars().map(|c| chunks.push(&c.to_string())).collect();
    assert_eq!(twice + &chunks.finish(), once);
}

#[test]
fn short_values_are_found_as_words_and_shorter_ones_not_at_all() {
    let redactor = knowing(&["1234", "abc"]);
    assert_eq!(
        redactor.text("pin 1234, 20261234 1234x abc"),
        "pin <secret a/b>, 20261234 1234x abc"
    );
    let mut chunks = redactor.chunks();
    let pieces = ["20", "12", "34 ", "1234", "5 ", "1234", " ", "1234"];
    let shown: String = pieces.iter().map(|piece| chunks.push(piece)).collect();
    assert_eq!(
        shown + &chunks.finish(),
        "201234 12345 <secret a/b> <secret a/b>"
    );
}

#[test]
fn values_that_overlap_leave_nothing_of_either() {
    let redactor = knowing(&["aaaa-bbbb-cccc", "cccc-dddd-eeee", "bbbb"]);
    assert_eq!(
        redactor.text("x aaaa-bbbb-cccc-dddd-eeee y"),
        "x <secret a/b> y"
    );
}

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHs8k2\nuN0yLx0n8zM1yPpQ==\nshort\n-----END PRIVATE KEY-----\n";

#[test]
fn of_a_value_of_several_lines_each_line_is_found_and_its_armor_is_not() {
    let redactor = knowing(&[KEY]);
    assert_eq!(redactor.text(KEY), "<secret a/b>\n");
    assert_eq!(
        redactor.text(&KEY.replace('\n', "\r\n")),
        "<secret a/b>\r\n"
    );
    assert_eq!(
        redactor.text("-----BEGIN PRIVATE KEY-----\n  uN0yLx0n8zM1yPpQ==\n"),
        "-----BEGIN PRIVATE KEY-----\n  <secret a/b>\n"
    );
    let mut lines: Vec<String> = KEY.lines().map(str::to_owned).collect();
    redactor.lines(&mut lines);
    assert_eq!(lines, ["<secret a/b>"]);
}

#[test]
fn base64_that_a_program_broke_into_lines_is_found() {
    let value: String = (0..400)
        .map(|n| char::from(b'a' + (n * 7 % 26) as u8))
        .collect();
    let redactor = knowing(&[&value]);
    for width in [64, 76] {
        let encoded = STANDARD.encode(&value);
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(width)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let shown = redactor.text(&lines.join("\n")).into_owned();
        assert!(!leaks(&shown, &encoded), "{shown}");
    }
}

#[test]
fn the_beginning_of_a_value_that_was_cut_off_is_found_and_so_is_the_rest_of_one() {
    let value = "0123456789abcdefghijklmnopqrstuvwxyz-0123456789";
    let redactor = knowing(&[value]);
    assert_eq!(
        redactor.text("x 0123456789abcdefghijklmnopqrstuvwxyz..."),
        "x <secret a/b>..."
    );
    assert_eq!(redactor.text("0123456789abcdef..."), "0123456789abcdef...");
    assert_eq!(redactor.tail("xyz-0123456789 y"), "<secret> y");
    assert_eq!(redactor.tail("no rest 56789"), "no rest 56789");
    let mut chunks = redactor.chunks();
    assert_eq!(chunks.push("x 0123456789ab"), "x ");
    assert_eq!(chunks.finish(), "<secret a/b>");
}

#[test]
fn a_piece_that_cannot_begin_a_value_is_not_held_back() {
    let redactor = knowing(&["hunter2-hunter2"]);
    let mut chunks = redactor.chunks();
    assert_eq!(chunks.push("no secret here h"), "no secret here ");
    assert_eq!(chunks.push("ello\n"), "hello\n");
    redactor.register("n/w", b"registered-later");
    assert_eq!(chunks.push("registered-"), "");
    assert_eq!(chunks.push("later!"), "<secret n/w>!");
    assert_eq!(chunks.finish(), "");
}

#[test]
fn a_value_that_is_registered_while_its_beginning_waits_is_found() {
    let redactor = knowing(&["hunter2-hunter2"]);
    let mut chunks = redactor.chunks();
    assert_eq!(chunks.push("hunter2-"), "");
    redactor.register("n/w", b"hunter2-is-not-it");
    assert_eq!(chunks.push("is-not-it."), "<secret n/w>.");
}

#[test]
fn json_stays_json() {
    let redactor = knowing(&["1234", "nfoo-bar-baz", "say \"hi\" to them"]);
    let text = r#"{"at":1234,"t":"1234 \nfoo-bar-baz","u":"say \"hi\" to them"}"#;
    let clean = redactor.json_text(text);
    assert_eq!(
        clean,
        r#"{"at":1234,"t":"<secret a/b> \n<secret a/b>","u":"<secret a/b>"}"#
    );
    serde_json::from_str::<serde_json::Value>(&clean).unwrap();
}

#[test]
fn a_value_that_is_no_text_is_found_in_bytes_and_encodings() {
    let value = b"\xff\x00binary\x80 and some text\xfe";
    let redactor = Redactor::default();
    redactor.register("a/b", value);
    let mut bytes = b"x".to_vec();
    bytes.extend_from_slice(value);
    assert_eq!(&*redactor.bytes(&bytes), b"x<secret a/b>");
    let encoded = STANDARD.encode(value);
    assert!(!leaks(&redactor.text(&encoded), &encoded));
    let lossy = String::from_utf8_lossy(value).into_owned();
    assert!(!redactor.text(&lossy).contains("some text"));
}

#[test]
fn long_values_are_known_by_their_ends_and_lines() {
    let lines: Vec<String> = (0..4000)
        .map(|n| format!("line-{}-of-a-long-value", n * 7919))
        .collect();
    let value = lines.join("\n");
    let redactor = knowing(&[&value]);
    let shown = redactor.text(&value).into_owned();
    assert!(!shown.contains("of-a-long"), "{}", shown.len());
    assert_eq!(
        redactor.text("x line-15838000-of-a-long-value"),
        "x <secret a/b>"
    );
}

#[test]
fn of_a_file_from_a_sensitive_place_keys_are_taken_and_words_stay() {
    let redactor = Redactor::default();
    redactor.register_file(
        b"apiVersion: v1\nkind: Config\npassword: correct-horse\ntoken: K10abc\nclient: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1J\nenabled_auth: false\n",
    );
    let text = "kind: Config, correct-horse LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1J false";
    assert_eq!(redactor.text(text), "kind: Config, <secret> <secret> false");
    redactor.register_file(b"single-line-token\n");
    assert_eq!(redactor.text("single-line-token"), "<secret>");
}

/// Whether eight or more characters of the form are left in the text.
fn leaks(text: &str, form: &str) -> bool {
    let form: Vec<char> = form.chars().collect();
    let windows = form
        .windows(8)
        .map(|window| window.iter().collect::<String>());
    windows.into_iter().any(|window| text.contains(&window))
}

/// A value as programs show it, in the middle of something.
fn encodings(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
    let percent: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
    let mut all = vec![
        value.to_owned(),
        serde_json::to_string(value).unwrap(),
        format!("{value:?}"),
        shell::quote(value),
        hex.to_uppercase(),
        hex,
        value.replace('\n', "\r\n"),
    ];
    if value
        .bytes()
        .all(|b| !b.is_ascii_alphanumeric() && !b"-._~!'()*;,/?:@&=+$#".contains(&b))
    {
        all.push(percent);
    }
    for before in ["", "x", "xy"] {
        for after in ["", "z", "zz"] {
            let whole = format!("{before}{value}{after}");
            all.extend([STANDARD.encode(&whole), URL_SAFE.encode(&whole)]);
        }
    }
    all
}

fn pieces(text: &str, cuts: &[usize]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (chars.len() + 1)).collect();
    cuts.extend([0, chars.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|cut| chars[cut[0]..cut[1]].iter().collect())
        .collect()
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!-~]{8,40}",
        "[ -~]{0,3}[!-~]{8}[ -~\n]{0,60}[!-~]",
        "[a-f0-9]{16,64}",
        "\\PC{8,30}",
        "[a-z\"'\\\\\n\t éß€🦀]{8,40}",
        "(aa|ab){4,20}",
    ]
    .prop_filter("long enough", |value| value.trim().chars().count() >= 8)
}

#[test]
fn blanks_of_unicode_around_a_value_are_no_part_of_it() {
    let redactor = Redactor::default();
    redactor.register_all([("n", "\u{a0}canary-7Q2x\u{2003}".as_bytes())]);
    assert!(!redactor.text("it is canary-7Q2x.").contains("canary"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    #[test]
    fn no_eight_characters_of_a_value_survive_in_any_form_cut_anywhere(
        values in prop::collection::vec(value(), 1..4),
        around in "[ -~]{0,12}",
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let redactor = Redactor::default();
        redactor.register_all(values.iter().map(|value| ("n", value.as_bytes())));
        for form in values.iter().flat_map(|value| encodings(value.trim())) {
            let text = format!("{around}{form}{around}");
            let whole = redactor.text(&text).into_owned();
            // What is around it may look like a part of it.
            prop_assume!(!leaks(&format!("{around}|{around}"), &form));
            prop_assert!(!leaks(&whole, &form), "{text:?} gives {whole:?}");
            let mut chunks = redactor.chunks();
            let mut shown = String::new();
            for piece in pieces(&text, &cuts) {
                shown.push_str(&chunks.push(&piece));
            }
            shown.push_str(&chunks.finish());
            prop_assert!(!leaks(&shown, &form), "{text:?} gives {shown:?}");
        }
    }

    #[test]
    fn what_is_no_value_comes_out_as_it_went_in(
        values in prop::collection::vec("[A-Z]{8}[a-z0-9]{4,30}", 1..4),
        text in "[ -@a-z{-~éß€\n]{0,200}",
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let redactor = Redactor::default();
        redactor.register_all(values.iter().map(|value| ("n", value.as_bytes())));
        let hex: Vec<String> = values.iter().map(|value| value.bytes().map(|b| format!("{b:02x}")).collect()).collect();
        prop_assume!(hex.iter().all(|hex| !leaks(&text, hex)));
        prop_assert_eq!(redactor.text(&text), text.as_str());
        let mut chunks = redactor.chunks();
        let mut shown = String::new();
        for piece in pieces(&text, &cuts) {
            shown.push_str(&chunks.push(&piece));
        }
        shown.push_str(&chunks.finish());
        prop_assert_eq!(shown, text);
    }

    #[test]
    fn pieces_give_what_the_whole_gives(
        values in prop::collection::vec("[ab]{4,12}", 1..4),
        text in "[ab -]{0,60}",
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let redactor = Redactor::default();
        redactor.register_all(values.iter().map(|value| ("n", value.as_bytes())));
        let whole = redactor.text(&format!("{text} |")).into_owned();
        let mut chunks = redactor.chunks();
        let mut shown = String::new();
        for piece in pieces(&format!("{text} |"), &cuts) {
            shown.push_str(&chunks.push(&piece));
        }
        shown.push_str(&chunks.finish());
        prop_assert_eq!(shown, whole);
    }
}
