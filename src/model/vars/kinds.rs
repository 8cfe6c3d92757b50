//! What values each type of var takes.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::mistake::Mistake;
use crate::model::template::secret_table;
use crate::model::units::TimeSpan;
use crate::model::value::{Data, Value};

use super::VarType;

impl VarType {
    /// The word for it in a playbook.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Ip => "ip",
            Self::IpRange => "ip-range",
            Self::Cidr => "cidr",
            Self::Hostname => "hostname",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::List => "list",
            Self::Table => "table",
            Self::Secret => "secret",
        }
    }

    /// An example of how to write one.
    pub fn example(self) -> &'static str {
        match self {
            Self::String => "\"text\"",
            Self::Int => "3",
            Self::Bool => "true",
            Self::Ip => "\"192.168.1.11\"",
            Self::IpRange => "\"192.168.1.240-192.168.1.250\"",
            Self::Cidr => "\"10.42.0.0/16\"",
            Self::Hostname => "\"pi5-01.lab.example.org\"",
            Self::Duration => "\"1h30m\"",
            Self::Size => "\"512Mi\"",
            Self::List => "[\"a\", \"b\"]",
            Self::Table => "{ key = \"value\" }",
            Self::Secret => "{ secret = \"folder/name\" }",
        }
    }

    /// Whether a rendered value is one of this type; the mistake is at the value.
    ///
    /// A secret may be given wherever text is taken (`string`), and only a secret where one is declared.
    pub fn check(&self, value: &Value) -> Result<(), Mistake> {
        let wrong = |words: String| {
            Err(Mistake::error("wrong-var", value.span, words)
                .hint(format!("write it like `{}`", self.example())))
        };
        match (self, &value.data) {
            (Self::Secret, _) if secret_table(value).is_some() => Ok(()),
            (Self::Secret, Data::Tainted(_)) => Ok(()),
            (Self::Secret, Data::String(_)) => {
                wrong("expected a secret, found a text in the open".to_owned())
            }
            (Self::String, _) if secret_table(value).is_some() => Ok(()),
            (Self::String, Data::String(_) | Data::Tainted(_))
            | (Self::Int, Data::Integer(_))
            | (Self::Bool, Data::Bool(_))
            | (Self::List, Data::List(_))
            | (Self::Table, Data::Table(_)) => Ok(()),
            (Self::Size, Data::Integer(n)) if *n >= 0 => Ok(()),
            (_, Data::String(text)) if self.is_text() => match self.text(text) {
                Ok(()) => Ok(()),
                Err(words) => wrong(words),
            },
            (_, data) => wrong(format!(
                "expected {}, found {}",
                self.with_article(),
                found(data)
            )),
        }
    }

    /// Types whose values are text of a certain form.
    fn is_text(self) -> bool {
        matches!(
            self,
            Self::Ip | Self::IpRange | Self::Cidr | Self::Hostname | Self::Duration | Self::Size
        )
    }

    pub(super) fn with_article(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Int => "a whole number",
            Self::Bool => "true or false",
            Self::Ip => "an IP address",
            Self::IpRange => "a range of IP addresses",
            Self::Cidr => "a network",
            Self::Hostname => "a host name",
            Self::Duration => "a duration",
            Self::Size => "a size",
            Self::List => "a list",
            Self::Table => "a table",
            Self::Secret => "a secret",
        }
    }

    /// Whether a text is of the form this type wants; else what is wrong.
    fn text(self, text: &str) -> Result<(), String> {
        match self {
            Self::Ip => ip(text).map(|_| ()),
            Self::IpRange => ip_range(text),
            Self::Cidr => cidr(text),
            Self::Hostname => hostname(text),
            Self::Duration => TimeSpan::parse(text)
                .map(|_| ())
                .map_err(|error| error.to_string()),
            Self::Size => size(text).map(|_| ()),
            _ => Ok(()),
        }
    }
}

fn found(data: &Data) -> &'static str {
    match data {
        Data::String(_) => "a string",
        Data::Tainted(_) => "a secret",
        Data::Integer(_) => "a whole number",
        Data::Float(_) => "a number with a fraction",
        Data::Bool(_) => "true or false",
        Data::Datetime(_) => "a date",
        Data::List(_) => "a list",
        Data::Table(_) => "a table",
    }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an IP address"))
}

fn ip_range(text: &str) -> Result<(), String> {
    let Some((first, last)) = text.split_once('-') else {
        return Err(format!("{text:?} is not a range: it has no `-`"));
    };
    let (first, last) = (ip(first.trim())?, ip(last.trim())?);
    if first.is_ipv4() != last.is_ipv4() {
        return Err(format!("{text:?} mixes IPv4 and IPv6"));
    }
    if first > last {
        return Err(format!("{text:?} ends before it starts"));
    }
    Ok(())
}

fn cidr(text: &str) -> Result<(), String> {
    let net: IpNet = text.parse().map_err(|_| {
        if text.parse::<IpAddr>().is_ok() {
            format!("{text:?} is an address, not a network: the prefix length is missing")
        } else {
            format!("{text:?} is not a network")
        }
    })?;
    if net.trunc() != net {
        return Err(format!(
            "{text:?} has host bits set: the network is `{}`",
            net.trunc()
        ));
    }
    Ok(())
}

/// RFC 1123: labels of letters, digits and inner hyphens, 63 bytes each, 253 in all.
fn hostname(text: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("{text:?} is not a host name: {why}"));
    if text.is_empty() {
        return bad("it is empty");
    }
    if text.len() > 253 {
        return bad("it is longer than 253 bytes");
    }
    for label in text.split('.') {
        if label.is_empty() {
            return bad("it has an empty part");
        }
        if label.len() > 63 {
            return bad("a part is longer than 63 bytes");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return bad("a part starts or ends with `-`");
        }
        if let Some(c) = label
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || *c == '-'))
        {
            return bad(&format!("it has `{}`", c.escape_debug()));
        }
    }
    Ok(())
}

/// Bytes of a size as Kubernetes writes it: `512Mi` (powers of 1024), `10G` (powers of 1000), `1048576`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let bad = || format!("{text:?} is not a size");
    let number: u64 = number.parse().map_err(|_| bad())?;
    let (base, power) = match unit {
        "" => (1, 0),
        "k" | "K" => (1000, 1),
        "M" => (1000, 2),
        "G" => (1000, 3),
        "T" => (1000, 4),
        "Ki" => (1024, 1),
        "Mi" => (1024, 2),
        "Gi" => (1024, 3),
        "Ti" => (1024, 4),
        _ => return Err(bad()),
    };
    u64::pow(base, power)
        .checked_mul(number)
        .ok_or_else(|| format!("{text:?} is more than can be counted"))
}
