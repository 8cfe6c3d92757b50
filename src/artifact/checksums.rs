//! A release's own list of checksums: where it may be, and what it says of a file. Pure.

use super::mirror::decoded;
use crate::model::artifact::PinArch;

/// Where the list of a file may be, the most telling first. `named` is `checksums` of the pin, if it has one: a URL or a
/// path beside `url`, with `{version}` and `{arch}` filled in. Only the first that is there counts.
pub fn urls(url: &str, version: &str, arch: PinArch, named: Option<&str>) -> Vec<String> {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (folder, file) = plain.rsplit_once('/').unwrap_or((plain, ""));
    let beside = |name: &str| format!("{folder}/{name}");
    if let Some(named) = named {
        let text = named
            .replace("{version}", version)
            .replace("{arch}", arch.as_str());
        return match text.contains("://") {
            true => vec![text],
            false => vec![beside(&text)],
        };
    }
    let words: &[&str] = match arch {
        PinArch::Arm64 => &["arm64"],
        PinArch::Armhf => &["arm", "armhf"],
        PinArch::Amd64 => &["amd64"],
        PinArch::All => &[],
    };
    let mut found: Vec<String> = words
        .iter()
        .map(|word| beside(&format!("sha256sum-{word}.txt")))
        .collect();
    found.push(format!("{plain}.sha256"));
    found.push(format!("{plain}.sha256sum"));
    for name in [
        "SHA256SUMS",
        "sha256sums.txt",
        "sha256sum.txt",
        "checksums.txt",
    ] {
        found.push(beside(name));
    }
    // What goreleaser writes: NAME_1.2.3_checksums.txt.
    if let Some((name, _)) = file.split_once(['_', '-']) {
        let version = version.trim_start_matches('v');
        found.push(beside(&format!("{name}_{version}_checksums.txt")));
    }
    found
}

/// The sha256 that a list has for the file at `url`: GNU (`HEX  NAME`, `HEX *NAME`) and BSD (`SHA256 (NAME) = HEX`)
/// lines, or a digest all by itself. An error is what is wrong.
pub fn listed(text: &str, url: &str) -> Result<String, String> {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let file = decoded(plain.rsplit('/').next().unwrap_or_default());
    let mut alone = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some((digest, name)) = entry(line) else {
            continue;
        };
        match name {
            None => alone.push(digest),
            Some(name) if decoded(name.rsplit('/').next().unwrap_or_default()) == file => {
                if !found.contains(&digest) {
                    found.push(digest);
                }
            }
            Some(_) => {}
        }
    }
    match (found.as_slice(), alone.as_slice()) {
        ([digest], _) => Ok(digest.clone()),
        ([], [digest]) if text.lines().filter(|line| !line.trim().is_empty()).count() == 1 => {
            Ok(digest.clone())
        }
        ([], _) => Err(format!("it has no entry for {file}")),
        _ => Err(format!("it has several entries for {file}, which differ")),
    }
}

fn entry(line: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = line.strip_prefix("SHA256 (") {
        let (name, digest) = rest.rsplit_once(") = ")?;
        return Some((digest_of(digest)?, Some(name)));
    }
    match line.split_once(char::is_whitespace) {
        None => Some((digest_of(line)?, None)),
        Some((digest, name)) => {
            let name = name.trim_start();
            let name = name.strip_prefix('*').unwrap_or(name);
            Some((digest_of(digest)?, Some(name)))
        }
    }
}

fn digest_of(text: &str) -> Option<String> {
    let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_k3s_and_of_others_are_looked_for_beside_the_file() {
        let url = "https://example.org/v1.2%2Bk3s1/k3s-armhf";
        let found = urls(url, "v1.2+k3s1", PinArch::Armhf, None);
        assert_eq!(
            found[0],
            "https://example.org/v1.2%2Bk3s1/sha256sum-arm.txt"
        );
        assert!(found.contains(&format!("{url}.sha256")));
        assert!(found.contains(&"https://example.org/v1.2%2Bk3s1/SHA256SUMS".to_owned()));
        let url = "https://example.org/v1.2.3/tool_1.2.3_linux_arm64.tar.gz?download=1";
        let found = urls(url, "v1.2.3", PinArch::Arm64, None);
        assert_eq!(
            found.last().unwrap(),
            "https://example.org/v1.2.3/tool_1.2.3_checksums.txt"
        );
        let named = urls(
            url,
            "v1.2.3",
            PinArch::Arm64,
            Some("sums-{arch}-{version}.txt"),
        );
        assert_eq!(named, ["https://example.org/v1.2.3/sums-arm64-v1.2.3.txt"]);
        let named = urls(
            url,
            "v1.2.3",
            PinArch::Arm64,
            Some("https://other.example/{version}"),
        );
        assert_eq!(named, ["https://other.example/v1.2.3"]);
    }

    #[test]
    fn a_list_is_read_in_the_forms_that_are_in_use() {
        let (a, b) = ("aA".repeat(32), "bb".repeat(32));
        let url = "https://example.org/v1/k3s%2Barm64";
        for text in [
            format!("{b}  k3s\n{a}  k3s+arm64\n"),
            format!("{b} *k3s\r\n{a} *./dist/k3s+arm64\r\n"),
            format!("SHA256 (k3s) = {b}\nSHA256 (k3s+arm64) = {a}\n"),
            format!("{a}\n"),
            format!("{a}  k3s+arm64\n{a}  k3s+arm64"),
        ] {
            assert_eq!(listed(&text, url), Ok("aa".repeat(32)), "{text}");
        }
        for text in [
            format!("{b}  k3s-arm64\n"),
            format!("{a}\n{b}\n"),
            format!("{a}  k3s+arm64\n{b}  k3s+arm64\n"),
            "<html>not found</html>".to_owned(),
            format!("{}  k3s+arm64", "ab".repeat(20)),
            String::new(),
        ] {
            assert!(listed(&text, url).is_err(), "{text}");
        }
    }
}
