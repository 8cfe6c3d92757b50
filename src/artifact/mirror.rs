//! Where in a mirror folder the file of a pin may be. Pure.

use std::path::{Component, Path, PathBuf};

use crate::model::artifact::Pin;

/// Paths below a mirror folder, the most telling first: by host and path of the URL (what `wget -x` makes), by its path,
/// by name and version of the pin, by digest (a copy of the cache), by the file's name alone; each as it is written in
/// the URL and with its `%XX` decoded.
pub(super) fn candidates(pin: &Pin) -> Vec<PathBuf> {
    let url = pin.url.split(['?', '#']).next().unwrap_or_default();
    let below_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = below_scheme.split_once('/').map_or("", |(_, path)| path);
    let file = pin.file_name();
    let mut texts = Vec::new();
    for text in [below_scheme, path] {
        texts.extend([text.to_owned(), decoded(text)]);
    }
    for file in [file.to_owned(), decoded(file)] {
        texts.push(format!("{}/{}/{file}", pin.name, pin.version));
        texts.push(file);
    }
    texts.push(format!("sha256/{}", pin.sha256));
    let mut found = Vec::new();
    for text in texts {
        let path = PathBuf::from(text);
        if is_plain(&path) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// Whether it stays below the folder it is joined to.
fn is_plain(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
        && path.components().next().is_some()
}

/// With `%XX` decoded; as it is where that gives no text.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::artifact::{Fetch, PinArch};

    fn of(url: &str) -> Vec<String> {
        let pin = Pin {
            name: "k3s".to_owned(),
            version: "v1.2+k3s1".to_owned(),
            arch: PinArch::Arm64,
            url: url.to_owned(),
            sha256: "ab".repeat(32),
            size: 1,
            fetch: Fetch::Node,
            members: BTreeMap::new(),
        };
        let found = candidates(&pin);
        found
            .into_iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn a_mirror_is_looked_through_by_url_path_name_and_digest() {
        let found = of("https://github.com/k3s-io/v1.2%2Bk3s1/k3s-arm64?x=/y");
        assert_eq!(
            found,
            [
                "github.com/k3s-io/v1.2%2Bk3s1/k3s-arm64",
                "github.com/k3s-io/v1.2+k3s1/k3s-arm64",
                "k3s-io/v1.2%2Bk3s1/k3s-arm64",
                "k3s-io/v1.2+k3s1/k3s-arm64",
                "k3s/v1.2+k3s1/k3s-arm64",
                "k3s-arm64",
                &format!("sha256/{}", "ab".repeat(32)),
            ]
        );
    }

    #[test]
    fn nothing_outside_a_mirror_is_looked_at() {
        for url in [
            "https://example.org/../../etc/passwd",
            "https://example.org/%2e%2e/%2Fetc/passwd",
            "https://example.org//etc/passwd",
            "https:///etc/passwd",
            "https://example.org/",
        ] {
            for path in of(url) {
                assert!(is_plain(Path::new(&path)), "{url}: {path}");
                assert!(!path.contains(".."), "{url}: {path}");
            }
        }
        assert_eq!(decoded("a%2Bb%zz%"), "a+b%zz%");
        assert_eq!(decoded("%ff"), "%ff");
    }
}
