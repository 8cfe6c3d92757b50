//! Fuzzing of the readers of ssh_config and known_hosts: seeded, bounded, the same in every run. `HMCO_FUZZ_CASES` sets how
//! many texts are tried. What must hold for every text: no panic, an end, an error with a place or settings; and a key that
//! one line of known_hosts gives stays known whatever stands on the other lines.
#![expect(clippy::disallowed_methods, reason = "a test reads its settings")]

use std::path::{Path, PathBuf};

use hmco_boot::transport::ssh::config::SshConfig;
use hmco_boot::transport::ssh::files::MemoryFiles;
use hmco_boot::transport::ssh::known_hosts::{KnownHosts, host_name};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

const CONFIG: [&str; 24] = [
    "Host",
    "Match",
    "all",
    "Include",
    "conf*",
    "~/.ssh/config",
    "HostName",
    "%h",
    "%%",
    "%",
    "Port",
    "22",
    "User",
    "=",
    "\"",
    "'",
    "\\",
    "#",
    "*",
    "!a",
    "ProxyJump",
    "a@b:1,[::1]",
    "IdentityFile",
    "${X}",
];

const KNOWN: [&str; 18] = [
    "@revoked",
    "@cert-authority",
    "@x",
    "|1|",
    "|1|AAAA|AAAA",
    "h",
    "*",
    "!h",
    "[h]:2222",
    ",",
    KEY,
    "ssh-ed25519",
    "AAAA",
    "ssh-rsa",
    "1024 35 77",
    "#",
    "\t",
    "=",
];

fn runner(seed: u64) -> TestRunner {
    let cases = std::env::var("HMCO_FUZZ_CASES");
    let cases = cases.ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    })
}

/// Lines of pieces of the language, and of anything.
fn text(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
        1 => any::<char>().prop_map(String::from),
    ];
    let blank = prop::sample::select(&[" ", "", "\t", "\n", "\r\n"][..]);
    prop::collection::vec((piece, blank), 0..40).prop_map(|words| {
        words
            .into_iter()
            .map(|(word, blank)| word + blank)
            .collect()
    })
}

#[test]
fn every_ssh_config_gives_settings_or_an_error_with_a_place() {
    runner(1)
        .run(
            &(text(&CONFIG), text(&CONFIG), "\\PC{0,12}"),
            |(config, included, name)| {
                let files = MemoryFiles(
                    [("/h/.ssh/config", config), ("/h/.ssh/conf1", included)]
                        .map(|(path, text)| (PathBuf::from(path), text))
                        .into(),
                );
                match SshConfig::load(&files, Path::new("/h"), &|_| Some("%h ${X}".to_owned())) {
                    Ok(config) => {
                        config.lookup(&name);
                    }
                    Err(failure) => {
                        prop_assert!(failure.message.starts_with("~/.ssh/conf"), "{failure:?}");
                        prop_assert!(failure.hint.is_some());
                    }
                }
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn a_key_in_known_hosts_is_found_whatever_stands_around_it() {
    runner(2)
        .run(
            &(text(&KNOWN), text(&KNOWN), any::<u16>()),
            |(before, after, port)| {
                let name = host_name("own.host", port);
                let pattern = name.replace('*', "?");
                let known = KnownHosts::parse("kh", &format!("{before}\n{pattern} {KEY}\n{after}"));
                prop_assert_eq!(known.find(&name).keys.len(), 1);
                known.find(&host_name("h", port));
                Ok(())
            },
        )
        .unwrap();
}
