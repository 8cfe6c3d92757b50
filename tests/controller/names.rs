//! A DNS server by hand: it answers by a table, over UDP and TCP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// What the server does with a question.
#[derive(Clone)]
pub enum Zone {
    /// These records: type, data.
    Records(Vec<(u16, Vec<u8>)>),
    /// This response code and nothing else.
    Code(u8),
    /// No answer at all.
    Silence,
    /// Over UDP only that it is cut off; the records over TCP.
    Long(Vec<(u16, Vec<u8>)>),
}

pub type Table = Arc<dyn Fn(&str, u16) -> Zone + Send + Sync>;

pub fn a(address: &str) -> (u16, Vec<u8>) {
    (1, address.parse::<Ipv4Addr>().unwrap().octets().to_vec())
}

/// A name as DNS writes it.
pub fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

pub fn txt(parts: &[&str]) -> (u16, Vec<u8>) {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.push(u8::try_from(part.len()).unwrap());
        bytes.extend_from_slice(part.as_bytes());
    }
    (16, bytes)
}

fn respond(query: &[u8], table: &Table, tcp: bool) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).into_owned());
        at += length + 1;
    }
    let end = at + 5;
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let (code, cut, records) = match table(&labels.join("."), kind) {
        Zone::Silence => return None,
        Zone::Code(code) => (code, false, Vec::new()),
        Zone::Records(records) => (0, false, records),
        Zone::Long(records) if tcp => (0, false, records),
        Zone::Long(_) => (0, true, Vec::new()),
    };
    let mut answer = query[..2].to_vec();
    answer.extend([
        0x84 | u8::from(cut) << 1 | (query[2] & 1),
        0x80 | code,
        0,
        1,
    ]);
    answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend_from_slice(&query[12..end]);
    for (kind, data) in records {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// Starts it; gives where it listens.
pub async fn server(table: impl Fn(&str, u16) -> Zone + Send + Sync + 'static) -> SocketAddr {
    let table: Table = Arc::new(table);
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let by_udp = table.clone();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        while let Ok((length, whom)) = udp.recv_from(&mut query).await {
            if let Some(answer) = respond(&query[..length], &by_udp, false) {
                udp.send_to(&answer, whom).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let table = table.clone();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    stream.read_exact(&mut query).await.unwrap();
                    let Some(answer) = respond(&query, &table, true) else {
                        std::future::pending::<()>().await;
                        return;
                    };
                    stream
                        .write_u16(u16::try_from(answer.len()).unwrap())
                        .await
                        .unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    address
}
