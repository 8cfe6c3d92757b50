//! Connecting by TCP, and names by the system's resolver.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{io_trouble, trouble};
use crate::facts::fact::{NetTrouble, TcpQuestion, TroubleKind};

/// Connects; gives the address that was reached.
pub(super) async fn ask(question: &TcpQuestion) -> Result<String, NetTrouble> {
    let addresses = resolve(&question.host, question.port).await?;
    first(&addresses)
        .await
        .unwrap_or_else(|| Err(no_address(&question.host)))
}

/// The first of these addresses that answers, all asked at once: one that swallows everything must not hide another.
async fn first(addresses: &[SocketAddr]) -> Option<Result<String, NetTrouble>> {
    let mut asked = JoinSet::new();
    for address in addresses.iter().copied() {
        asked.spawn(async move { (address, TcpStream::connect(address).await) });
    }
    let mut last = None;
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((address, Ok(_))) => return Some(Ok(address.to_string())),
            Ok((address, Err(error))) => last = Some(io_trouble(&error, &address.to_string())),
            Err(_) => {}
        }
    }
    last.map(Err)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener whose queue is full: what connects further is left waiting.
    async fn swallowing() -> (std::net::TcpListener, Vec<TcpStream>, SocketAddr) {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&socket, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        let limit = std::time::Duration::from_millis(300);
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(limit, TcpStream::connect(address)).await {
            held.push(stream);
        }
        (std::net::TcpListener::from(socket), held, address)
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_hide_one_that_answers() {
        let (_silent, _held, swallows) = swallowing().await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let answers = listener.local_addr().unwrap();
        let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refuses = refused.local_addr().unwrap();
        drop(refused);
        let found = first(&[swallows, refuses, answers]).await.unwrap();
        assert_eq!(found, Ok(answers.to_string()));
        let failed = first(&[refuses]).await.unwrap().unwrap_err();
        assert_eq!(failed.kind, TroubleKind::Refused);
        assert!(first(&[]).await.is_none());
    }
}
