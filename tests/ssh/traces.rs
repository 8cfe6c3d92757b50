//! What `-v` tells of SSH: connections, executions, the protocol; and never what is said.

use std::process::{Command, Output};

use super::sshd::Sshd;

/// In the file that is read, and so in what a machine says.
const FILED: &str = "canary-of-a-file-7f3a";
/// In the wish, and so in what is said to a machine.
const WISHED: &str = "canary-of-a-wish-9b1c";

fn key_line(server: &Sshd) -> String {
    let line = server.host_key.to_openssh().unwrap();
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn looked(server: &Sshd, verbose: &[&str]) -> Output {
    let project = server.folder.path().join("project");
    let write = |path: &str, text: String| {
        let path = project.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let conf = server.at("app.conf");
    std::fs::write(&conf, format!("secret = {FILED}\n")).unwrap();
    write(
        "inventory/test.toml",
        format!(
            "[cluster]\nname = \"test\"\n[node.n]\naddress = \"127.0.0.1\"\nport = {}\nuser = \"root\"\nbecome = \"none\"\n\
             identity = {:?}\nhost_keys = [{:?}]\n",
            server.port,
            server.at("key").display().to_string(),
            key_line(server),
        ),
    );
    let conf = conf.display().to_string();
    write(
        "playbooks/main.toml",
        format!(
            "title = \"Test\"\n[[step]]\nid = \"look\"\non = \"all\"\n[step.command]\nargv = [\"true\"]\n\
             unless = [\"grep\", \"-q\", {WISHED:?}, {conf:?}]\n[[step]]\nid = \"line\"\non = \"all\"\n[step.line]\n\
             path = {conf:?}\nline = \"x = 1\"\n",
        ),
    );
    Command::new(env!("CARGO_BIN_EXE_hmco-boot"))
        .args(["plan", "main"])
        .args(verbose)
        .current_dir(&project)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HOME", server.folder.path())
        .env("HMCO_BOOT_STATE_DIR", server.at("state"))
        .output()
        .unwrap()
}

#[test]
fn each_level_tells_more_and_none_what_is_said() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let told = |verbose: &[&str]| {
        let output = looked(&server, verbose);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        for canary in [FILED, WISHED] {
            let numbers: Vec<String> = canary.bytes().map(|byte| byte.to_string()).collect();
            assert!(!said.contains(canary), "{verbose:?}: {said}");
            assert!(!said.contains(&numbers.join(", ")), "{verbose:?}: {said}");
        }
        said
    };
    let lines = |said: &str, words: &str| said.lines().filter(|l| l.contains(words)).count();
    assert_eq!(told(&[]), "");
    let one = told(&["-v"]);
    assert_eq!(lines(&one, "connected"), 1, "{one}");
    let key = server.at("key").display().to_string();
    for words in ["machine=\"n\"", "user=\"root\"", "SHA256:", " ms=", &key] {
        assert!(one.contains(words), "{words}: {one}");
    }
    assert_eq!(lines(&one, "exec begins"), 0, "{one}");
    let two = told(&["-vv"]);
    assert_eq!(
        (lines(&two, "exec begins"), lines(&two, "exec ended")),
        (1, 1),
        "{two}"
    );
    for words in ["exit=0", "sent=", "received="] {
        assert!(two.contains(words), "{words}: {two}");
    }
    assert_eq!(lines(&two, "russh"), 0, "{two}");
    let three = told(&["-vvv"]);
    assert!(lines(&three, "russh::sshbuffer: > msg type") > 1, "{three}");
}
