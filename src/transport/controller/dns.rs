//! Asking DNS servers: no cache, no hosts file, no search domains.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{io_trouble, tcp, trouble};
use crate::facts::fact::{DnsQuestion, DnsRecord, DnsReply, NetTrouble, TroubleKind};

/// Asks, and tells "no such name" from "no such record" from "the server cannot tell".
pub(super) async fn ask(question: &DnsQuestion) -> Result<DnsReply, NetTrouble> {
    let name = name(question)?;
    let resolver = resolver(question)?;
    let (record, whom) = (record_type(question.record), whom(question));
    match resolver.lookup(name, record).await {
        Ok(found) => {
            let ours = found.answers().iter().map(|record| &record.data);
            let mut records: Vec<String> = ours
                .filter_map(|data| text(data, question.record))
                .collect();
            records.sort();
            records.dedup();
            Ok(reply("NOERROR", records))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            Ok(reply(&code(none.response_code), Vec::new()))
        }
        Err(NetError::Dns(DnsError::ResponseCode(answered))) => {
            Ok(reply(&code(answered), Vec::new()))
        }
        Err(error) => Err(unanswered(question, &error, &whom).await),
    }
}

fn reply(code: &str, records: Vec<String>) -> DnsReply {
    DnsReply {
        code: code.to_owned(),
        records,
    }
}

fn whom(question: &DnsQuestion) -> String {
    match &question.server {
        Some(server) => format!("the DNS server {server}"),
        None => "the system's DNS server".to_owned(),
    }
}

/// A server that does not answer by UDP may not be there at all: connecting tells.
async fn unanswered(question: &DnsQuestion, error: &NetError, whom: &str) -> NetTrouble {
    let server = question.server.as_deref();
    if let Some(address) = server.and_then(|server| tcp::address(server, 53))
        && let Err(error) = tokio::net::TcpStream::connect(address).await
    {
        return io_trouble(&error, whom);
    }
    in_words(error, whom)
}

fn in_words(error: &NetError, whom: &str) -> NetTrouble {
    match error {
        NetError::Timeout => trouble(TroubleKind::TimedOut, format!("{whom} does not answer")),
        NetError::Io(error) => io_trouble(error, whom),
        NetError::NoConnections => trouble(
            TroubleKind::Unreachable,
            format!("{whom} cannot be reached"),
        ),
        other => trouble(TroubleKind::Protocol, format!("{whom}: {other}")),
    }
}

/// The name as a complete one; of an address, the name under which its own name is kept.
fn name(question: &DnsQuestion) -> Result<Name, NetTrouble> {
    if question.record == DnsRecord::Ptr
        && let Ok(address) = question.name.parse::<IpAddr>()
    {
        return Ok(Name::from(address));
    }
    let mut name = Name::from_utf8(&question.name).map_err(|error| {
        trouble(
            TroubleKind::Question,
            format!("{} is not a DNS name: {error}", question.name),
        )
    })?;
    name.set_fqdn(true);
    Ok(name)
}

fn resolver(question: &DnsQuestion) -> Result<TokioResolver, NetTrouble> {
    let bad = |message: String| trouble(TroubleKind::Question, message);
    let mut builder = match &question.server {
        Some(server) => {
            let address = tcp::address(server, 53)
                .ok_or_else(|| bad(format!("{server} is not an address of a DNS server")))?;
            let mut config = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut config.connections {
                connection.port = address.port();
            }
            let servers = ResolverConfig::from_name_servers(vec![config]);
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        }
        None => TokioResolver::builder_tokio()
            .map_err(|error| bad(format!("the system's DNS servers are not known: {error}")))?,
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    // A lost packet is asked for again, and some time is left to find out why nobody answers.
    options.attempts = 1;
    options.timeout = (question.timeout.0 / 3).max(std::time::Duration::from_millis(50));
    builder
        .build()
        .map_err(|error| bad(format!("no DNS client could be made: {error}")))
}

fn record_type(record: DnsRecord) -> RecordType {
    match record {
        DnsRecord::A => RecordType::A,
        DnsRecord::Aaaa => RecordType::AAAA,
        DnsRecord::Cname => RecordType::CNAME,
        DnsRecord::Txt => RecordType::TXT,
        DnsRecord::Ptr => RecordType::PTR,
    }
}

/// A record of the asked type as text.
fn text(data: &RData, asked: DnsRecord) -> Option<String> {
    let bare = |name: &Name| name.to_utf8().trim_end_matches('.').to_owned();
    match (data, asked) {
        (RData::A(address), DnsRecord::A) => Some(address.to_string()),
        (RData::AAAA(address), DnsRecord::Aaaa) => Some(address.to_string()),
        (RData::CNAME(name), DnsRecord::Cname) => Some(bare(name)),
        (RData::PTR(name), DnsRecord::Ptr) => Some(bare(name)),
        (RData::TXT(text), DnsRecord::Txt) => {
            let parts = text.txt_data.iter();
            Some(parts.map(|part| String::from_utf8_lossy(part)).collect())
        }
        _ => None,
    }
}

/// As `dig` writes them.
fn code(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => other.to_str().to_owned(),
    }
}
