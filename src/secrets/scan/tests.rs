use super::*;
use crate::secrets::SecretValue;

fn kinds(path: &str, text: &str) -> Vec<String> {
    let found = scan(path, text.as_bytes(), &Known::none());
    found
        .iter()
        .map(|one| format!("{} {}", one.line, one.kind.words()))
        .collect()
}

/// Put together here, so that this very file holds nothing that looks like a secret.
fn long(start: &str, more: &str, times: usize) -> String {
    format!("{start}{}", more.repeat(times))
}

#[test]
fn what_has_the_shape_of_a_secret_is_found_by_its_shape() {
    let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";
    for (text, what) in [
        (
            format!("-----BEGIN OPENSSH {}-----\n{body}\n", "PRIVATE KEY"),
            "a private key",
        ),
        (
            format!("key: \"-----BEGIN RSA {}-----\\n{body}\"", "PRIVATE KEY"),
            "a private key",
        ),
        (long("AGE-SECRET-KEY-1", "QPZRY9X8GF", 6), "an age identity"),
        (
            format!(
                "{}::server:{}",
                long("K10", "0123456789abcdef", 4),
                "a1b2c3d4e5"
            ),
            "a token of K3s",
        ),
        (
            format!("client-key-data: {}", "LS0tLS1CRUdJTiBFQyBQ".repeat(4)),
            "a kubeconfig with a key",
        ),
        (long("x = ghp_", "a1B2c3D4e5", 4), "a token of GitHub"),
        (long("glpat-", "a1B2-3D4_5", 3), "a token of GitLab"),
        (long("AKIA", "Q7Z3", 4), "an access key of AWS"),
        (
            format!(
                "{}.{}.{}",
                long("eyJhbGciOi", "JSUzI1NiIs", 3),
                "eyJpc3MiOi".repeat(4),
                "c2ln"
            ),
            "a JSON web token",
        ),
        (
            format!("git clone https://ci:{}@git.lab/x", "t0psecr3t"),
            "an address with a password in it",
        ),
    ] {
        let found = kinds("notes.txt", &text);
        assert!(
            found.iter().any(|one| one == &format!("1 {what}")),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn text_that_only_speaks_of_secrets_is_left_alone() {
    for text in [
        "grep -q '-----BEGIN OPENSSH PRIVATE KEY-----' file",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuEMCowBQYDK2Vw\n-----END PUBLIC KEY-----",
        "a token looks like ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "K10 is how a token begins",
        "https://example.org/a:b@c",
        "postgres://user:${PASSWORD}@db/x",
        "password = \"{{ secret('db/password') }}\"",
        "password = { secret = \"db/password\" }",
        "become_password = \"sudo/pi\"",
        "token_file: /run/secrets/T0ken9988",
        "password_hash: $2b$12$abcdefghijklmnopqrstuv",
        "tokenizer = \"cl100k_base_v2X9\"",
        "passwords are kept elsewhere: see the README",
        "if password == \"X7Kq29fLp0Zw\" {",
        "secretName: grafana-admin-2",
        "password: changeme123",
    ] {
        let found = kinds("values.yaml", text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    let program = "let password = Password::new(line9X); let token: Option<Token2X> = None;";
    assert!(kinds("a.rs", program).is_empty());
}

#[test]
fn a_password_that_looks_random_is_found_where_something_is_called_so() {
    for line in [
        "password: X7Kq29fLp0Zw",
        "DB_PASSWORD=X7Kq29fLp0Zw",
        "  adminPassword: 'X7Kq29fLp0Zw'  # admin",
        "\"api_key\": \"X7Kq29fLp0Zw\",",
        "export VAULT_TOKEN=X7Kq29fLp0Zw",
        "psk=\"X7Kq-29fL-p0Zw\"",
    ] {
        let found = kinds("a.env", line);
        assert!(
            found.len() == 1 && found[0].contains("looks random"),
            "{line}: {found:?}"
        );
    }
    assert_eq!(kinds("a.rs", "let password = \"X7Kq29fLp0Zw\";").len(), 1);
    // Called something else, anything goes.
    assert!(kinds("a.env", "VERSION=X7Kq29fLp0Zw").is_empty());
}

#[test]
fn a_marked_line_is_meant_to_be_seen_but_never_a_value_of_the_store() {
    let line = format!("password: X7Kq29fLp0Zw # {MARKER}");
    assert!(kinds("a.env", &line).is_empty());
    let value = SecretValue::new(b"X7Kq29fLp0Zw".to_vec());
    let known = Known::new([("db/password", &value)]);
    let found = scan("a.env", line.as_bytes(), &known);
    assert_eq!(
        found[0].kind.words(),
        "the value of the secret db/password, as it is"
    );
}

#[test]
fn values_of_the_store_are_found_in_base64_at_every_alignment_and_inside_of_binary_files() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let value = SecretValue::new(b"correct?horse>battery~staple\n".to_vec());
    let known = Known::new([("a/b", &value)]);
    let stored = |bytes: &[u8]| {
        let found = scan("x.bin", bytes, &known);
        found
            .iter()
            .filter(|one| one.kind.word() == "stored")
            .count()
    };
    for before in 0..7 {
        let text = [
            &b"x".repeat(before)[..],
            b"correct?horse>battery~staple",
            b" and more",
        ]
        .concat();
        assert_eq!(stored(STANDARD.encode(&text).as_bytes()), 1, "{before}");
        assert_eq!(stored(URL_SAFE.encode(&text).as_bytes()), 1, "{before}");
    }
    assert_eq!(stored(b"\0\0\x01correct?horse>battery~staple\xff"), 1);
    assert_eq!(stored(b"correct?horse>battery"), 0);
    let short = SecretValue::new(b"1234".to_vec());
    let known = Known::new([("a/pin", &short)]);
    assert_eq!(known.short(), ["a/pin"]);
    assert!(scan("a", b"1234", &known).is_empty());
}

#[test]
fn a_line_of_a_longer_value_is_found_alone_and_the_place_is_its_line() {
    let value = SecretValue::new(b"first line of a config\nsecond line of a config\n".to_vec());
    let known = Known::new([("vpn/conf", &value)]);
    let found = scan("a", b"\n\n  second line of a config", &known);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].line, found[0].kind.words().as_str()),
        (3, "the value of the secret vpn/conf, in part")
    );
}

#[test]
fn encrypted_values_and_public_keys_are_no_findings() {
    let text = "token = '''\n-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBxV1pJbGhzZ3Zk\n-----END AGE ENCRYPTED FILE-----\n'''\n\
                key = \"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"\n";
    assert!(
        kinds("secrets/k3s.toml", text).is_empty(),
        "{:?}",
        kinds("a", text)
    );
}
