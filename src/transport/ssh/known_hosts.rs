//! `known_hosts`: which host keys the caller's own SSH trusts for a host. Text in, keys out. The format is that of sshd(8),
//! "SSH_KNOWN_HOSTS FILE FORMAT".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

use super::config::matches_list;

/// One file.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    file: String,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    marker: Marker,
    hosts: Hosts,
    /// `TYPE BASE64 COMMENT`, read when it is asked for: files may be long.
    key: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Clone, Debug)]
enum Hosts {
    /// In lowercase.
    Patterns(Vec<String>),
    /// HMAC-SHA1 of the name, by a salt.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// What is known of a host.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Keys that are trusted, each once.
    pub keys: Vec<PublicKey>,
    /// Keys that are never to be trusted, each once.
    pub revoked: Vec<PublicKey>,
    /// Places of `@cert-authority` lines for it.
    pub authorities: Vec<String>,
    /// Places of lines for it whose key cannot be read.
    pub damaged: Vec<String>,
}

impl Found {
    /// Adds what another file knows.
    pub fn merge(&mut self, other: Self) {
        for (keys, more) in [
            (&mut self.keys, other.keys),
            (&mut self.revoked, other.revoked),
        ] {
            for key in more {
                if !keys.iter().any(|known| same_key(known, &key)) {
                    keys.push(key);
                }
            }
        }
        self.authorities.extend(other.authorities);
        self.damaged.extend(other.damaged);
    }
}

/// Whether two keys are one, whatever their comments say.
pub fn same_key(a: &PublicKey, b: &PublicKey) -> bool {
    a.key_data() == b.key_data()
}

/// The name of a host in known_hosts: with brackets and its port where that is not 22.
pub fn host_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

impl KnownHosts {
    /// Reads a file's text; `file` names it in places. What is no line of this format is passed over, as by OpenSSH.
    pub fn parse(file: &str, text: &str) -> Self {
        let lines = text
            .lines()
            .enumerate()
            .filter_map(|(index, line)| parse_line(index + 1, line))
            .collect();
        Self {
            file: file.to_owned(),
            lines,
        }
    }

    /// What is known under a name ([`host_name`], or a `HostKeyAlias`).
    pub fn find(&self, name: &str) -> Found {
        let mut found = Found::default();
        for line in self.lines.iter().filter(|line| line.hosts.name(name)) {
            let place = || format!("{}:{}", self.file, line.number);
            match (line.marker, PublicKey::from_openssh(&line.key)) {
                (Marker::Authority, _) => found.authorities.push(place()),
                (_, Err(_)) => found.damaged.push(place()),
                (Marker::Revoked, Ok(key)) => found.merge(Found {
                    revoked: vec![key],
                    ..Found::default()
                }),
                (Marker::None, Ok(key)) => found.merge(Found {
                    keys: vec![key],
                    ..Found::default()
                }),
            }
        }
        found
    }
}

impl Hosts {
    fn name(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let patterns = patterns.iter().map(String::as_str);
                matches_list(patterns, &name.to_lowercase()) == Some(true)
            }
            Self::Hashed { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        }
    }
}

fn parse_line(number: usize, line: &str) -> Option<Line> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (marker, line) = match line.strip_prefix('@') {
        None => (Marker::None, line),
        Some(marked) => {
            let (word, rest) = split(marked)?;
            let marker = match word {
                "cert-authority" => Marker::Authority,
                "revoked" => Marker::Revoked,
                _ => return None,
            };
            (marker, rest)
        }
    };
    let (hosts, key) = split(line)?;
    // A number here is a key of SSH's first version.
    if key.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let hosts = match hosts.strip_prefix("|1|") {
        Some(hashed) => {
            let (salt, hash) = hashed.split_once('|')?;
            let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
            // A hash that is cut short would match more names than one.
            (hash.len() == 20).then_some(Hosts::Hashed { salt, hash })?
        }
        None if hosts.starts_with('|') => return None,
        None => Hosts::Patterns(hosts.split(',').map(str::to_lowercase).collect()),
    };
    let mut words = key.split([' ', '\t']).filter(|word| !word.is_empty());
    let key = format!("{} {}", words.next()?, words.next()?);
    Some(Line {
        number,
        marker,
        hosts,
        key,
    })
}

/// The first word and the rest.
fn split(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once([' ', '\t'])?;
    Some((word, rest.trim_start_matches([' ', '\t'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    fn keys(text: &str, name: &str) -> Vec<PublicKey> {
        KnownHosts::parse("known_hosts", text).find(name).keys
    }

    #[test]
    fn names_addresses_ports_and_patterns_are_found() {
        let text = format!(
            "# a comment\n\npi5-01,192.168.1.11 {A} comment here\n*.lan,!bad.lan\t{B}\n[pi]:2222 {A}\n::1 {B}\n"
        );
        assert_eq!(keys(&text, "pi5-01"), [key(A)]);
        assert_eq!(keys(&text, "PI5-01"), [key(A)]);
        assert_eq!(keys(&text, "192.168.1.11"), [key(A)]);
        assert_eq!(keys(&text, "x.lan"), [key(B)]);
        assert!(keys(&text, "bad.lan").is_empty());
        assert_eq!(keys(&text, &host_name("Pi", 2222)), [key(A)]);
        assert!(keys(&text, "pi").is_empty());
        assert_eq!(keys(&text, "::1"), [key(B)]);
    }

    #[test]
    fn a_host_has_each_of_several_keys_once() {
        let text = format!("h {A}\nh {B}\nh {A}\n");
        assert_eq!(keys(&text, "h"), [key(A), key(B)]);
    }

    #[test]
    fn hashed_names_are_found() {
        let text = format!("|1|MDEyMzQ1Njc4OTAxMjM0NTY3ODk=|@HASH@ {A}\n");
        let mac = Hmac::<Sha1>::new_from_slice(b"01234567890123456789")
            .unwrap()
            .chain_update(b"gate.example.org")
            .finalize();
        let text = text.replace("@HASH@", &STANDARD.encode(mac.into_bytes()));
        assert_eq!(keys(&text, "gate.example.org"), [key(A)]);
        assert!(keys(&text, "gate.example.com").is_empty());
        let short = text.replace(&text[33..57], "AAAA");
        assert!(keys(&short, "gate.example.org").is_empty());
    }

    #[test]
    fn markers_are_told_apart() {
        let text = format!("@revoked * {A}\n@cert-authority *.lan {B}\nx.lan {B}\n@other * {B}\n");
        let found = KnownHosts::parse("kh", &text).find("x.lan");
        assert_eq!(found.keys, [key(B)]);
        assert_eq!(found.revoked, [key(A)]);
        assert_eq!(found.authorities, ["kh:2"]);
        assert!(found.damaged.is_empty());
    }

    #[test]
    fn damaged_lines_harm_no_other_and_are_named_where_they_are_about_the_host() {
        let text = format!(
            "h\nh ssh-ed25519\nh ssh-ed25519 AAAA\nh 1024 35 1234567\n|1|x|y {A}\n|2|a|b {A}\nother nonsense !!!\nh {A}\n"
        );
        let found = KnownHosts::parse("kh", &text).find("h");
        assert_eq!(found.keys, [key(A)]);
        assert_eq!(found.damaged, ["kh:3"]);
    }
}
