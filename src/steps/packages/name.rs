//! `NAME`, `NAME:ARCHITECTURE`, `NAME=VERSION`.

use crate::facts::questions::is_package_name;

/// A package as a user names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// Its name, perhaps with an architecture.
    pub name: &'a str,
    /// The version; a `*` at its end stands for anything.
    pub version: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// Takes a text apart.
    pub fn parse(text: &'a str) -> Self {
        match text.split_once('=') {
            Some((name, version)) => Self {
                name,
                version: Some(version),
            },
            None => Self {
                name: text,
                version: None,
            },
        }
    }

    /// The text again, as apt takes it.
    pub fn text(&self) -> String {
        match self.version {
            Some(version) => format!("{}={version}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Whether this installed version will do.
    pub fn takes(&self, installed: &str) -> bool {
        match self.version {
            None => true,
            Some(version) => match version.strip_suffix('*') {
                Some(start) => installed.starts_with(start),
                None => installed == version,
            },
        }
    }

    /// What is wrong with it. apt would take `name-` for "remove it", `name+` for a package of that name or `name`, and
    /// `name/release` for one of another release.
    pub fn mistake(&self) -> Option<String> {
        let stem = self.name.split(':').next().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        // As dpkg's own rules have it: deb-control(5).
        if !is_package_name(self.name)
            || stem.len() < 2
            || !stem.bytes().all(plain)
            || stem.ends_with('-')
        {
            return Some(format!("{:?} is not the name of a package", self.name));
        }
        let version = self.version?;
        let body = version.strip_suffix('*').unwrap_or(version);
        let fine = |b: u8| b.is_ascii_alphanumeric() || b".+-:~".contains(&b);
        (version.is_empty() || !body.bytes().all(fine) || body.starts_with('-')).then(|| {
            format!("{version:?} is not a version (only a `*` at its end stands for anything)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_whole_or_by_their_beginning() {
        assert!(Name::parse("curl").takes("7.88.1-10+deb12u5"));
        assert!(Name::parse("curl=7.88.*").takes("7.88.1-10+deb12u5"));
        assert!(!Name::parse("curl=7.88.1-10").takes("7.88.1-10+deb12u5"));
        assert!(Name::parse("curl=7.88.1-10+deb12u5").takes("7.88.1-10+deb12u5"));
    }

    #[test]
    fn what_apt_would_take_for_a_command_is_no_name() {
        for good in [
            "curl",
            "libstdc++6",
            "libc6:armhf",
            "g++=4:12.2.0-3",
            "a2ps=1*",
        ] {
            assert_eq!(Name::parse(good).mistake(), None, "{good}");
        }
        for bad in [
            "",
            "-y",
            "curl-",
            "curl/stable",
            "cu*",
            "Curl",
            "a b",
            "x",
            "curl=",
            "curl=1*2",
            "curl=-1",
            "curl=a b",
        ] {
            assert!(Name::parse(bad).mistake().is_some(), "{bad}");
        }
    }
}
