#![expect(clippy::disallowed_methods, reason = "tests make files with keys")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::secrets::recipients::Recipient;

/// Answers with these passphrases, one after the other.
#[derive(Default)]
struct Answers {
    with: Vec<&'static str>,
    asked: Vec<String>,
}

impl Ask for Answers {
    fn passphrase(&mut self, of: &str, again: bool) -> Result<SecretString, Failure> {
        self.asked.push(format!("{of} {again}"));
        if self.with.is_empty() {
            return Err(Failure::new("no more answers"));
        }
        Ok(SecretString::from(self.with.remove(0).to_owned()))
    }
}

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(".ssh")).unwrap();
        fs::create_dir_all(folder.path().join("config")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn env(&self) -> IdentityEnv {
        IdentityEnv {
            config: Some(self.path("config")),
            home: Some(self.folder.path().to_path_buf()),
            ..IdentityEnv::default()
        }
    }

    fn age(&self, name: &str) -> RecipientKey {
        let (text, public) = generate("a test");
        write_new(&self.path(name), &text).unwrap();
        public
    }

    fn ssh(&self, name: &str, sort: &str, passphrase: &str) -> RecipientKey {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", sort, "-N", passphrase, "-C", "a comment", "-f"])
            .arg(self.path(name))
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        public.parse().unwrap()
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn readers(keys: &[&RecipientKey]) -> Recipients {
    let list: Vec<Recipient> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| Recipient {
            name: format!("r{index}"),
            key: (*key).clone(),
            since: String::new(),
            groups: Vec::new(),
            recovery: false,
        })
        .collect();
    Recipients::first(&list).unwrap()
}

fn found(identities: &Identities) -> Vec<String> {
    let keys = identities.found().iter();
    keys.map(|one| one.public.to_string()).collect()
}

#[test]
fn the_keys_that_read_the_store_are_found_and_the_others_left_aside() {
    let home = Home::new();
    let mine = home.age("config/identity.txt");
    let ssh = home.ssh(".ssh/id_ed25519", "ed25519", "");
    let rsa = home.ssh(".ssh/id_rsa", "rsa", "");
    let all = readers(&[&mine, &ssh, &rsa]);
    let one = Identities::find(&home.env(), Some(&all), &mut NobodyAnswers).unwrap();
    assert_eq!(found(&one), [mine.text(), ssh.text(), rsa.text()]);
    assert!(one.require(&all).is_ok());
    let only = readers(&[&rsa]);
    let one = Identities::find(&home.env(), Some(&only), &mut NobodyAnswers).unwrap();
    assert_eq!(found(&one), [rsa.text()]);
    let debug = format!("{one:?}");
    assert!(
        debug.contains(&rsa.fingerprint().to_string()) && !debug.contains("PRIVATE"),
        "{debug}"
    );
}

#[test]
fn what_somebody_names_is_what_counts_and_the_flag_wins_over_the_variable() {
    let home = Home::new();
    let mine = home.age("config/identity.txt");
    let (flag, variable) = (home.age("flag.txt"), home.age("variable.txt"));
    let mut env = home.env();
    env.variable = Some(home.path("variable.txt"));
    let all = readers(&[&mine]);
    let of =
        |env: &IdentityEnv| found(&Identities::find(env, Some(&all), &mut NobodyAnswers).unwrap());
    assert_eq!(of(&env), [variable.text()]);
    env.named = vec![home.path("flag.txt"), home.path("config/identity.txt")];
    assert_eq!(of(&env), [flag.text(), mine.text()]);
    env.named = vec![home.path("missing.txt")];
    let failure = Identities::find(&env, None, &mut NobodyAnswers).unwrap_err();
    assert!(
        failure.message.contains("there is no identity") && failure.message.contains("--identity")
    );
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let home = Home::new();
    let mine = home.age("config/identity.txt");
    home.mode("config/identity.txt", 0o640);
    let failure =
        Identities::find(&home.env(), Some(&readers(&[&mine])), &mut NobodyAnswers).unwrap_err();
    assert!(
        failure.message.contains("others can read") && failure.message.contains("0640"),
        "{failure:?}"
    );
    assert!(failure.hint.unwrap().starts_with("chmod 600 "));
    // One that reads nothing here is somebody else's matter.
    let other = home.age("other.txt");
    assert!(Identities::find(&home.env(), Some(&readers(&[&other])), &mut NobodyAnswers).is_ok());
    let mut env = home.env();
    env.named = vec![home.path("config/identity.txt")];
    assert!(Identities::find(&env, Some(&readers(&[&other])), &mut NobodyAnswers).is_err());
}

#[test]
fn a_credential_of_systemd_may_show_the_mask_of_its_access_list() {
    let home = Home::new();
    fs::create_dir(home.path("credentials")).unwrap();
    let mine = home.age(&format!("credentials/{CREDENTIAL}"));
    let env = IdentityEnv {
        credentials: Some(home.path("credentials")),
        ..IdentityEnv::default()
    };
    let all = readers(&[&mine]);
    home.mode(&format!("credentials/{CREDENTIAL}"), 0o440);
    let one = Identities::find(&env, Some(&all), &mut NobodyAnswers).unwrap();
    assert_eq!(found(&one), [mine.text()]);
    home.mode(&format!("credentials/{CREDENTIAL}"), 0o444);
    assert!(Identities::find(&env, Some(&all), &mut NobodyAnswers).is_err());
}

#[test]
fn a_passphrase_is_asked_for_only_where_no_open_key_reads_the_store() {
    let home = Home::new();
    let locked = home.ssh(".ssh/id_ed25519", "ed25519", "swordfish");
    let mine = home.age("config/identity.txt");
    let mut answers = Answers::default();
    let both = readers(&[&mine, &locked]);
    let one = Identities::find(&home.env(), Some(&both), &mut answers).unwrap();
    assert_eq!(found(&one), [mine.text()]);
    let neither = readers(&[&home.age("other.txt")]);
    Identities::find(&home.env(), Some(&neither), &mut answers).unwrap();
    assert!(answers.asked.is_empty(), "{:?}", answers.asked);
    let only = readers(&[&locked]);
    answers.with = vec!["wrong", "swordfish"];
    let one = Identities::find(&home.env(), Some(&only), &mut answers).unwrap();
    assert_eq!(found(&one), [locked.text()]);
    assert_eq!(answers.asked.len(), 2);
    assert!(answers.asked[0].ends_with("id_ed25519 false") && answers.asked[1].ends_with("true"));
    answers.with = vec!["a", "b", "c", "swordfish"];
    let failure = Identities::find(&home.env(), Some(&only), &mut answers).unwrap_err();
    assert!(
        failure
            .message
            .contains("does not open with that passphrase")
    );
}

#[test]
fn an_identity_under_a_passphrase_opens_and_decrypts() {
    use std::io::{Read as _, Write as _};
    let home = Home::new();
    let (text, public) = generate("a test");
    let mut recipient = age::scrypt::Recipient::new(SecretString::from("swordfish".to_owned()));
    recipient.set_work_factor(4);
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .unwrap();
    let mut file = Vec::new();
    let armor =
        age::armor::ArmoredWriter::wrap_output(&mut file, age::armor::Format::AsciiArmor).unwrap();
    let mut writer = encryptor.wrap_output(armor).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().and_then(|armor| armor.finish()).unwrap();
    write_new(
        &home.path("config/identity.txt"),
        std::str::from_utf8(&file).unwrap(),
    )
    .unwrap();
    let mut answers = Answers {
        with: vec!["", "swordfish"],
        ..Answers::default()
    };
    let all = readers(&[&public]);
    let one = Identities::find(&home.env(), Some(&all), &mut answers).unwrap();
    assert_eq!(answers.asked.len(), 2);
    let value = age::encrypt(
        &public.text().parse::<age::x25519::Recipient>().unwrap(),
        b"hello",
    )
    .unwrap();
    let mut plain = Vec::new();
    let reader = age::Decryptor::new(&value[..]).unwrap().decrypt(one.iter());
    reader.unwrap().read_to_end(&mut plain).unwrap();
    assert_eq!(plain, b"hello");
}

#[test]
fn without_a_reader_it_says_where_it_looked_and_whose_keys_there_were() {
    let home = Home::new();
    let ssh = home.ssh(".ssh/id_ed25519", "ed25519", "");
    let other = home.age("other.txt");
    let all = readers(&[&other]);
    let none = Identities::find(&home.env(), Some(&all), &mut NobodyAnswers).unwrap();
    let failure = none.require(&all).unwrap_err();
    let said = failure.evidence.join("\n");
    assert!(said.contains("identity.txt: not there"), "{said}");
    assert!(
        said.contains(&format!(
            "id_ed25519: no reader (fingerprint {})",
            ssh.fingerprint()
        )),
        "{said}"
    );
    let mut env = home.env();
    env.named = vec![home.path(".ssh/id_ed25519")];
    let wrong = Identities::find(&env, Some(&all), &mut NobodyAnswers).unwrap();
    let failure = wrong.require(&all).unwrap_err();
    assert!(
        failure.message.contains("not among the readers"),
        "{failure:?}"
    );
}

#[test]
fn files_that_are_no_identity_are_refused_without_repeating_them() {
    let home = Home::new();
    for (content, words) in [
        ("# only a comment\n", "there is no private key in it"),
        ("hunter2-canary\n", "line 1 is no private key"),
        ("AGE-PLUGIN-YUBIKEY-1CANARY\n", "an age plugin"),
        (
            "-----BEGIN AGE ENCRYPTED FILE-----\ncanary\n",
            "is not an identity",
        ),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n",
            "no SSH key",
        ),
        ("-----BEGIN canary", "no SSH key"),
    ] {
        let path = home.path("x.txt");
        fs::remove_file(&path).ok();
        write_new(&path, content).unwrap();
        let mut env = home.env();
        env.named = vec![path];
        let failure = Identities::find(&env, None, &mut NobodyAnswers).unwrap_err();
        let said = format!("{failure:?}");
        assert!(said.contains(words), "{content}: {said}");
        assert!(!said.to_lowercase().contains("canary"), "{said}");
    }
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let home = Home::new();
    home.age("config/identity.txt");
    let error = write_new(&home.path("config/identity.txt"), "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    let mode = fs::metadata(home.path("config/identity.txt"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
