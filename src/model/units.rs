//! Values with a unit or a notation of their own: durations, file modes.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time as users write it: `500ms`, `30s`, `5m`, `1h30m`, `2d`. A number without a unit is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

/// A number of bytes, for people: `812 bytes`, `62.1 MB`. Units of 1000, as releases and disks are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first unit in which a rounded tenth still has at most three digits before the point.
        for (unit, size) in [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000_u64)] {
            let tenths = (u128::from(self.0) * 10 + u128::from(size) / 2) / u128::from(size);
            if self.0 >= 1_000 && (tenths < 10_000 || unit == "GB") {
                return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

/// A file mode in octal, `"0644"`: three or four octal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

/// Why a text is not a value of its type.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "{0:?} is not a duration: write a number and a unit (ms, s, m, h, d), as in `90s` or `1h30m`"
    )]
    Duration(String),
    /// Not a file mode.
    #[error("{0:?} is not a file mode: write it in octal, as in `\"0644\"`")]
    Mode(String),
}

impl TimeSpan {
    /// The example in its schema; also how the schema of a duration is told from that of any text.
    pub const EXAMPLE: &str = "90s";

    /// Reads the user's notation.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::Duration(text.to_owned());
        let mut rest = text;
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(letters);
            let n: u64 = number.parse().map_err(|_| bad())?;
            let ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            let part = Duration::from_millis(n.checked_mul(ms).ok_or_else(bad)?);
            total = total.checked_add(part).ok_or_else(bad)?;
            rest = next;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0.as_millis();
        if ms == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ] {
            if ms >= size {
                write!(f, "{}{unit}", ms / size)?;
                ms %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        Self::parse(&text)
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> String {
        span.to_string()
    }
}

impl JsonSchema for TimeSpan {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A duration: `500ms`, `30s`, `5m`, `1h30m`, `2d`.", "examples": [TimeSpan::EXAMPLE] })
    }
}

impl TryFrom<String> for Mode {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if octal => Ok(Self(mode)),
            _ => Err(UnitError::Mode(text)),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        mode.to_string()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Mode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A file mode in octal, as in `\"0644\"`.", "examples": ["0644"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_print_as_they_are_read() {
        assert_eq!(
            TimeSpan::parse("1h30m").unwrap().0,
            Duration::from_secs(5400)
        );
        assert_eq!(TimeSpan::parse("500ms").unwrap().to_string(), "500ms");
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "5y",
            "-1s",
            "99999999999999999999s",
            "213503982334602d",
        ] {
            assert!(TimeSpan::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_only() {
        assert_eq!(Mode::try_from("0644".to_owned()).unwrap().0, 0o644);
        for bad in ["644 ", "0o644", "9", "08", "rw-r--r--", "+644"] {
            assert!(Mode::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_reads_best() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (62_149_000, "62.1 MB"),
            (u64::MAX, "18446744073.7 GB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
