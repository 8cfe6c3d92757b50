use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::value::{Data, FileId};

const ALL: [VarType; 12] = [
    VarType::String,
    VarType::Int,
    VarType::Bool,
    VarType::Ip,
    VarType::IpRange,
    VarType::Cidr,
    VarType::Hostname,
    VarType::Duration,
    VarType::Size,
    VarType::List,
    VarType::Table,
    VarType::Secret,
];

pub(super) fn at(start: u32) -> Span {
    Span {
        file: FileId(0),
        start,
        end: start + 5,
    }
}

pub(super) fn value(start: u32, data: Data) -> Value {
    Value {
        span: at(start),
        data,
    }
}

pub(super) fn text(start: u32, text: &str) -> Value {
    value(start, Data::String(text.to_owned()))
}

#[test]
fn every_example_is_of_its_own_type() {
    for kind in ALL {
        let example = kind.example().trim_matches('"');
        let parsed = kind.parse_cli(example).unwrap();
        assert_eq!(kind.check(&parsed), Ok(()), "{kind:?}");
        assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.name()));
    }
}

const GOOD: [(VarType, &str); 9] = [
    (VarType::Ip, "fd00::1"),
    (VarType::IpRange, "10.0.0.1 - 10.0.0.1"),
    (VarType::IpRange, "fd00::1-fd00::ff"),
    (VarType::Cidr, "0.0.0.0/0"),
    (VarType::Cidr, "fd00::/64"),
    (VarType::Hostname, "3com.example"),
    (VarType::Size, "1048576"),
    (VarType::Size, "10G"),
    (VarType::Duration, "2d"),
];

const BAD: [(VarType, &str); 23] = [
    (VarType::Ip, "192.168.1.256"),
    (VarType::Ip, "192.168.1.1/24"),
    (VarType::Ip, "host"),
    (VarType::IpRange, "10.0.0.1"),
    (VarType::IpRange, "10.0.0.9-10.0.0.1"),
    (VarType::IpRange, "10.0.0.9-fd00::1"),
    (VarType::IpRange, "10.0.0.9-20"),
    (VarType::Cidr, "10.42.0.1/16"),
    (VarType::Cidr, "10.42.0.0"),
    (VarType::Cidr, "10.42.0.0/33"),
    (VarType::Hostname, ""),
    (VarType::Hostname, "a..b"),
    (VarType::Hostname, "-a"),
    (VarType::Hostname, "a_b"),
    (VarType::Hostname, "exämple"),
    (VarType::Size, "10 G"),
    (VarType::Size, "10GB"),
    (VarType::Size, "99999999999999999999"),
    (VarType::Size, "99999999T"),
    (VarType::Duration, "5"),
    (VarType::Secret, "hunter2"),
    (VarType::Int, "5"),
    (VarType::List, "a"),
];

#[test]
fn texts_of_a_certain_form_are_checked_to_the_last_letter() {
    for (kind, example) in GOOD {
        assert_eq!(kind.check(&text(0, example)), Ok(()), "{example}");
    }
    let told: Vec<String> = BAD
        .map(|(kind, example)| {
            let mistake = kind.check(&text(7, example)).unwrap_err();
            assert_eq!(mistake.span, Some(at(7)));
            format!(
                "{}: {}; {}",
                kind.name(),
                mistake.message,
                mistake.hint.unwrap()
            )
        })
        .into();
    insta::assert_snapshot!(told.join("\n"), @r##"
    ip: "192.168.1.256" is not an IP address; write it like `"192.168.1.11"`
    ip: "192.168.1.1/24" is not an IP address; write it like `"192.168.1.11"`
    ip: "host" is not an IP address; write it like `"192.168.1.11"`
    ip-range: "10.0.0.1" is not a range: it has no `-`; write it like `"192.168.1.240-192.168.1.250"`
    ip-range: "10.0.0.9-10.0.0.1" ends before it starts; write it like `"192.168.1.240-192.168.1.250"`
    ip-range: "10.0.0.9-fd00::1" mixes IPv4 and IPv6; write it like `"192.168.1.240-192.168.1.250"`
    ip-range: "20" is not an IP address; write it like `"192.168.1.240-192.168.1.250"`
    cidr: "10.42.0.1/16" has host bits set: the network is `10.42.0.0/16`; write it like `"10.42.0.0/16"`
    cidr: "10.42.0.0" is an address, not a network: the prefix length is missing; write it like `"10.42.0.0/16"`
    cidr: "10.42.0.0/33" is not a network; write it like `"10.42.0.0/16"`
    hostname: "" is not a host name: it is empty; write it like `"pi5-01.lab.example.org"`
    hostname: "a..b" is not a host name: it has an empty part; write it like `"pi5-01.lab.example.org"`
    hostname: "-a" is not a host name: a part starts or ends with `-`; write it like `"pi5-01.lab.example.org"`
    hostname: "a_b" is not a host name: it has `_`; write it like `"pi5-01.lab.example.org"`
    hostname: "exämple" is not a host name: it has `ä`; write it like `"pi5-01.lab.example.org"`
    size: "10 G" is not a size; write it like `"512Mi"`
    size: "10GB" is not a size; write it like `"512Mi"`
    size: "99999999999999999999" is not a size; write it like `"512Mi"`
    size: "99999999T" is more than can be counted; write it like `"512Mi"`
    duration: "5" is not a duration: write a number and a unit (ms, s, m, h, d), as in `90s` or `1h30m`; write it like `"1h30m"`
    secret: expected a secret, found a text in the open; write it like `{ secret = "folder/name" }`
    int: expected a whole number, found a string; write it like `3`
    list: expected a list, found a string; write it like `["a", "b"]`
    "##);
}

#[test]
fn sizes_are_counted_in_bytes() {
    assert_eq!(kinds::size("512Mi"), Ok(536_870_912));
    assert_eq!(kinds::size("10G"), Ok(10_000_000_000));
    assert_eq!(kinds::size("7"), Ok(7));
    assert_eq!(VarType::Size.check(&value(0, Data::Integer(4096))), Ok(()));
    assert!(VarType::Size.check(&value(0, Data::Integer(-1))).is_err());
}

#[test]
fn the_command_line_gives_every_type() {
    let list = |text| VarType::List.parse_cli(text).unwrap().to_json();
    assert_eq!(list("a, b"), json!(["a", "b"]));
    assert_eq!(list("[1, 'x']"), json!([1, "x"]));
    assert_eq!(list(""), json!([]));
    let table = |text| VarType::Table.parse_cli(text).unwrap().to_json();
    assert_eq!(table("{ a = 1 }"), json!({ "a": 1 }));
    assert_eq!(table("a = 0x10"), json!({ "a": 16 }));
    assert_eq!(
        VarType::String.parse_cli(" x ").unwrap().to_json(),
        json!(" x ")
    );
    assert_eq!(
        VarType::String.parse_cli("5").unwrap().to_json(),
        json!("5")
    );
    assert_eq!(VarType::Int.parse_cli("-5").unwrap().to_json(), json!(-5));
    assert_eq!(
        VarType::Bool.parse_cli("true").unwrap().to_json(),
        json!(true)
    );
    assert_eq!(
        VarType::Secret.parse_cli("tls/key").unwrap().to_json(),
        json!({ "secret": "tls/key" })
    );
    for (kind, bad) in [
        (VarType::Int, "5.0"),
        (VarType::Bool, "yes"),
        (VarType::List, "[1"),
        (VarType::Table, "x"),
        (VarType::Secret, ""),
        (VarType::Ip, "x"),
        (VarType::Cidr, "10.0.0.1/8"),
    ] {
        assert!(kind.parse_cli(bad).is_err(), "{kind:?} {bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn any_text_on_the_command_line_is_a_value_of_its_type_or_refused(
        text in prop_oneof!["\\PC{0,12}", "[0-9./:a-fMGi,-]{0,14}", "[\\[\\]{}=\"',a1 ]{0,10}"],
        kind in proptest::sample::select(ALL.to_vec()),
    ) {
        match kind.parse_cli(&text) {
            Ok(value) => prop_assert_eq!(kind.check(&value), Ok(())),
            Err(words) => prop_assert!(!words.is_empty()),
        }
    }
}
