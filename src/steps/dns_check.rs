//! `dns_check`: a DNS server answers as it should, seen from the controller.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::diff::shown;
use super::shared::list::OneOrMany;
use super::shared::service::{
    default_interval, default_request_timeout, default_timeout, is_address, poll, time_mistakes,
    verdict,
};
use super::{Class, Decision, Kind, Poll, Touches, Want};
use crate::facts::fact::{DnsQuestion, DnsRecord, DnsReply, Fact, FactValue};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::units::TimeSpan;

/// A DNS server answers as it should. Asked by the controller, whichever target the step is on, without its hosts file
/// and search domains. Looks again until `timeout` is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsCheck {
    /// The whole name: `app.lab.example.org`. For `record = "PTR"` also an address.
    pub name: String,
    /// The type of record.
    #[serde(default)]
    pub record: DnsRecord,
    /// Ask exactly this server, `IP` or `IP:PORT`; by default the system's.
    #[serde(default)]
    pub server: Option<String>,
    /// All of these are among the answers. Empty: any answer will do.
    #[serde(default)]
    pub answers: OneOrMany<String>,
    /// The answers are these and no others.
    #[serde(default)]
    pub exact: bool,
    /// `true`: there is no such name, or no such record (a server that cannot tell proves nothing).
    #[serde(default)]
    pub absent: bool,
    /// Limit of one question.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: TimeSpan,
    /// How long to look again while it is not so; `"0s"` looks once.
    #[serde(default = "default_timeout")]
    pub timeout: TimeSpan,
    /// Pause between two looks.
    #[serde(default = "default_interval")]
    pub interval: TimeSpan,
}

impl DnsCheck {
    fn fact(&self) -> Fact {
        Fact::Dns(DnsQuestion {
            name: self.name.clone(),
            record: self.record,
            server: self.server.clone(),
            timeout: self.request_timeout,
        })
    }

    /// As answers are written: addresses in their one way, names in lowercase without the last dot.
    fn normal(&self, text: &str) -> String {
        match self.record {
            DnsRecord::A | DnsRecord::Aaaa => match text.parse::<IpAddr>() {
                Ok(address) => address.to_string(),
                Err(_) => text.to_owned(),
            },
            DnsRecord::Cname | DnsRecord::Ptr => text.trim_end_matches('.').to_ascii_lowercase(),
            DnsRecord::Txt => text.to_owned(),
        }
    }

    fn what(&self) -> String {
        format!("{} of {}", self.record.word(), self.name)
    }

    fn differences(&self, reply: &DnsReply) -> Vec<DiffLine> {
        let mut lines = Vec::new();
        let mut say = |text: String| lines.push(DiffLine::old(text));
        let code = reply.code.as_str();
        if !matches!(code, "NOERROR" | "NXDOMAIN") {
            say(format!(
                "{}: the server answers {code}, so it cannot tell",
                self.what()
            ));
            return lines;
        }
        let found: Vec<String> = reply.records.iter().map(|text| self.normal(text)).collect();
        let listed = || shown(&found.join(", "));
        if self.absent {
            if !found.is_empty() {
                say(format!("{} is there: {}", self.what(), listed()));
            }
            return lines;
        }
        if found.is_empty() {
            say(match code {
                "NXDOMAIN" => format!("there is no name {} (NXDOMAIN)", self.name),
                _ => format!("{} has no record {}", self.name, self.record.word()),
            });
            return lines;
        }
        let wanted: Vec<String> = self
            .answers
            .0
            .iter()
            .map(|text| self.normal(text))
            .collect();
        for answer in wanted.iter().filter(|answer| !found.contains(answer)) {
            say(format!("{} is {}, not {answer}", self.what(), listed()));
        }
        if self.exact {
            for answer in found.iter().filter(|answer| !wanted.contains(answer)) {
                say(format!("{} is also {}", self.what(), shown(answer)));
            }
        }
        lines
    }
}

impl Kind for DnsCheck {
    type Drift = ();
    const NAME: &'static str = "dns_check";
    const SUMMARY: &'static str = "A DNS server answers as it should, seen from the controller.";
    const CLASS: Class = Class::Check;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = time_mistakes(self.interval, self.request_timeout);
        let mut mistake = |key, message: String| found.push((key, message));
        let bare = self.name.strip_suffix('.').unwrap_or(&self.name);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| !c.is_control() && !c.is_whitespace())
        };
        let address = self.name.parse::<IpAddr>().is_ok();
        if !address && (!bare.split('.').all(label) || bare.len() > 253) {
            mistake("name", format!("{:?} is not a DNS name", self.name));
        }
        if address && self.record != DnsRecord::Ptr {
            mistake(
                "name",
                "only `record = \"PTR\"` asks for an address".to_owned(),
            );
        }
        if self.server.as_ref().is_some_and(|text| !is_address(text)) {
            mistake(
                "server",
                "a server is `IP` or `IP:PORT`, not a name".to_owned(),
            );
        }
        for answer in &self.answers.0 {
            let fits = match self.record {
                DnsRecord::A => answer.parse::<std::net::Ipv4Addr>().is_ok(),
                DnsRecord::Aaaa => answer.parse::<std::net::Ipv6Addr>().is_ok(),
                _ => !answer.is_empty(),
            };
            if !fits {
                mistake(
                    "answers",
                    format!("{answer:?} cannot be a record {}", self.record.word()),
                );
            }
        }
        if self.absent && (!self.answers.0.is_empty() || self.exact) {
            mistake("absent", "what is not there has no `answers`".to_owned());
        }
        if self.exact && self.answers.0.is_empty() {
            mistake(
                "exact",
                "`exact` needs `answers`; for none at all there is `absent`".to_owned(),
            );
        }
        found
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, [self.fact()])
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let fact = self.fact();
        match known.value(&fact)? {
            Some(FactValue::Dns(answer)) => Ok(verdict(answer, |reply| self.differences(reply))),
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
