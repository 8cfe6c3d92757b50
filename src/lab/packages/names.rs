//! Answers to nodes' questions for names (DNS over UDP): the lab's own names are answered here, others are handed to
//! this machine's resolver as they are. So names resolve as on a real network, though nothing behind them is reachable.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long the resolver may take: less than a node waits (5 s).
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);

/// Largest question or answer; what is longer would go over TCP.
const MAX: usize = 4096;

// Bits of the third byte of a message (and the first of the fourth: recursion is to be had).
/// It is an answer.
const ANSWER: u8 = 0x80;
/// The server is sure of it.
const SURE: u8 = 0x04;
/// Recursion was asked for.
const RECURSE: u8 = 0x01;

/// The resolver of this machine.
pub fn upstream(resolv_conf: &str) -> Option<SocketAddr> {
    let servers = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let mut servers = servers.filter_map(|address| address.trim().parse::<IpAddr>().ok());
    servers
        .next()
        .map(|address| SocketAddr::from((address, 53)))
}

/// Answers until the process ends.
pub async fn serve(
    socket: Arc<UdpSocket>,
    hosts: Vec<(String, Ipv4Addr)>,
    resolver: Option<SocketAddr>,
) {
    let hosts = Arc::new(hosts);
    let mut buffer = vec![0; MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // As an error that an earlier answer met; the next question is another one's.
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        let (socket, hosts) = (Arc::clone(&socket), Arc::clone(&hosts));
        tokio::spawn(async move {
            let answer = match own(&question, &hosts) {
                Some(answer) => Some(answer),
                None => match relay(&question, resolver).await {
                    Some(answer) => Some(answer),
                    None => failed(&question),
                },
            };
            if let Some(answer) = answer {
                socket.send_to(&answer, from).await.ok();
            }
        });
    }
}

async fn relay(question: &[u8], resolver: Option<SocketAddr>) -> Option<Vec<u8>> {
    let resolver = resolver?;
    let any: IpAddr = if resolver.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(resolver).await.ok()?;
    socket.send(question).await.ok()?;
    let mut answer = vec![0; MAX];
    let read = timeout(ANSWERS_WITHIN, socket.recv(&mut answer)).await;
    answer.truncate(read.ok()?.ok()?);
    // The answer to this very question: same id.
    (answer.get(..2) == question.get(..2)).then_some(answer)
}

/// An answer for one of the lab's own names, where the question is for one: RFC 1035, 4.1.
fn own(question: &[u8], hosts: &[(String, Ipv4Addr)]) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(question)?;
    let (_, address) = hosts.iter().find(|(host, _)| *host == name)?;
    let mut answer = question.get(..end)?.to_vec();
    *answer.get_mut(2)? = (question.get(2)? & RECURSE) | ANSWER | SURE;
    *answer.get_mut(3)? = ANSWER;
    // Only type A (1), or any (255), has something to say; a name without an address of another type has none.
    let has = matches!(kind, 1 | 255);
    for (place, count) in [(6, u8::from(has)), (8, 0), (10, 0)] {
        *answer.get_mut(place)? = 0;
        *answer.get_mut(place + 1)? = count;
    }
    if has {
        // The name as in the question, type A, class IN, valid for no time, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// "I cannot tell" (SERVFAIL), so that nobody waits.
fn failed(question: &[u8]) -> Option<Vec<u8>> {
    let (_, _, end) = asked(question)?;
    let mut answer = question.get(..end)?.to_vec();
    *answer.get_mut(2)? = (question.get(2)? & RECURSE) | ANSWER;
    *answer.get_mut(3)? = ANSWER | 2;
    answer.get_mut(6..12)?.fill(0);
    Some(answer)
}

/// The name, the type and the end of the one question of a message.
fn asked(message: &[u8]) -> Option<(String, u16, usize)> {
    if message.get(2)? & ANSWER != 0 || message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            let kind = u16::from_be_bytes([*message.get(at + 1)?, *message.get(at + 2)?]);
            message.get(at + 4)?;
            return Some((labels.join("."), kind, at + 5));
        }
        if length > 63 {
            return None;
        }
        let label = message.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u8) -> Vec<u8> {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, kind, 0, 1]);
        message
    }

    #[test]
    fn the_labs_own_names_have_their_addresses() {
        let hosts = [("lab-1".to_owned(), Ipv4Addr::new(172, 30, 0, 11))];
        let answer = own(&question("LAB-1", 1), &hosts).unwrap();
        assert_eq!(answer[..8], [7, 9, 0x85, 0x80, 0, 1, 0, 1]);
        assert_eq!(answer[answer.len() - 6..], [0, 4, 172, 30, 0, 11]);
        let none = own(&question("lab-1", 28), &hosts).unwrap();
        assert_eq!(none[6..8], [0, 0]);
        assert_eq!(own(&question("example.org", 1), &hosts), None);
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        for bad in [
            vec![],
            vec![0; 11],
            vec![0; 40],
            vec![0xff; 60],
            question("a", 1)[..16].to_vec(),
        ] {
            assert_eq!(asked(&bad), None, "{bad:?}");
        }
        let told = failed(&question("example.org", 1)).unwrap();
        assert_eq!(told[3], 0x82);
    }

    #[test]
    fn the_first_server_of_resolv_conf_is_asked() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.53\nnameserver 10.0.0.54\n";
        assert_eq!(upstream(text), Some("10.0.0.53:53".parse().unwrap()));
        assert_eq!(upstream(""), None);
    }
}
