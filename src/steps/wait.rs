//! `wait`: goes on when something is so. There is no plain pause: what one waits for has a name.

mod object;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::service::{
    default_interval, default_request_timeout, no_answer, poll, time_mistakes, url_mistakes,
};
use super::{Class, Decision, Kind, Poll, Scope, Touches, Want};
use crate::facts::fact::{Fact, FactValue, HttpQuestion, NetAnswer, TcpQuestion, Trust};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::path::AbsPath;
use crate::model::units::TimeSpan;

/// Waits until all that is named here is so. `tcp` and `http` are seen from the controller, `file` and `unit` on the
/// target (a machine), `object` through the Kubernetes API. Whatever HTTP status comes is an answer; for more there is `http_check`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// `HOST:PORT` that accepts a connection.
    #[serde(default)]
    pub tcp: Option<String>,
    /// A URL whose server answers with a status below 500. Certificates are not looked at.
    #[serde(default)]
    pub http: Option<String>,
    /// A path where something is, on the target.
    #[serde(default)]
    pub file: Option<AbsPath>,
    /// A systemd unit that is active and stays so, on the target.
    #[serde(default)]
    pub unit: Option<String>,
    /// A Kubernetes object that is as it should be; for a step on the `cluster`, or on any machine.
    #[serde(default)]
    pub object: Option<object::Object>,
    /// Limit of one attempt to connect.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: TimeSpan,
    /// How long to wait.
    #[serde(default = "default_timeout")]
    pub timeout: TimeSpan,
    /// Pause between two looks.
    #[serde(default = "default_interval")]
    pub interval: TimeSpan,
}

fn default_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(300))
}

/// Host and port of `HOST:PORT`; an IPv6 address in brackets.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let fine = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
            !host.is_empty() && host.bytes().all(plain)
        }
    };
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    fine.then_some((bare.unwrap_or(host), port))
}

impl Wait {
    fn tcp_fact(&self) -> Option<Fact> {
        let (host, port) = host_and_port(self.tcp.as_deref()?)?;
        Some(Fact::Tcp(TcpQuestion {
            host: host.to_owned(),
            port,
            timeout: self.request_timeout,
        }))
    }

    fn http_fact(&self) -> Option<Fact> {
        Some(Fact::Http(HttpQuestion {
            url: self.http.clone()?,
            address: None,
            trust: Trust::Anything,
            redirects: 0,
            proxy: None,
            timeout: self.request_timeout,
            contains: None,
            matches: None,
            headers: Vec::new(),
        }))
    }

    fn node_facts(&self) -> impl Iterator<Item = Fact> {
        let file = self.file.clone().map(|path| Fact::Stat { path });
        let unit = self.unit.clone().map(|name| Fact::Unit { name });
        file.into_iter().chain(unit)
    }

    fn services(&self, known: &Known<'_>) -> Result<Decision<()>, Unreadable> {
        let mut lines = Vec::new();
        for fact in self.tcp_fact().into_iter().chain(self.http_fact()) {
            let trouble = match known.value(&fact)? {
                Some(FactValue::Tcp(NetAnswer::Answered(_))) => continue,
                Some(FactValue::Http(NetAnswer::Answered(reply))) if reply.status < 500 => continue,
                Some(FactValue::Http(NetAnswer::Answered(reply))) => {
                    lines.push(DiffLine::old(format!("status {}", reply.status)));
                    continue;
                }
                Some(
                    FactValue::Tcp(NetAnswer::Trouble(trouble))
                    | FactValue::Http(NetAnswer::Trouble(trouble)),
                ) => trouble,
                _ => return Err(known.odd_answer(&fact)),
            };
            match no_answer(trouble, ()) {
                Decision::Drift { diff, .. } => lines.extend(diff),
                other => return Ok(other),
            }
        }
        Ok(Decision::Drift {
            diff: lines,
            drift: (),
        })
    }

    fn on_target(&self, known: &Known<'_>) -> Result<Vec<DiffLine>, Unreadable> {
        let mut lines = Vec::new();
        if let Some(path) = &self.file
            && known.stat(path)?.is_none()
        {
            lines.push(DiffLine::old(format!("{path} is not there")));
        }
        if let Some(name) = &self.unit {
            match known.unit(name)? {
                None => lines.push(DiffLine::old(format!("there is no unit {name}"))),
                Some(unit) if unit.flapping => lines.push(DiffLine::old(format!(
                    "{name} does not stay up: {} ({}), restarts by systemd so far: {}",
                    unit.active, unit.sub, unit.restarts
                ))),
                Some(unit) if unit.active == "active" => {}
                Some(unit) => lines.push(DiffLine::old(format!(
                    "{name} is {} ({}), result {}",
                    unit.active, unit.sub, unit.result
                ))),
            }
        }
        if let Some(object) = &self.object {
            lines.extend(object.missing(known)?);
        }
        Ok(lines)
    }
}

impl Kind for Wait {
    type Drift = ();
    const NAME: &'static str = "wait";
    const SUMMARY: &'static str =
        "Goes on when a port, URL, file, unit or Kubernetes object is as it should be.";
    const CLASS: Class = Class::Check;
    const SCOPE: Scope = Scope::Any;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = time_mistakes(self.interval, self.request_timeout);
        let named = [
            self.tcp.is_some(),
            self.http.is_some(),
            self.file.is_some(),
            self.unit.is_some(),
            self.object.is_some(),
        ];
        let mut mistake = |key, message: String| found.push((key, message));
        if !named.contains(&true) {
            mistake(
                "tcp",
                "wait for what? (`tcp`, `http`, `file`, `unit` or `object`)".to_owned(),
            );
        }
        if let Some(text) = &self.tcp
            && host_and_port(text).is_none()
        {
            mistake("tcp", format!("{text:?} is not `HOST:PORT`"));
        }
        if let Some(name) = &self.unit
            && (!name.contains('.') || name.contains(['/', '*', ' ']))
        {
            mistake(
                "unit",
                format!("{name:?} is not a unit's full name: `NAME.service`"),
            );
        }
        if self.timeout.0.is_zero() {
            mistake("timeout", "waiting takes time".to_owned());
        }
        if let Some(object) = &self.object {
            found.extend(object.mistakes());
        }
        if let Some(url) = &self.http {
            found.extend(url_mistakes("http", url));
        }
        found
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let services = self.tcp_fact().into_iter().chain(self.http_fact());
        let want = Want::all(known, services.chain(self.node_facts()));
        match &self.object {
            Some(object) => want.and(object.facts(known)),
            None => want,
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let mut lines = match self.services(known)? {
            Decision::Drift { diff, .. } => diff,
            other => return Ok(other),
        };
        lines.extend(self.on_target(known)?);
        Ok(match lines.is_empty() {
            true => Decision::Unchanged,
            false => Decision::Drift {
                diff: lines,
                drift: (),
            },
        })
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
