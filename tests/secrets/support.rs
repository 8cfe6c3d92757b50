//! A store in temporary folders, keys of all sorts, and git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use hmco_boot::model::outcome::Failure;
use hmco_boot::secrets::SecretValue;
use hmco_boot::secrets::approved::Approved;
use hmco_boot::secrets::files::{Disk, Files};
use hmco_boot::secrets::identity::{Identities, IdentityEnv, NobodyAnswers};
use hmco_boot::secrets::name::SecretName;
use hmco_boot::secrets::recipients::{Recipient, RecipientKey, Recipients};
use hmco_boot::secrets::store::{Change, Inspection, Location, Mode, Tree};
use jiff::civil::{Date, date};
use tempfile::TempDir;

/// The day of every test.
pub fn today() -> Date {
    date(2026, 2, 1)
}

pub fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

pub fn value(text: &str) -> SecretValue {
    SecretValue::new(text.as_bytes().to_vec())
}

/// A key pair of a person.
#[derive(Clone)]
pub struct Person {
    pub name: String,
    pub identity: PathBuf,
    pub key: RecipientKey,
}

impl Person {
    /// With an age key.
    pub fn age(folder: &Path, name: &str) -> Self {
        let identity = age::x25519::Identity::generate();
        let path = folder.join(format!("{name}.key"));
        fs::write(&path, identity.to_string().expose_secret()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            name: name.to_owned(),
            identity: path,
            key: identity.to_public().into(),
        }
    }

    /// With an SSH key of this sort.
    pub fn ssh(folder: &Path, name: &str, sort: &str) -> Self {
        let path = folder.join(format!("{name}.ssh"));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "nobody@nowhere", "-t", sort, "-f"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let public = fs::read_to_string(folder.join(format!("{name}.ssh.pub"))).unwrap();
        Self {
            name: name.to_owned(),
            identity: path,
            key: public.parse().unwrap(),
        }
    }

    pub fn recipient(&self) -> Recipient {
        Recipient {
            name: self.name.clone(),
            key: self.key.clone(),
            since: "2026-02-01".into(),
            groups: Vec::new(),
            recovery: false,
        }
    }

    pub fn identities(&self) -> Arc<Identities> {
        let env = IdentityEnv {
            named: vec![self.identity.clone()],
            ..IdentityEnv::default()
        };
        Arc::new(Identities::find(&env, None, &mut NobodyAnswers).unwrap())
    }
}

pub fn recipients(people: &[&Person]) -> Recipients {
    let list: Vec<Recipient> = people.iter().map(|one| one.recipient()).collect();
    Recipients::first(&list).unwrap()
}

pub fn approved(people: &[&Person]) -> Approved {
    let mut approved = Approved::none();
    for one in people {
        approved.approve(&one.recipient());
    }
    approved
}

/// A store that `anna` made, and what is around it.
pub struct Store {
    pub folder: TempDir,
    pub anna: Person,
    pub bert: Person,
    pub location: Location,
}

impl Store {
    /// Readers are `anna` and `bert`; no value yet.
    pub fn new() -> Self {
        Self::with_files(Arc::new(Disk))
    }

    pub fn with_files(files: Arc<dyn Files>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anna = Person::age(folder.path(), "anna");
        let bert = Person::age(folder.path(), "bert");
        let location = Location::with_files(
            folder.path().join("project/secrets"),
            folder.path().join("state"),
            files,
        );
        let people = [&anna, &bert];
        Tree::create(
            &location,
            &recipients(&people),
            anna.identities(),
            &approved(&people),
        )
        .unwrap();
        Self {
            folder,
            anna,
            bert,
            location,
        }
    }

    /// With these values, all set by one write.
    pub fn holding(values: &[(&str, &str)]) -> Self {
        let store = Self::new();
        store.set(values);
        store
    }

    pub fn everybody(&self) -> Approved {
        approved(&[&self.anna, &self.bert])
    }

    pub fn open(&self, mode: Mode) -> Result<Tree, Failure> {
        Tree::open(&self.location, self.anna.identities(), mode)
    }

    pub fn inspect(&self) -> Inspection {
        Inspection::of(&self.location, self.anna.identities(), Mode::Write).unwrap()
    }

    pub fn change(&self, change: Change) -> Result<(), Failure> {
        self.open(Mode::Write)?
            .commit(change, &self.everybody(), today())
    }

    pub fn set(&self, values: &[(&str, &str)]) {
        let change = values.iter().fold(Change::new(), |change, (at, text)| {
            change.set(name(at), value(text))
        });
        self.change(change).unwrap();
    }

    pub fn get(&self, at: &str) -> Result<String, Failure> {
        let value = self.open(Mode::Read)?.get(&name(at))?;
        Ok(value.text().unwrap().to_owned())
    }

    /// A file of the tree.
    pub fn path(&self, file: &str) -> PathBuf {
        self.location.tree.join(file)
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    /// Another machine with a copy of the tree: it has seen nothing.
    pub fn elsewhere(&self) -> Location {
        Location::new(&self.location.tree, self.folder.path().join("elsewhere"))
    }
}

/// The ciphertext of a value in a file's text, from its first to its last line.
pub fn armored(text: &str, key: &str) -> String {
    let start = text.find(&format!("{key} = '''")).unwrap();
    let begin = start + text[start..].find("-----BEGIN").unwrap();
    let mark = "-----END AGE ENCRYPTED FILE-----";
    let end = begin + text[begin..].find(mark).unwrap() + mark.len();
    text[begin..end].to_owned()
}

/// What a failure says, all of it.
pub fn said(failure: &Failure) -> String {
    format!(
        "{}\n{}\n{}",
        failure.message,
        failure.evidence.join("\n"),
        failure.hint.as_deref().unwrap_or("NO HINT")
    )
}

/// Runs git in a folder; it must succeed.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let (ok, text) = try_git(folder, args);
    assert!(ok, "git {args:?}: {text}");
    text
}

/// Runs git in a folder, with nobody's configuration.
pub fn try_git(folder: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
        .args(["-c", "init.defaultBranch=main", "-c", "core.autocrlf=false"])
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
