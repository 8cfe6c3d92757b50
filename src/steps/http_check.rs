//! `http_check`: an HTTP server answers as it should, seen from the controller.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::diff::shown;
use super::shared::service::{
    default_interval, default_request_timeout, default_timeout, is_address, poll, time_mistakes,
    url_mistakes, verdict,
};
use super::{Class, Decision, Kind, Poll, Touches, Want};
use crate::facts::fact::{Fact, FactValue, HttpQuestion, HttpReply, Trust};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::units::TimeSpan;

/// An HTTP server answers as it should. Asked by the controller, whichever target the step is on; proxies of the
/// environment are not used. Looks again until `timeout` is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// What to ask: `http://` or `https://`. Credentials in it are refused.
    pub url: String,
    /// Connect to this address (`IP` or `IP:PORT`) instead of what the URL's name stands for: an ingress that no DNS
    /// knows yet. The name stays in the request and in TLS.
    #[serde(default)]
    pub address: Option<String>,
    /// The status, or several of which it is one.
    #[serde(default = "default_status")]
    pub status: Statuses,
    /// The body (its first MiB) contains this text.
    #[serde(default)]
    pub contains: Option<String>,
    /// The body (its first MiB) matches this regular expression.
    #[serde(default)]
    pub matches: Option<String>,
    /// sha256 of the body in lowercase hex.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Headers of the answer with what they contain: `headers = { location = "https://" }`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How many redirects to follow; by default none: a redirect is an answer like others.
    #[serde(default)]
    pub redirects: u32,
    /// Trust only certificates that lead to one of this file (PEM), which is on the controller.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Trust only certificates that lead to one of these (PEM).
    #[serde(default)]
    pub ca: Option<String>,
    /// Trust any certificate: proves that something answers, not who.
    #[serde(default)]
    pub insecure: bool,
    /// An HTTP proxy to use, `http://HOST:PORT`.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Limit of one request.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: TimeSpan,
    /// How long to look again while it is not so; `"0s"` looks once.
    #[serde(default = "default_timeout")]
    pub timeout: TimeSpan,
    /// Pause between two looks.
    #[serde(default = "default_interval")]
    pub interval: TimeSpan,
}

/// One status or several.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statuses {
    /// Exactly this.
    One(u16),
    /// One of these.
    Any(Vec<u16>),
}

impl JsonSchema for Statuses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let status = serde_json::json!({ "type": "integer", "minimum": 100, "maximum": 599 });
        // Two types side by side, not `anyOf`: a mistake inside the list is then reported at its own item.
        schemars::json_schema!({ "type": ["integer", "array"], "minimum": 100, "maximum": 599, "items": status })
    }
}

impl Statuses {
    fn list(&self) -> &[u16] {
        match self {
            Self::One(status) => std::slice::from_ref(status),
            Self::Any(list) => list,
        }
    }

    fn words(&self) -> String {
        let words: Vec<String> = self.list().iter().map(u16::to_string).collect();
        words.join(" or ")
    }
}

fn default_status() -> Statuses {
    Statuses::One(200)
}

impl HttpCheck {
    fn fact(&self) -> Fact {
        Fact::Http(HttpQuestion {
            url: self.url.clone(),
            address: self.address.clone(),
            trust: match (&self.ca_file, &self.ca) {
                _ if self.insecure => Trust::Anything,
                (Some(path), _) => Trust::CaFile(path.clone()),
                (None, Some(pem)) => Trust::Ca(pem.clone()),
                (None, None) => Trust::System,
            },
            redirects: self.redirects,
            proxy: self.proxy.clone(),
            timeout: self.request_timeout,
            contains: self.contains.clone(),
            matches: self.matches.clone(),
            headers: self
                .headers
                .keys()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
        })
    }

    /// One line for each thing that is not as it should be.
    fn differences(&self, reply: &HttpReply) -> Vec<DiffLine> {
        let mut lines = Vec::new();
        let mut say = |text: String| lines.push(DiffLine::old(text));
        if !self.status.list().contains(&reply.status) {
            let to = match &reply.location {
                Some(location) => format!(" (to {})", shown(location)),
                None => String::new(),
            };
            say(format!(
                "status {}{to}, not {}",
                reply.status,
                self.status.words()
            ));
        }
        let cut = match reply.truncated {
            true => "the first MiB of the body",
            false => "the body",
        };
        let bytes = reply.size;
        if reply.contains == Some(false) {
            let text = shown(self.contains.as_deref().unwrap_or_default());
            say(format!("{cut} ({bytes} bytes) does not contain {text:?}"));
        }
        if reply.matches == Some(false) {
            let text = shown(self.matches.as_deref().unwrap_or_default());
            say(format!("{cut} ({bytes} bytes) does not match /{text}/"));
        }
        if let Some(sha256) = self.sha256.as_ref() {
            if reply.truncated {
                say("the body is longer than 1 MiB, so its sha256 is not known".to_owned());
            } else if *sha256 != reply.sha256 {
                say(format!(
                    "sha256 of the body ({bytes} bytes) is {}",
                    reply.sha256
                ));
            }
        }
        for (name, wanted) in &self.headers {
            match reply.headers.get(&name.to_ascii_lowercase()) {
                None => say(format!("no header {name}")),
                Some(value) if value.contains(wanted) => {}
                Some(value) => say(format!(
                    "header {name} is {:?}, which does not contain {wanted:?}",
                    shown(value)
                )),
            }
        }
        lines
    }
}

impl Kind for HttpCheck {
    type Drift = ();
    const NAME: &'static str = "http_check";
    const SUMMARY: &'static str = "An HTTP server answers as it should, seen from the controller.";
    const CLASS: Class = Class::Check;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = url_mistakes("url", &self.url);
        found.extend(time_mistakes(self.interval, self.request_timeout));
        if let Some(proxy) = &self.proxy {
            found.extend(url_mistakes("proxy", proxy));
        }
        let mut mistake = |key, message: &str| found.push((key, message.to_owned()));
        if self.status.list().is_empty() {
            mistake("status", "no status would do");
        }
        let trusts = [self.ca_file.is_some(), self.ca.is_some(), self.insecure];
        if trusts.iter().filter(|set| **set).count() > 1 {
            mistake("insecure", "one of `ca_file`, `ca` and `insecure`");
        } else if trusts.contains(&true) && !self.url.starts_with("https://") {
            mistake("url", "`ca_file`, `ca` and `insecure` are about https://");
        }
        if self
            .ca_file
            .as_ref()
            .is_some_and(|path| !path.starts_with('/'))
        {
            mistake(
                "ca_file",
                "the path of a file on the controller begins with `/`",
            );
        }
        if self
            .ca
            .as_ref()
            .is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----"))
        {
            mistake("ca", "certificates in PEM (-----BEGIN CERTIFICATE-----)");
        }
        if self.address.is_some() && self.proxy.is_some() {
            mistake(
                "address",
                "a proxy connects by itself: `address` or `proxy`",
            );
        }
        if self.address.as_ref().is_some_and(|text| !is_address(text)) {
            mistake("address", "an address is `IP` or `IP:PORT`");
        }
        if let Some(Err(error)) = self.matches.as_deref().map(regex_lite::Regex::new) {
            found.push(("matches", format!("no regular expression: {error}")));
        }
        let is_hex = |text: &String| {
            text.len() == 64
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if self.sha256.as_ref().is_some_and(|text| !is_hex(text)) {
            found.push(("sha256", "64 lowercase hexadecimal digits".to_owned()));
        }
        found
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, [self.fact()])
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let fact = self.fact();
        match known.value(&fact)? {
            Some(FactValue::Http(answer)) => Ok(verdict(answer, |reply| self.differences(reply))),
            _ => Err(known.odd_answer(&fact)),
        }
    }

    fn apply(&self, _drift: &Self::Drift) -> Vec<Action> {
        Vec::new()
    }

    fn touches(&self) -> Touches {
        Touches::default()
    }

    fn poll(&self) -> Option<Poll> {
        poll(self.timeout, self.interval)
    }
}

#[cfg(test)]
mod tests;
