//! What services answer to the controller: questions and answers of [`Fact::Http`](super::fact::Fact::Http),
//! [`Fact::Dns`](super::fact::Fact::Dns) and [`Fact::Tcp`](super::fact::Fact::Tcp). That a service does not answer is an
//! answer too ([`NetTrouble`]), because it is what a check waits to see end.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::units::TimeSpan;

/// One HTTP request (GET). Proxies of the environment are not used.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct HttpQuestion {
    /// `http://` or `https://`, without credentials.
    pub url: String,
    /// Connect to this address (`IP` or `IP:PORT`) instead of what the URL's name stands for; the name stays in the
    /// request and in TLS.
    #[serde(default)]
    pub address: Option<String>,
    /// Whom to trust for `https://`.
    #[serde(default)]
    pub trust: Trust,
    /// How many redirects to follow.
    #[serde(default)]
    pub redirects: u32,
    /// An HTTP proxy to use, `http://HOST:PORT`.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Limit of the whole exchange.
    pub timeout: TimeSpan,
    /// Does the body contain this text?
    #[serde(default)]
    pub contains: Option<String>,
    /// Does the body match this regular expression?
    #[serde(default)]
    pub matches: Option<String>,
    /// Headers of the answer to keep, in lowercase.
    #[serde(default)]
    pub headers: Vec<String>,
}

/// Whose certificates count.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// Those of the controller's system.
    #[default]
    System,
    /// Only those that lead to a certificate of this file (PEM) on the controller.
    CaFile(String),
    /// Only those that lead to one of these certificates (PEM).
    Ca(String),
    /// Any.
    Anything,
}

/// One DNS question.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct DnsQuestion {
    /// The name, taken as complete: no search domain is added. For PTR also an address.
    pub name: String,
    /// The type of record.
    pub record: DnsRecord,
    /// Ask exactly this server (`IP` or `IP:PORT`); otherwise those of the controller's system, without its hosts file.
    #[serde(default)]
    pub server: Option<String>,
    /// Limit of the whole exchange.
    pub timeout: TimeSpan,
}

/// Types of DNS records.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[schemars(inline)]
pub enum DnsRecord {
    /// IPv4 address.
    #[default]
    A,
    /// IPv6 address.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// Another name for it.
    #[serde(rename = "CNAME")]
    Cname,
    /// Text.
    #[serde(rename = "TXT")]
    Txt,
    /// The name of an address.
    #[serde(rename = "PTR")]
    Ptr,
}

impl DnsRecord {
    /// As zone files write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
        }
    }
}

/// One attempt to connect.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct TcpQuestion {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Limit of the attempt.
    pub timeout: TimeSpan,
}

/// What came back, or why nothing did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetAnswer<T> {
    /// An answer.
    Answered(T),
    /// None.
    Trouble(NetTrouble),
}

/// Why a service gave no answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetTrouble {
    /// What sort.
    pub kind: TroubleKind,
    /// In words: `connection refused by 192.168.1.11:6443`.
    pub message: String,
}

/// Sorts of trouble with a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// Its name could not be resolved.
    Name,
    /// Nobody listens.
    Refused,
    /// No answer within the limit.
    TimedOut,
    /// There is no way there.
    Unreachable,
    /// The certificate, or no TLS at all.
    Tls,
    /// It talks, but not what was expected.
    Protocol,
    /// The question itself cannot be asked (a CA file that is not there); waiting does not help.
    Question,
}

/// An HTTP answer. Of the body only what was asked is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HttpReply {
    /// Status.
    pub status: u16,
    /// URL that answered, where redirects were followed.
    pub url: String,
    /// Where it redirects to.
    pub location: Option<String>,
    /// Headers that were asked for, those that came; several of one name are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// Bytes of the body that were read.
    pub size: u64,
    /// The body was longer than what is read (1 MiB); `sha256`, `contains` and `matches` are of its beginning.
    pub truncated: bool,
    /// sha256 of the body in lowercase hex.
    pub sha256: String,
    /// Answer to `contains`.
    pub contains: Option<bool>,
    /// Answer to `matches`.
    pub matches: Option<bool>,
}

/// A DNS answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DnsReply {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, `REFUSED` ...
    pub code: String,
    /// Records of the asked type, as zone files write them, names without the last dot; sorted.
    pub records: Vec<String>,
}
