//! The header bound into every ciphertext: the first line of the plaintext. It says which store and which name the value
//! belongs to, so a ciphertext is worth nothing in another place, and who it was encrypted to, so that can be audited.
//! Stock tools give the exact value with `age -d | tail -n +2`.

use super::recipients::Fingerprint;

/// The first word of every header: our name and the version of the format.
const MARK: &str = "hmco-boot/1";
/// Longest header that is looked at, in bytes: some 200 readers.
const LONGEST: usize = 4096;

/// What stands before a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The store it belongs to: 16 hex digits.
    pub store: String,
    /// Its full name.
    pub name: String,
    /// Whether it is text.
    pub text: bool,
    /// The keys it was encrypted to, sorted.
    pub readers: Vec<Fingerprint>,
}

impl Header {
    /// A header; readers are sorted.
    pub fn new(
        store: &str,
        name: &str,
        text: bool,
        readers: impl IntoIterator<Item = Fingerprint>,
    ) -> Self {
        let mut readers: Vec<Fingerprint> = readers.into_iter().collect();
        readers.sort_unstable();
        readers.dedup();
        Self {
            store: store.to_owned(),
            name: name.to_owned(),
            text,
            readers,
        }
    }

    /// The line, with its newline.
    pub fn line(&self) -> String {
        let readers: Vec<String> = self.readers.iter().map(ToString::to_string).collect();
        let sort = if self.text { "utf8" } else { "bin" };
        format!(
            "{MARK} {} {} {sort} {}\n",
            self.store,
            self.name,
            readers.join(",")
        )
    }

    /// The header of a plaintext, and where the value begins.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that show nothing of the plaintext.
    pub fn split(plain: &[u8]) -> Result<(Self, usize), String> {
        let end = plain.iter().take(LONGEST).position(|byte| *byte == b'\n');
        let line = end
            .and_then(|end| plain.get(..end))
            .and_then(|line| std::str::from_utf8(line).ok())
            .unwrap_or_default();
        let mut words = line.split(' ');
        match words.next() {
            Some(MARK) => {}
            Some(mark) if mark.strip_prefix("hmco-boot/").is_some_and(is_number) => {
                return Err("its header is of a newer hmco-boot".into());
            }
            _ => return Err("it has no header of hmco-boot before the value".into()),
        }
        let (Some(store), Some(name), Some(sort), Some(readers), None) = (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) else {
            return Err("its header has not five words".into());
        };
        let text = match sort {
            "utf8" => true,
            "bin" => false,
            _ => return Err("its header says neither utf8 nor bin".into()),
        };
        let readers: Result<Vec<Fingerprint>, _> = readers.split(',').map(str::parse).collect();
        let readers = readers.map_err(|_| "its header names readers in a wrong way".to_owned())?;
        let start = end.map_or(0, |end| end + 1);
        Ok((Self::new(store, name, text, readers), start))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(readers: &[&str]) -> Header {
        let readers = readers.iter().map(|one| one.parse().unwrap());
        Header::new("0123456789abcdef", "k3s/token", true, readers)
    }

    #[test]
    fn a_header_is_one_line_and_comes_back_with_the_place_of_the_value() {
        let header = header(&["ffffffffffffffff", "0000000000000001"]);
        let line = header.line();
        assert_eq!(
            line,
            "hmco-boot/1 0123456789abcdef k3s/token utf8 0000000000000001,ffffffffffffffff\n"
        );
        let plain = format!("{line}the\nvalue");
        let (found, start) = Header::split(plain.as_bytes()).unwrap();
        assert_eq!(found, header);
        assert_eq!(&plain[start..], "the\nvalue");
    }

    #[test]
    fn what_is_no_header_is_refused_without_showing_any_of_it() {
        for (plain, why) in [
            ("", "no header"),
            ("hunter2", "no header"),
            ("hunter2\n", "no header"),
            ("hmco-boot/1 s a/b utf8 0000000000000001", "no header"),
            ("hmco-boot/2 what ever\n", "newer"),
            ("hmco-boot/1 s a/b utf8\n", "five words"),
            (
                "hmco-boot/1 s a/b utf8 0000000000000001 more\n",
                "five words",
            ),
            ("hmco-boot/1 s a/b text 0000000000000001\n", "utf8 nor bin"),
            ("hmco-boot/1 s a/b utf8 hunter2\n", "readers"),
            ("hmco-boot/1 s a/b utf8 \n", "readers"),
        ] {
            let said = Header::split(plain.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{plain:?}: {said}");
            assert!(!said.contains("hunter2"));
        }
    }
}
