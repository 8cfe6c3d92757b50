use super::*;
use crate::secrets::identity::{IdentityEnv, NobodyAnswers};
use age::secrecy::ExposeSecret as _;
use std::os::unix::fs::PermissionsExt as _;

fn pair() -> (RecipientKey, Identities) {
    let identity = age::x25519::Identity::generate();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.txt");
    #[expect(clippy::disallowed_methods, reason = "a test writes a key")]
    std::fs::write(&path, identity.to_string().expose_secret()).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let env = IdentityEnv {
        named: vec![path],
        ..IdentityEnv::default()
    };
    let identities = Identities::find(&env, None, &mut NobodyAnswers).unwrap();
    (identity.to_public().into(), identities)
}

fn header(key: &RecipientKey, text: bool) -> Header {
    Header::new("0123456789abcdef", "k3s/token", text, [key.fingerprint()])
}

#[test]
fn values_come_back_exactly_as_text_and_as_bytes() {
    let (key, identities) = pair();
    let long = vec![0x5a; 200_000];
    for value in [&b""[..], b"\n", b"two\nlines\n", b"\x00\xff\xfe", &long] {
        let text = std::str::from_utf8(value).is_ok();
        let armored = encrypt(&header(&key, text), value, &[&key]).unwrap();
        assert!(armored.starts_with(BEGIN) && armored.ends_with("-----\n"));
        let opened = decrypt(&armored, &identities).unwrap();
        assert_eq!(opened.value.expose(), value);
        assert_eq!(opened.value.is_text(), text);
        assert_eq!(opened.keys, 1);
        assert_eq!(opened.header, header(&key, text));
    }
}

#[test]
fn the_keys_that_open_it_are_counted_whatever_the_header_names() {
    let (key, identities) = pair();
    let (other, _) = pair();
    let armored = encrypt(&header(&key, true), b"x", &[&key, &other]).unwrap();
    assert_eq!(decrypt(&armored, &identities).unwrap().keys, 2);
}

#[test]
fn whoever_is_no_reader_is_told_so_and_no_key_at_all_is_refused() {
    let (key, _) = pair();
    let (_, others) = pair();
    let armored = encrypt(&header(&key, true), b"x", &[&key]).unwrap();
    assert_eq!(decrypt(&armored, &others).err(), Some(OpenError::NotOurs));
    assert!(encrypt(&header(&key, true), b"x", &[]).is_err());
}

#[test]
fn every_bit_and_every_length_counts() {
    let (key, identities) = pair();
    let binary = encrypt_binary(&header(&key, true), b"the value", &[&key]).unwrap();
    for at in 0..binary.len() {
        let mut flipped = binary.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = decrypt_binary(&flipped, &identities).err();
        assert!(
            matches!(error, Some(OpenError::Damaged(_) | OpenError::NotOurs)),
            "byte {at}: {error:?}"
        );
        let error = decrypt_binary(&binary[..at], &identities).err();
        assert!(
            matches!(error, Some(OpenError::Damaged(_))),
            "{at}: {error:?}"
        );
    }
}

#[test]
fn what_stock_age_encrypted_without_a_header_is_no_value() {
    let (key, identities) = pair();
    let bare = age::Encryptor::with_recipients(std::iter::once(key.as_age() as _)).unwrap();
    let mut writer = bare.wrap_output(Vec::new()).unwrap();
    writer.write_all(b"hunter2").unwrap();
    let error = decrypt_binary(&writer.finish().unwrap(), &identities).err();
    let Some(OpenError::NoValue(said)) = error else {
        panic!("{error:?}");
    };
    assert!(said.contains("no header") && !said.contains("hunter2"));
}
