//! Secrets that can be told by their shape alone.
//!
//! The prefixes are those that their makers document for secret scanning (GitHub, GitLab, AWS, Google, Slack, Stripe,
//! npm, PyPI, Docker, HashiCorp, Tailscale, DigitalOcean, Cloudflare's new tokens); K3s' tokens are those that its
//! server writes.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{Finding, Kind, Lines};

/// A beginning, and what must follow.
struct Shape {
    start: &'static str,
    what: &'static str,
    then: Then,
}

enum Then {
    /// At least so many of these characters.
    Run(usize, fn(u8) -> bool),
    /// The body of a key in lines of base64.
    Pem,
    /// `K10`, the hash of a CA, `::`, the password.
    K3s,
    /// base64 of a PEM, as in a kubeconfig.
    KeyData,
    /// A user, a colon, a password, an at sign.
    Login,
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn wide(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

const fn run(start: &'static str, what: &'static str, least: usize, of: fn(u8) -> bool) -> Shape {
    Shape {
        start,
        what,
        then: Then::Run(least, of),
    }
}

const fn shape(start: &'static str, what: &'static str, then: Then) -> Shape {
    Shape { start, what, then }
}

static SHAPES: &[Shape] = &[
    shape("-----BEGIN ", "a private key", Then::Pem),
    shape(
        "PuTTY-User-Key-File-",
        "a private key (PuTTY)",
        Then::Run(1, word),
    ),
    run("AGE-SECRET-KEY-1", "an age identity", 50, upper),
    run("AGE-PLUGIN-", "an age identity (plugin)", 20, upper),
    shape("K10", "a token of K3s", Then::K3s),
    shape("client-key-data", "a kubeconfig with a key", Then::KeyData),
    run("ghp_", "a token of GitHub", 36, word),
    run("gho_", "a token of GitHub", 36, word),
    run("ghu_", "a token of GitHub", 36, word),
    run("ghs_", "a token of GitHub", 36, word),
    run("ghr_", "a token of GitHub", 36, word),
    run("github_pat_", "a token of GitHub", 50, wide),
    run("glpat-", "a token of GitLab", 20, wide),
    run("gldt-", "a token of GitLab", 20, wide),
    run("glrt-", "a token of GitLab", 20, wide),
    run("AKIA", "an access key of AWS", 16, upper),
    run("ASIA", "an access key of AWS", 16, upper),
    run("AIza", "an API key of Google", 35, wide),
    run("ya29.", "a token of Google", 40, wide),
    run("GOCSPX-", "a client secret of Google", 28, wide),
    run("xoxb-", "a token of Slack", 20, wide),
    run("xoxp-", "a token of Slack", 20, wide),
    run("xoxa-", "a token of Slack", 20, wide),
    run(
        "https://hooks.slack.com/services/",
        "a webhook of Slack",
        30,
        |byte| word(byte) || byte == b'/',
    ),
    run("sk_live_", "a key of Stripe", 20, word),
    run("rk_live_", "a key of Stripe", 20, word),
    run("npm_", "a token of npm", 36, word),
    run("pypi-AgEIcHlwaS5vcmc", "a token of PyPI", 40, wide),
    run("dckr_pat_", "a token of Docker", 20, wide),
    run("hvs.", "a token of Vault", 24, wide),
    run("tskey-", "a key of Tailscale", 20, wide),
    run("dop_v1_", "a token of DigitalOcean", 60, word),
    run("cfut_", "a token of Cloudflare", 30, wide),
    run("AccountKey=", "a key of Azure storage", 80, base64),
    run("eyJhbGciOi", "a JSON web token", 60, |byte| {
        wide(byte) || byte == b'.'
    }),
    shape("://", "an address with a password in it", Then::Login),
];

static STARTS: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::new(SHAPES.iter().map(|shape| shape.start)).ok());

pub(super) fn find(bytes: &[u8], lines: &Lines) -> Vec<Finding> {
    let Some(starts) = STARTS.as_ref() else {
        return Vec::new();
    };
    starts
        .find_iter(bytes)
        .filter_map(|found| {
            let (start, end) = (found.start(), found.end());
            let shape = SHAPES.get(found.pattern().as_usize())?;
            let begins = matches!(shape.then, Then::Login | Then::KeyData | Then::Pem)
                || start
                    .checked_sub(1)
                    .and_then(|at| bytes.get(at))
                    .is_none_or(|byte| !word(*byte));
            let rest = bytes.get(end..).unwrap_or_default();
            (begins && follows(&shape.then, rest)).then(|| Finding {
                line: lines.of(start),
                kind: Kind::Shape(shape.what),
            })
        })
        .collect()
}

fn follows(then: &Then, rest: &[u8]) -> bool {
    match then {
        Then::Run(least, of) => {
            let run = rest.iter().take_while(|byte| of(**byte));
            let run: Vec<u8> = run.copied().collect();
            // Examples in documents are one letter over and over.
            let first = run.first();
            run.len() >= *least && (*least == 1 || run.iter().any(|byte| Some(byte) != first))
        }
        Then::Pem => pem(rest),
        Then::K3s => k3s(rest),
        Then::KeyData => key_data(rest),
        Then::Login => login(rest),
    }
}

/// The rest of a line that says PRIVATE KEY, then base64: text that only speaks of the marker has none.
fn pem(rest: &[u8]) -> bool {
    let head: Vec<u8> = rest.iter().copied().take(60).collect();
    let head = String::from_utf8_lossy(&head);
    let Some(end) = head.find("PRIVATE KEY") else {
        return false;
    };
    if head
        .get(..end)
        .is_some_and(|before| before.contains("-----"))
    {
        return false;
    }
    let body = rest.get(end..).unwrap_or_default();
    let body = body.get(..body.len().min(600)).unwrap_or_default();
    longest_run(body, base64) >= 40
}

fn longest_run(bytes: &[u8], of: fn(u8) -> bool) -> usize {
    bytes
        .split(|byte| !of(*byte))
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0)
}

fn k3s(rest: &[u8]) -> bool {
    let Some((hash, rest)) = rest.split_at_checked(64) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix(b"::") else {
        return false;
    };
    hash.iter().all(u8::is_ascii_hexdigit)
        && rest
            .iter()
            .take_while(|byte| wide(**byte) || **byte == b':' || **byte == b'.')
            .count()
            >= 8
}

fn key_data(rest: &[u8]) -> bool {
    let mark = |byte: &u8| b"\"': \t=".contains(byte);
    let value = rest
        .iter()
        .position(|byte| !mark(byte))
        .and_then(|at| rest.get(at..));
    value.is_some_and(|value| value.iter().take_while(|byte| base64(**byte)).count() >= 60)
}

/// `user:password@host`, and the password is no placeholder.
fn login(rest: &[u8]) -> bool {
    let end = rest
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || b"/\"'`<>?#".contains(byte));
    let rest = rest
        .get(..end.unwrap_or(rest.len()).min(400))
        .unwrap_or_default();
    let text = String::from_utf8_lossy(rest);
    let Some((login, host)) = text.rsplit_once('@') else {
        return false;
    };
    let Some((_, password)) = login.split_once(':') else {
        return false;
    };
    !host.is_empty() && password.len() >= 3 && !super::line::is_placeholder(password)
}
