//! DNS.

use std::net::SocketAddr;

use hmco_boot::facts::fact::{
    DnsQuestion, DnsRecord, DnsReply, Fact, FactValue, NetAnswer, TroubleKind,
};

use crate::names::{Zone, a, name, server, txt};
use crate::servers::{answered, ask, span, trouble};

async fn look_up(
    server: SocketAddr,
    name: &str,
    record: DnsRecord,
    ms: u64,
) -> NetAnswer<DnsReply> {
    let question = DnsQuestion {
        name: name.to_owned(),
        record,
        server: Some(server.to_string()),
        timeout: span(ms),
    };
    match ask(Fact::Dns(question)).await {
        FactValue::Dns(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn records_of_all_types_are_given_as_zone_files_write_them() {
    let server = server(|asked, kind| match (asked, kind) {
        ("app.lab.test", 1) => Zone::Records(vec![a("192.0.2.9"), a("192.0.2.1")]),
        ("app.lab.test", 28) => {
            let address: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
            Zone::Records(vec![(28, address.octets().to_vec())])
        }
        ("www.lab.test", 5) => Zone::Records(vec![(5, name("App.lab.test"))]),
        ("lab.test", 16) => Zone::Records(vec![txt(&["v=spf1 ", "-all"]), txt(&["x"])]),
        ("1.2.0.192.in-addr.arpa", 12) => Zone::Records(vec![(12, name("app.lab.test"))]),
        ("big.lab.test", 1) => Zone::Long((1..=60).map(|n| a(&format!("192.0.2.{n}"))).collect()),
        other => panic!("{other:?}"),
    })
    .await;
    let cases: [(&str, DnsRecord, &[&str]); 6] = [
        ("app.lab.test", DnsRecord::A, &["192.0.2.1", "192.0.2.9"]),
        ("app.lab.test.", DnsRecord::Aaaa, &["2001:db8::1"]),
        ("www.lab.test", DnsRecord::Cname, &["App.lab.test"]),
        ("lab.test", DnsRecord::Txt, &["v=spf1 -all", "x"]),
        ("192.0.2.1", DnsRecord::Ptr, &["app.lab.test"]),
        ("1.2.0.192.in-addr.arpa", DnsRecord::Ptr, &["app.lab.test"]),
    ];
    for (asked, record, wanted) in cases {
        let reply = answered(look_up(server, asked, record, 10_000).await);
        assert_eq!(reply.code, "NOERROR");
        assert_eq!(reply.records, wanted, "{asked}");
    }
    let reply = answered(look_up(server, "big.lab.test", DnsRecord::A, 10_000).await);
    assert_eq!(
        reply.records.len(),
        60,
        "what is cut off is asked for by TCP"
    );
}

#[tokio::test]
async fn no_such_name_no_such_record_and_cannot_tell_are_three_answers() {
    let server = server(|asked, _| match asked {
        "none.lab.test" => Zone::Code(3),
        "empty.lab.test" => Zone::Records(Vec::new()),
        "broken.lab.test" => Zone::Code(2),
        "refused.lab.test" => Zone::Code(5),
        other => panic!("{other}"),
    })
    .await;
    for (asked, code) in [
        ("none.lab.test", "NXDOMAIN"),
        ("empty.lab.test", "NOERROR"),
        ("broken.lab.test", "SERVFAIL"),
        ("refused.lab.test", "REFUSED"),
    ] {
        let reply = answered(look_up(server, asked, DnsRecord::A, 10_000).await);
        assert_eq!(
            (reply.code.as_str(), reply.records.len()),
            (code, 0),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_silent_or_not_there_is_trouble_and_no_answer() {
    let silent = server(|_, _| Zone::Silence).await;
    let told = trouble(look_up(silent, "app.lab.test", DnsRecord::A, 400).await);
    assert_eq!(told.kind, TroubleKind::TimedOut, "{told:?}");
    let closed = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let told = trouble(look_up(closed, "app.lab.test", DnsRecord::A, 1_500).await);
    assert_eq!(told.kind, TroubleKind::Refused, "{told:?}");
}

#[tokio::test]
async fn every_look_asks_the_server_anew() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU8::new(0));
    let counter = count.clone();
    let server = server(move |_, _| {
        let n = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Zone::Records(vec![a(&format!("192.0.2.{n}"))])
    })
    .await;
    for n in 0..3 {
        let reply = answered(look_up(server, "app.lab.test", DnsRecord::A, 10_000).await);
        assert_eq!(reply.records, [format!("192.0.2.{n}")]);
    }
}
