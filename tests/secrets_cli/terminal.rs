//! A terminal: what is typed unseen, what is shown.

use super::*;

/// Runs hmco-boot at a terminal of its own; after each of these words appeared, types what belongs to it. Everything that
/// appears is given back.
fn at_a_terminal(
    world: &World,
    who: &Person,
    args: &[&str],
    talk: &[(&str, &str)],
) -> Option<(String, i32)> {
    use std::io::{Read, Write};
    let script = Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if script.is_err() {
        crate::skip::tell("there is no `script` to make a terminal");
        return None;
    }
    let words: Vec<String> = args.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("{} {}", env!("CARGO_BIN_EXE_hmco-boot"), words.join(" "));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    world.around(&mut command, who);
    command
        .env("TERM", "xterm")
        .env("LANG", "C.UTF-8")
        .env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = Vec::new();
    let mut seen = 0;
    let mut piece = [0; 1024];
    let mut talk = talk.iter();
    let mut next = talk.next();
    loop {
        let text = String::from_utf8_lossy(&said[seen..]).into_owned();
        if let Some((word, answer)) = next
            && let Some(at) = text.find(word)
        {
            seen += at + word.len();
            stdin.write_all(answer.as_bytes()).unwrap();
            next = talk.next();
            continue;
        }
        let count = stdout.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        said.extend_from_slice(&piece[..count]);
    }
    let said = String::from_utf8_lossy(&said).replace('\r', "");
    assert!(next.is_none(), "{next:?} never came: {said}");
    Some((said, child.wait().unwrap().code().unwrap()))
}

#[test]
fn at_a_terminal_a_value_is_typed_unseen_and_shown_only_when_asked_for() {
    let world = World::new();
    let anna = project(&world);
    let Some((said, exit)) = at_a_terminal(
        &world,
        &anna,
        &["secrets", "set", "a/typed"],
        &[
            ("Value of a/typed: ", "canary-typed\n"),
            ("again: ", "canary-typed\n"),
        ],
    ) else {
        return;
    };
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("Value of a/typed: ") && said.contains("set a/typed"),
        "{said}"
    );
    assert_eq!(world.get(&anna, "a/typed", &[]), b"canary-typed");
    let (said, exit) = at_a_terminal(
        &world,
        &anna,
        &["secrets", "set", "a/typed"],
        &[
            ("Value of a/typed: ", "one-value\n"),
            ("again: ", "another-value\n"),
        ],
    )
    .unwrap();
    assert!(
        exit == 2 && said.contains("the two are not the same: nothing was set"),
        "{said}"
    );
    let (said, exit) = at_a_terminal(&world, &anna, &["secrets", "get", "a/typed"], &[]).unwrap();
    assert!(
        exit == 2 && said.contains("not printed on a terminal unasked") && !said.contains("canary"),
        "{said}"
    );
    let (said, exit) =
        at_a_terminal(&world, &anna, &["secrets", "get", "a/typed", "--show"], &[]).unwrap();
    assert!(exit == 0 && said.contains("canary-typed\n"), "{said}");
}

#[test]
fn at_a_terminal_the_recovery_key_is_shown_once_and_without_a_yes_nothing_is_made() {
    let world = World::new();
    let anna = world.person("anna");
    let Some((said, exit)) = at_a_terminal(&world, &anna, &["init"], &[("Do you have it?", "n\n")])
    else {
        return;
    };
    assert!(exit == 1 && said.contains("no store was made"), "{said}");
    assert!(!anna.project.join("secrets/manifest.toml").exists());
    let (said, exit) = at_a_terminal(
        &world,
        &anna,
        &["secrets", "init"],
        &[("Do you have it?", "y\n")],
    )
    .unwrap();
    assert_eq!(exit, 0, "{said}");
    let key = said
        .lines()
        .find(|line| line.starts_with("AGE-SECRET-KEY-1"))
        .unwrap();
    // It is nowhere but on the screen.
    let grep = Command::new("grep")
        .args(["-r", key])
        .arg(world.path(""))
        .output()
        .unwrap();
    assert!(
        grep.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&grep.stdout)
    );
    world.run(&anna, &["secrets", "set", "a/b"], "canary-value\n", 0);
    let recovery = world.path("recovery.txt");
    fs::write(&recovery, key).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&recovery, fs::Permissions::from_mode(0o600)).unwrap();
    let value = world.get(&anna, "a/b", &["--identity", recovery.to_str().unwrap()]);
    assert_eq!(value, b"canary-value");
}

#[test]
fn at_a_terminal_the_passphrase_of_an_ssh_key_is_asked_for() {
    let world = World::new();
    let anna = project(&world);
    let bert = world.person("bert");
    fs::create_dir(bert.home.join(".ssh")).unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "canary-swordfish", "-f"])
        .arg(bert.home.join(".ssh/id_ed25519"))
        .status();
    assert!(made.unwrap().success());
    let public = bert.home.join(".ssh/id_ed25519.pub");
    let add = [
        "secrets",
        "recipients",
        "add",
        "bert",
        "--key-file",
        public.to_str().unwrap(),
    ];
    let Some((said, exit)) =
        at_a_terminal(&world, &anna, &add, &[("name this fingerprint?", "y\n")])
    else {
        return;
    };
    assert!(
        exit == 0 && said.contains("Did the owner of `bert` name this fingerprint?"),
        "{said}"
    );
    world.ok(&anna, &["secrets", "rotate"]);
    let bert = Person {
        project: anna.project.clone(),
        ..bert
    };
    let (_, err) = world.run(&bert, &["secrets", "check"], "", 2);
    assert!(
        err.contains("has a passphrase, and nobody can be asked for it"),
        "{err}"
    );
    let (said, exit) = at_a_terminal(
        &world,
        &bert,
        &["secrets", "check"],
        &[
            ("Passphrase of", "wrong\n"),
            ("Passphrase of", "canary-swordfish\n"),
        ],
    )
    .unwrap();
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("Passphrase of the identity") && said.contains("That was not it."),
        "{said}"
    );
    assert!(
        said.contains("2 values open and are as sealed") && !said.contains("canary"),
        "{said}"
    );
}

/// Speaks pinentry's protocol: one question, one answer, or a closed window.
const PINENTRY: &str = r#"
echo "OK Pleased to meet you, process $$"
while read -r command rest; do
  echo "$command $rest" >>"$HOME/pinentry.log"
  case $command in
  GETPIN)
    if [ -e "$HOME/closed" ]; then echo "ERR 83886179 Operation cancelled <Pinentry>"; continue; fi
    printf 'D canary-sword%%25fish\n'
    ;;
  BYE) echo "OK closing connection"; exit ;;
  esac
  echo OK
done
"#;

#[test]
fn on_a_desktop_the_passphrase_of_an_ssh_key_is_asked_for_by_pinentry() {
    let world = World::new();
    let anna = project(&world);
    let bert = world.person("bert");
    fs::create_dir(bert.home.join(".ssh")).unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "canary-sword%fish", "-f"])
        .arg(bert.home.join(".ssh/id_ed25519"))
        .status();
    assert!(made.unwrap().success());
    let public = bert.home.join(".ssh/id_ed25519.pub");
    let public = public.to_str().unwrap();
    let private = public.trim_end_matches(".pub");
    let identity = [
        "secrets",
        "identity",
        "--identity",
        private,
        "--output",
        "json",
    ];
    let (out, _) = world.run(&anna, &identity, "", 0);
    let print = json(&out)["fingerprint"].as_str().unwrap().to_owned();
    let add = ["secrets", "recipients", "add", "bert", "--key-file", public];
    world.ok(&anna, &[&add[..], &["--fingerprint", &print]].concat());
    world.ok(&anna, &["secrets", "rotate"]);
    let bert = Person {
        project: anna.project.clone(),
        ..bert
    };
    let tools = world.path("tools");
    fs::create_dir(&tools).unwrap();
    world.editor("tools/pinentry", PINENTRY);
    let check = |exit: i32| {
        let mut command = world.command(&bert, &["secrets", "check"]);
        let path = std::env::var("PATH").unwrap();
        command
            .env("DISPLAY", ":99")
            .env("PATH", format!("{}:{path}", tools.display()));
        let output = world.speak(command, b"");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{err}");
        format!("{}{err}", String::from_utf8_lossy(&output.stdout))
    };
    let said = check(0);
    assert!(said.contains("2 values open and are as sealed"), "{said}");
    let asked = fs::read_to_string(bert.home.join("pinentry.log")).unwrap();
    assert!(
        asked.contains("SETDESC Passphrase of the identity") && asked.contains("id_ed25519"),
        "{asked}"
    );
    fs::write(bert.home.join("closed"), "").unwrap();
    let said = check(2);
    assert!(said.contains("Operation cancelled"), "{said}");
    world.never_said(&[b"canary-sword"]);
}
