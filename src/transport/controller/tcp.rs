//! Connecting by TCP, and names by the system's resolver.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use super::{io_trouble, trouble};
use crate::facts::fact::{NetTrouble, TcpQuestion, TroubleKind};

/// Connects; gives the address that was reached.
pub(super) async fn ask(question: &TcpQuestion) -> Result<String, NetTrouble> {
    let addresses = resolve(&question.host, question.port).await?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(address.to_string()),
            Err(error) => last = Some(io_trouble(&error, &address.to_string())),
        }
    }
    Err(last.unwrap_or_else(|| no_address(&question.host)))
}

/// The addresses of a name, by the system's resolver with its hosts file; an address stands for itself.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, NetTrouble> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| {
            trouble(
                TroubleKind::Name,
                format!("the name {host} cannot be resolved: {error}"),
            )
        })?
        .collect();
    match found.is_empty() {
        true => Err(no_address(host)),
        false => Ok(found),
    }
}

fn no_address(host: &str) -> NetTrouble {
    trouble(TroubleKind::Name, format!("the name {host} has no address"))
}

/// `IP` or `IP:PORT`.
pub(super) fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    text.parse()
        .ok()
        .or_else(|| Some(SocketAddr::new(bare()?, port)))
}
