//! An API, a tunnel or credentials that go away: a run goes on where it can, and says why where it cannot.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::{Api, torture};
use crate::audit::{Asked, Mark};
use crate::rig::{end, told};

/// Where K3s writes the administrator's credentials.
const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";

/// This many ConfigMaps.
pub fn maps(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        writeln!(
            text,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{number}}}\ndata: {{number: \"{number}\"}}"
        )
        .unwrap();
    }
    text
}

/// A step that waits for a ConfigMap.
pub fn wait_for(name: &str, timeout: &str) -> String {
    format!(
        "[[step]]\nid = \"awaited\"\non = \"cluster\"\n[step.wait]\ntimeout = \"{timeout}\"\ninterval = \"500ms\"\n\
         [step.wait.object]\napi_version = \"v1\"\nkind = \"ConfigMap\"\nnamespace = \"default\"\nname = \"{name}\"\n"
    )
}

#[test]
fn an_api_server_that_restarts_in_the_middle_of_an_apply_is_waited_for() {
    let Some(api) = Api::turn() else { return };
    let place = "namespace = \"restart\"\ncreate_namespace = true";
    api.manifest("restart", &maps(800), place);
    let run = api.start_until(&["run", "restart", "--yes"], &["step_started"]);
    let count = "kubectl -n restart get configmaps -o name 2>/dev/null | grep -c /map-";
    let before = api.on(1, &format!("{count}; systemctl kill -s KILL k3s.service"));
    let before: usize = before.trim().parse().unwrap();
    assert!(before < 800, "it was done already");
    let (code, said) = end(run);
    assert_eq!(
        code,
        Some(0),
        "it is back within the time that is given: {said}"
    );
    let there = api.kubectl("-n restart get configmaps -o name");
    assert_eq!(there.matches("/map-").count(), 800);
    api.quiet("restart");
}

/// A step that deletes a ConfigMap, which stays until it is let go: `held` in this namespace.
fn held(api: &Api, namespace: &str) {
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held}\n";
    let place = format!("namespace = \"{namespace}\"");
    api.manifest(
        namespace,
        objects,
        &format!("{place}\nstate = \"absent\"\nready_timeout = \"3m\""),
    );
    api.put(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{}",
        objects.replace(
            "name: held",
            &format!("name: held, namespace: {namespace}, finalizers: [example.org/hold]")
        )
    ));
}

fn let_go(api: &Api, namespace: &str) {
    let patch = r#""{\"metadata\": {\"finalizers\": null}}""#;
    api.kubectl(&format!(
        "-n {namespace} patch configmap held --type=merge -p {patch}"
    ));
}

/// What was asked since, once so many watches were opened.
fn watched(api: &Api, mark: &Mark, watches: usize) -> Asked {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let asked = api.asked_since(mark);
        if asked.watches.len() >= watches {
            return asked;
        }
        assert!(Instant::now() < limit, "nothing is watched");
    }
}

#[test]
fn what_is_awaited_costs_one_list_and_one_watch_however_often_it_changes() {
    let Some(api) = Api::turn() else { return };
    held(&api, "counted");
    let mark = api.mark();
    let run = api.start_until(&["run", "counted", "--yes"], &["waiting: ConfigMap"]);
    watched(&api, &mark, 1);
    for number in 0..5 {
        api.kubectl(&format!(
            "-n counted label configmap held changes={number} --overwrite"
        ));
    }
    let_go(&api, "counted");
    let (code, said) = end(run);
    assert_eq!(code, Some(0), "{said}");
    let asked = api.asked_since(&mark);
    let one = "configmaps. held in \"counted\"";
    assert_eq!(asked.lists.get(one), Some(&1), "{:?}", asked.lists);
    assert_eq!(asked.watches, [one]);
    assert_eq!(asked.gets, [""; 0]);
}

#[test]
fn a_connection_that_is_cut_during_a_watch_is_made_anew_and_what_happened_meanwhile_is_seen() {
    let Some(api) = Api::turn() else { return };
    held(&api, "cut");
    let mark = api.mark();
    let run = api.start_until(&["run", "cut", "--yes"], &["waiting: ConfigMap"]);
    let asked = watched(&api, &mark, 1);
    assert_eq!(asked.ended, 0, "it is open");
    cut(&api);
    // It is watched again.
    let asked = watched(&api, &mark, 2);
    assert!(asked.ended >= 1, "the first one is over");
    cut(&api);
    let_go(&api, "cut");
    let begun = Instant::now();
    let (code, said) = end(run);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "no watch ran out"
    );
    let asked = api.asked_since(&mark);
    let one = "configmaps. held in \"cut\"";
    let (lists, watches) = (asked.lists.get(one), asked.watches);
    assert!(watches.iter().all(|watch| watch == one), "{watches:?}");
    assert_eq!(lists, Some(&3), "{watches:?}");
}

/// Ends all sessions of the user that the API is reached by.
fn cut(api: &Api) {
    // The session that does this too.
    let cut = api.try_on("systemd-run --quiet --wait pkill -KILL -u pi sshd");
    assert!(!cut.status.success(), "the session ended with the others");
}

#[test]
fn a_connection_that_falls_silent_during_a_watch_is_not_believed_for_long() {
    if !torture() {
        return crate::skip::tell("silence takes half a minute to be believed: HMCO_TORTURE=1");
    }
    let Some(api) = Api::turn() else { return };
    held(&api, "silent");
    let mark = api.mark();
    let run = api.start_until(&["run", "silent", "--yes"], &["waiting: ConfigMap"]);
    watched(&api, &mark, 1);
    // All sessions of the user, but for those that come later: nothing is closed, and nothing answers.
    api.on(
        1,
        "systemd-run --quiet --on-active=1 pkill -STOP -u pi sshd",
    );
    while !api.on(1, "ps -o stat= -u pi").contains('T') {
        std::thread::yield_now();
    }
    let_go(&api, "silent");
    let begun = Instant::now();
    let (code, said) = end(run);
    cut(&api);
    assert_eq!(code, Some(0), "{said}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(90), "{took:?}");
    eprintln!("silence was believed for {took:?}");
}

#[test]
fn a_connection_that_is_cut_between_two_looks_is_made_anew() {
    let Some(api) = Api::turn() else { return };
    api.playbook("gate", &wait_for("cut-off", "2m"));
    let run = api.start_until(&["run", "gate"], &["gate_waiting"]);
    cut(&api);
    api.kubectl("create configmap cut-off");
    let (code, said) = end(run);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_api_that_stays_away_is_named_with_what_to_look_at() {
    if !torture() {
        return crate::skip::tell("an API that stays away is waited for a minute: HMCO_TORTURE=1");
    }
    let Some(api) = Api::turn() else { return };
    api.playbook("away", &wait_for("never", "5s"));
    let dead = api.inventory_with("dead", "[ssh]", "[ssh]\nport = 1");
    let begun = Instant::now();
    let said = api.expect(3, &["-i", &dead, "run", "away"]);
    assert!(
        said.contains("the Kubernetes API cannot be reached"),
        "{said}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(150),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn the_next_server_is_asked_where_the_first_does_not_answer() {
    let Some(api) = Api::turn() else { return };
    api.manifest(
        "next",
        &maps(1),
        "namespace = \"next\"\ncreate_namespace = true",
    );
    api.expect(0, &["run", "next", "--yes"]);
    let first = format!("[node.{}]", api.node(1));
    let dead = "[node.aaa]\naddress = \"127.0.0.1\"\nport = 1\nroles = [\"server\"]\n\n";
    let both = api.inventory_with("next", &first, &format!("{dead}{first}"));
    let said = api.expect(0, &["-i", &both, "run", "next"]);
    assert!(said.contains("unchanged"), "{said}");
}

#[test]
fn another_ca_than_the_pinned_one_is_told_nothing() {
    let Some(api) = Api::turn() else { return };
    api.manifest(
        "ca",
        &maps(1),
        "namespace = \"ca\"\ncreate_namespace = true",
    );
    let digest = api.on(
        1,
        "sha256sum </var/lib/rancher/k3s/server/tls/server-ca.crt",
    );
    let digest = digest.split_whitespace().next().unwrap();
    let pinned = |name: &str, digest: &str| {
        let line = format!("[cluster]\nca_sha256 = \"{digest}\"");
        api.inventory_with(name, "[cluster]", &line)
    };
    let right = pinned("right", digest);
    api.expect(0, &["-i", &right, "run", "ca", "--yes"]);
    let wrong = pinned("wrong", &"0".repeat(64));
    let mark = api.mark();
    let begun = Instant::now();
    let said = api.expect(3, &["-i", &wrong, "run", "ca"]);
    assert!(
        said.contains("the cluster has another CA than the one that is pinned"),
        "{said}"
    );
    assert!(
        said.contains(digest) && said.contains("ca_sha256"),
        "{said}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "waiting would not help"
    );
    assert!(api.asked_since(&mark).lists.is_empty());
}

#[test]
fn a_server_that_forwards_nothing_is_passed_by_where_the_api_has_an_address_and_named_where_not() {
    let Some(api) = Api::turn() else { return };
    api.manifest(
        "forward",
        &maps(1),
        "namespace = \"forward\"\ncreate_namespace = true",
    );
    api.expect(0, &["run", "forward", "--yes"]);
    let drop_in = "/etc/ssh/sshd_config.d/00-forward.conf";
    api.on(
        1,
        &format!("echo AllowTcpForwarding no >{drop_in}; systemctl reload ssh"),
    );
    // The lab's inventory says where the API is.
    let straight = api.command(&["run", "forward"]).output().unwrap();
    let address = "api_address = ";
    let nowhere = api.inventory_with("nowhere", address, "# api_address = ");
    let output = api
        .command(&["-i", &nowhere, "run", "forward"])
        .output()
        .unwrap();
    api.on(1, &format!("rm {drop_in}; systemctl reload ssh"));
    assert_eq!(straight.status.code(), Some(0), "{}", told(&straight));
    let said = told(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("AllowTcpForwarding"), "{said}");
}

/// Credentials as K3s writes them, whose certificate was good until the year 2020.
fn expired(api: &Api) -> String {
    let read = |path: &str| api.on(1, &format!("cat /var/lib/rancher/k3s/server/tls/{path}"));
    let ca = read("client-ca.crt");
    let body: String = ca.lines().filter(|line| !line.starts_with("---")).collect();
    let der = STANDARD.decode(body).unwrap();
    // Its name, as certificates that it issued must say it.
    let prefix = b"k3s-client-ca@";
    let at = der
        .windows(prefix.len())
        .position(|found| found == prefix)
        .unwrap();
    let name: String = der[at..]
        .iter()
        .map(|byte| char::from(*byte))
        .take_while(|c| c.is_ascii_alphanumeric() || "-@".contains(*c))
        .collect();
    let named = |common: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, common);
        params
    };
    let issuer_key = rcgen::KeyPair::try_from(pkcs8(&read("client-ca.key"))).unwrap();
    let issuer = rcgen::Issuer::new(named(&name), issuer_key);
    let mut params = named("system:admin");
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "system:masters");
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let now = api.on(1, &format!("cat {KUBECONFIG}"));
    let lines = now.lines().map(|line| match line.split_once("-data: ") {
        Some((start, _)) if start.ends_with("client-certificate") => {
            format!("{start}-data: {}", STANDARD.encode(certificate.pem()))
        }
        Some((start, _)) if start.ends_with("client-key") => {
            format!("{start}-data: {}", STANDARD.encode(key.serialize_pem()))
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A P-256 key as K3s writes it (`EC PRIVATE KEY`, RFC 5915) in the form that rcgen reads (PKCS #8, RFC 5958).
fn pkcs8(pem: &str) -> Vec<u8> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let der = STANDARD.decode(body).unwrap();
    // An OCTET STRING of 32 bytes is the private half; the public one is at the end.
    let at = der
        .windows(2)
        .position(|bytes| bytes == [0x04, 0x20])
        .unwrap();
    let (private, public) = (&der[at + 2..at + 34], &der[der.len() - 65..]);
    let before = [
        0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30,
        0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
    ];
    [
        &before[..],
        private,
        &[0xa1, 0x44, 0x03, 0x42, 0x00],
        public,
    ]
    .concat()
}

#[test]
fn an_expired_client_certificate_is_named_with_its_end_and_its_cure() {
    let Some(api) = Api::turn() else { return };
    api.manifest(
        "expired",
        &maps(1),
        "namespace = \"expired\"\ncreate_namespace = true",
    );
    let credentials = expired(&api);
    let words = |said: &str| {
        assert!(
            said.contains("the client certificate of its credentials has expired"),
            "{said}"
        );
        assert!(
            said.contains("it was good until 2020-01-01T00:00:00Z"),
            "{said}"
        );
    };
    // As K3s would leave it on a server that was not restarted for a year.
    api.on(1, &format!("cp -p {KUBECONFIG} {KUBECONFIG}.kept"));
    api.on(
        1,
        &format!("cat >{KUBECONFIG} <<\"EOF\"\n{credentials}\nEOF"),
    );
    let begun = Instant::now();
    let output = api.command(&["run", "expired", "--yes"]).output().unwrap();
    let took = begun.elapsed();
    api.on(1, &format!("mv {KUBECONFIG}.kept {KUBECONFIG}"));
    let said = told(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    words(&said);
    assert!(
        said.contains(&format!("sudo systemctl restart k3s` on {}", api.node(1))),
        "{said}"
    );
    assert!(
        took < Duration::from_secs(20),
        "waiting would not help: {took:?}"
    );

    // The same in a kubeconfig that the inventory names.
    let address = api.on(1, "hostname -I");
    let server = format!(
        "https://{}:6443",
        address.split_whitespace().next().unwrap()
    );
    api.write(
        "expired.yaml",
        &credentials.replace("https://127.0.0.1:6443", &server),
    );
    let named = api.inventory_with(
        "expired",
        "[cluster]",
        "[cluster]\nkubeconfig = \"expired.yaml\"",
    );
    let said = api.expect(3, &["-i", &named, "run", "expired", "--yes"]);
    words(&said);
    api.expect(0, &["run", "expired", "--yes"]);
}
