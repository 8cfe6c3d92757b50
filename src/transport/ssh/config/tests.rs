//! Tests of the reader of ssh_config.

use super::super::files::MemoryFiles;
use super::*;

fn load(files: &[(&str, &str)]) -> Result<SshConfig, Failure> {
    let files = MemoryFiles(
        files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
            .collect(),
    );
    let variable = |name: &str| (name == "DIR").then(|| "conf.d".to_owned());
    SshConfig::load(&files, Path::new("/home/me"), &variable)
}

fn lookup(text: &str, name: &str) -> Settings {
    load(&[("/home/me/.ssh/config", text)])
        .unwrap()
        .lookup(name)
}

#[test]
fn the_first_value_wins_and_the_system_file_comes_last() {
    let config = load(&[
        (
            "/home/me/.ssh/config",
            "Host pi*\n User pi\nHost *\n User me\n Port 2222\n",
        ),
        (
            "/etc/ssh/ssh_config",
            "User root\nPort 22\nHostKeyAlias sys\n",
        ),
    ])
    .unwrap();
    let pi = config.lookup("pi5");
    assert_eq!((pi.user.as_deref(), pi.port), (Some("pi"), Some(2222)));
    assert_eq!(pi.host_key_alias.as_deref(), Some("sys"));
    assert_eq!(config.lookup("x").user.as_deref(), Some("me"));
}

#[test]
fn an_included_file_ends_with_the_block_that_includes_it() {
    let config = load(&[
        (
            "/home/me/.ssh/config",
            "Host a*\n Include ${DIR}/*.conf none/*\n Port 1\nHost *\n User last\n",
        ),
        (
            "/home/me/.ssh/conf.d/1.conf",
            "User first\nHost *b\n Port 7\n",
        ),
        ("/home/me/.ssh/conf.d/2.conf", "HostKeyAlias x\n"),
        ("/home/me/.ssh/conf.d/.hidden.conf", "Port 9\n"),
    ])
    .unwrap();
    let said = |name: &str| {
        let found = config.lookup(name);
        (found.user, found.port, found.host_key_alias.is_some())
    };
    assert_eq!(said("ab"), (Some("first".to_owned()), Some(7), true));
    assert_eq!(said("a"), (Some("first".to_owned()), Some(1), true));
    assert_eq!(said("b"), (Some("last".to_owned()), None, false));
}

#[test]
fn what_is_not_followed_is_named_with_its_place_where_it_applies() {
    let text = "Host a\n  ciphers aes128-ctr\n  Ciphers aes256-ctr\n  SendEnv X\n  NoSuchThing 1\n\
                Host b\n  CertificateFile x\n  IgnoreUnknown nosuch*\n  NoSuchThing 1\n";
    assert_eq!(
        lookup(text, "a").unsupported,
        [
            "ciphers (~/.ssh/config:2)",
            "NoSuchThing (~/.ssh/config:5, not known)"
        ]
    );
    assert_eq!(
        lookup(text, "b").unsupported,
        ["CertificateFile (~/.ssh/config:7)"]
    );
    assert!(lookup(text, "c").unsupported.is_empty());
}

#[test]
fn a_match_is_named_once_where_it_could_matter_and_match_all_is_followed() {
    let text = "Match host a exec \"true\"\n User x\n Port 1\nMatch user root\n SendEnv X\nMatch all\n User y\n";
    let found = lookup(text, "a");
    assert_eq!(
        found.unsupported,
        ["Match host a exec true (~/.ssh/config:1)"]
    );
    assert_eq!((found.user.as_deref(), found.port), (Some("y"), None));
}

#[test]
fn whichever_proxy_comes_first_wins() {
    let proxy = |text: &str| lookup(text, "a").proxy.map(|(proxy, _)| proxy);
    assert_eq!(
        proxy("ProxyCommand none\nProxyJump gate\n"),
        Some(Proxy::Straight)
    );
    assert_eq!(
        proxy("ProxyCommand nc %h\nProxyJump gate\n"),
        Some(Proxy::Command)
    );
    assert!(matches!(
        proxy("ProxyJump gate\nProxyCommand nc\n"),
        Some(Proxy::Jump(jumps)) if jumps.len() == 1
    ));
}

#[test]
fn a_wrong_line_is_named_with_file_and_line() {
    let wrong = |text: &str| load(&[("/home/me/.ssh/config", text)]).unwrap_err();
    let failure = wrong("Host a\n  Port many\n");
    assert_eq!(
        failure.message,
        "~/.ssh/config:2: `many` is not a port: write a number from 1 to 65535"
    );
    assert_eq!(failure.evidence, ["Port many"]);
    assert!(wrong("User\n").message.ends_with("`User` has no value"));
    assert!(wrong("Host \"\"\n").message.contains("empty name"));
    let nested = load(&[
        ("/home/me/.ssh/config", "Include x\n"),
        ("/home/me/.ssh/x", "\nUser 'a\n"),
    ]);
    assert_eq!(
        nested.unwrap_err().message,
        "~/.ssh/x:2: a quote is not closed"
    );
}

#[test]
fn files_that_include_each_other_end() {
    let circle = load(&[("/home/me/.ssh/config", "Include ~/.ssh/config\n")]);
    assert!(circle.unwrap_err().message.contains("too deeply"));
    let many = "Include ~/.ssh/config ~/.ssh/config\n";
    let wide = load(&[("/home/me/.ssh/config", many)]);
    assert!(wide.is_err());
    assert!(load(&[]).unwrap().entries.is_empty());
}
