//! One line of ssh_config as what it means: the directives that are followed, those that would change how a machine is
//! reached and are not, and those that do not matter here.

use super::words::arguments;

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Directive {
    HostName(String),
    User(String),
    Port(u16),
    IdentityFile(String),
    IdentitiesOnly(bool),
    IdentityAgent(String),
    HostKeyAlias(String),
    UserKnownHostsFile(Vec<String>),
    GlobalKnownHostsFile(Vec<String>),
    Proxy(Proxy),
    IgnoreUnknown(Vec<String>),
    /// Would change how the machine is reached, and is not supported.
    Unsupported,
    /// No directive that OpenSSH 10 has.
    Unknown,
    /// Does not matter here.
    Harmless,
}

/// The way to a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proxy {
    /// `none`: straight.
    Straight,
    /// `ProxyJump`, the first one to be reached first.
    Jump(Vec<Jump>),
    /// `ProxyCommand`: not supported.
    Command,
}

/// One host of a `ProxyJump`: `[USER@]HOST[:PORT]` or `ssh://...`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jump {
    /// User.
    pub user: Option<String>,
    /// What is looked up in ssh_config.
    pub host: String,
    /// TCP port.
    pub port: Option<u16>,
}

/// Would change how a machine is reached or what is trusted, unless the value is the one beside it.
const UNSUPPORTED: &[(&str, &[&str])] = &[
    ("addressfamily", &["any"]),
    ("bindaddress", &[]),
    ("bindinterface", &[]),
    ("canonicalizehostname", &["no", "false", "none"]),
    ("certificatefile", &["none"]),
    ("ciphers", &[]),
    ("hostkeyalgorithms", &[]),
    ("kexalgorithms", &[]),
    ("knownhostscommand", &["none"]),
    ("macs", &[]),
    ("pkcs11provider", &["none"]),
    ("pubkeyacceptedalgorithms", &[]),
    ("pubkeyacceptedkeytypes", &[]),
    (
        "pubkeyauthentication",
        &["yes", "true", "unbound", "host-bound"],
    ),
    ("refuseconnection", &[]),
    ("requiredrsasize", &[]),
    ("revokedhostkeys", &["none"]),
];

/// All else that OpenSSH knows, or knew: sessions, forwardings, terminals, other ways to log in (a machine that refuses
/// our keys is told as such), and checks that are stricter here in any case.
const HARMLESS: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "canonicaldomains",
    "canonicalizefallbacklocal",
    "canonicalizemaxdots",
    "canonicalizepermittedcnames",
    "casignaturealgorithms",
    "challengeresponseauthentication",
    "channeltimeout",
    "checkhostip",
    "cipher",
    "clearallforwardings",
    "compression",
    "compressionlevel",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dsaauthentication",
    "dynamicforward",
    "enableescapecommandline",
    "enablesshkeysign",
    "escapechar",
    "exitonforwardfailure",
    "fallbacktorsh",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardagent",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "globalknownhostsfile2",
    "gssapiauthentication",
    "gssapiclientidentity",
    "gssapidelegatecredentials",
    "gssapikexalgorithms",
    "gssapikeyexchange",
    "gssapirenewalforcesrekey",
    "gssapiserveridentity",
    "gssapitrustdns",
    "hashknownhosts",
    "hostbasedacceptedalgorithms",
    "hostbasedauthentication",
    "hostbasedkeytypes",
    "ipqos",
    "kbdinteractiveauthentication",
    "kbdinteractivedevices",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "nohostauthenticationforlocalhost",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "passwordauthentication",
    "permitlocalcommand",
    "permitremoteopen",
    "preferredauthentications",
    "protocol",
    "proxyusefdpass",
    "rekeylimit",
    "remotecommand",
    "remoteforward",
    "requesttty",
    "rhostsrsaauthentication",
    "rsaauthentication",
    "securitykeyprovider",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "sessiontype",
    "setenv",
    "skeyauthentication",
    "smartcarddevice",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "stricthostkeychecking",
    "syslogfacility",
    "tag",
    "tcpkeepalive",
    "tisauthentication",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "usekeychain",
    "useprivilegedport",
    "userknownhostsfile2",
    "useroaming",
    "usersh",
    "verifyhostkeydns",
    "versionaddendum",
    "visualhostkey",
    "warnweakcrypto",
    "xauthlocation",
];

/// Reads a line; the keyword in any case. The error is what is wrong with it.
pub(super) fn read(keyword: &str, rest: &str) -> Result<Directive, String> {
    let name = keyword.to_ascii_lowercase();
    let words = arguments(rest).ok_or("a quote is not closed")?;
    // A command goes to a shell as it is written.
    if name == "proxycommand" {
        let none = rest.trim().eq_ignore_ascii_case("none");
        let proxy = if none {
            Proxy::Straight
        } else {
            Proxy::Command
        };
        return Ok(Directive::Proxy(proxy));
    }
    if HARMLESS.contains(&name.as_str()) {
        return Ok(Directive::Harmless);
    }
    let one = || match words.as_slice() {
        [] => Err(format!("`{keyword}` has no value")),
        [word] if word.is_empty() => Err(format!("the value of `{keyword}` is empty")),
        [word] => Ok(word.clone()),
        [_, more, ..] => Err(format!("`{keyword}` has one value; `{more}` is one more")),
    };
    let several = || match words.as_slice() {
        [] => Err(format!("`{keyword}` has no value")),
        words if words.iter().any(String::is_empty) => {
            Err(format!("a value of `{keyword}` is empty"))
        }
        words => Ok(words.to_vec()),
    };
    Ok(match name.as_str() {
        "hostname" => Directive::HostName(one()?),
        "user" => Directive::User(one()?),
        "port" => Directive::Port(port(&one()?)?),
        "identityfile" => Directive::IdentityFile(one()?),
        "identitiesonly" => Directive::IdentitiesOnly(yes_or_no(&one()?)?),
        "identityagent" => Directive::IdentityAgent(one()?),
        "hostkeyalias" => Directive::HostKeyAlias(one()?),
        "userknownhostsfile" => Directive::UserKnownHostsFile(several()?),
        "globalknownhostsfile" => Directive::GlobalKnownHostsFile(several()?),
        "proxyjump" => Directive::Proxy(jumps(&one()?)?),
        "ignoreunknown" => Directive::IgnoreUnknown(one()?.split(',').map(str::to_owned).collect()),
        other => match UNSUPPORTED.iter().find(|(name, _)| *name == other) {
            Some((_, usual)) => {
                let first = words.first().map_or("", String::as_str);
                let is_usual = |value: &&str| first.eq_ignore_ascii_case(value);
                if usual.iter().any(is_usual) {
                    Directive::Harmless
                } else {
                    Directive::Unsupported
                }
            }
            None => Directive::Unknown,
        },
    })
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("`{text}` is not a port: write a number from 1 to 65535"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("`{text}` is neither `yes` nor `no`")),
    }
}

fn jumps(text: &str) -> Result<Proxy, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Proxy::Straight);
    }
    let jumps: Option<Vec<Jump>> = text.split(',').map(jump).collect();
    jumps
        .map(Proxy::Jump)
        .ok_or_else(|| format!("`{text}` is not a list of `[USER@]HOST[:PORT]`"))
}

fn jump(text: &str) -> Option<Jump> {
    let text = text
        .strip_prefix("ssh://")
        .map_or(text, |uri| uri.strip_suffix('/').unwrap_or(uri));
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, text),
    };
    let (host, number) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match rest.split_once(':') {
            Some((host, number)) => (host, Some(number)),
            None => (rest, None),
        },
    };
    let usable = |word: &str| {
        !word.is_empty() && !word.starts_with('-') && !word.contains([' ', '\t', '/', ','])
    };
    (usable(host) && user.is_none_or(usable)).then_some(())?;
    Some(Jump {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port: number.map(port).transpose().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_a_user_a_host_and_a_port() {
        let is = |text: &str, user: Option<&str>, host: &str, port: Option<u16>| {
            let wanted = Jump {
                user: user.map(str::to_owned),
                host: host.to_owned(),
                port,
            };
            assert_eq!(jump(text), Some(wanted), "{text}");
        };
        is("gate", None, "gate", None);
        is("me@gate:2222", Some("me"), "gate", Some(2222));
        is("a@b@gate", Some("a@b"), "gate", None);
        is("[2001:db8::1]:22", None, "2001:db8::1", Some(22));
        is("ssh://me@gate:22/", Some("me"), "gate", Some(22));
        for bad in [
            "", "@gate", "me@", "gate:", "gate:0", "gate:x", "::1", "[::1", "-gate", "a b",
        ] {
            assert_eq!(jump(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_lists_of_keywords_are_sorted_and_name_each_once() {
        assert!(HARMLESS.is_sorted());
        assert!(UNSUPPORTED.is_sorted());
        assert!(!UNSUPPORTED.iter().any(|(name, _)| HARMLESS.contains(name)));
    }

    #[test]
    fn a_value_that_changes_nothing_is_harmless() {
        for (line, harmless) in [
            ("CertificateFile none", true),
            ("CertificateFile ~/x", false),
            ("PubkeyAuthentication yes", true),
            ("PubkeyAuthentication no", false),
            ("Ciphers aes128-ctr", false),
            ("ForwardAgent perhaps", true),
        ] {
            let (keyword, rest) = line.split_once(' ').unwrap();
            let found = read(keyword, rest).unwrap();
            assert_eq!(found == Directive::Harmless, harmless, "{line}");
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (line, words) in [
            ("Port 0", "`0` is not a port"),
            ("Port ssh", "`ssh` is not a port"),
            ("IdentitiesOnly perhaps", "neither `yes` nor `no`"),
            ("HostName a b", "`b` is one more"),
            ("HostName \"\"", "is empty"),
            ("HostName # x", "has no value"),
            ("User \"x", "a quote is not closed"),
            ("ProxyCommand nc %h \"", "a quote is not closed"),
            ("ProxyJump a,,b", "is not a list"),
        ] {
            let (keyword, rest) = line.split_once(' ').unwrap();
            let error = read(keyword, rest).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
