//! HTTP and TLS.

use hmco_boot::facts::fact::{
    Fact, FactValue, HttpQuestion, HttpReply, NetAnswer, TroubleKind, Trust,
};
use sha2::{Digest as _, Sha256};

use crate::servers::{answered, ask, span, trouble};
use crate::web::{page, plain, tls, tls_with};

fn question(url: &str) -> HttpQuestion {
    HttpQuestion {
        url: url.to_owned(),
        address: None,
        trust: Trust::System,
        redirects: 0,
        proxy: None,
        timeout: span(5_000),
        contains: None,
        matches: None,
        headers: Vec::new(),
    }
}

async fn get(question: HttpQuestion) -> NetAnswer<HttpReply> {
    match ask(Fact::Http(question)).await {
        FactValue::Http(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_an_answer_only_what_was_asked_is_kept() {
    let address = plain(|head| {
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
        page(
            "404 Not Found",
            "X-One: 1\r\nX-One: 2\r\nX-Two: 2\r\n",
            b"page not found\n",
        )
    })
    .await;
    let reply = answered(
        get(HttpQuestion {
            contains: Some("not".to_owned()),
            matches: Some("^page [a-z]+ found\n$".to_owned()),
            headers: vec!["X-One".to_owned(), "x-none".to_owned()],
            ..question(&format!("http://{address}/a?b=c"))
        })
        .await,
    );
    let digest = Sha256::digest(b"page not found\n");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        reply,
        HttpReply {
            status: 404,
            url: format!("http://{address}/a?b=c"),
            location: None,
            headers: [("x-one".to_owned(), "1, 2".to_owned())].into(),
            size: 15,
            truncated: false,
            sha256: digest,
            contains: Some(true),
            matches: Some(true),
        }
    );
}

#[tokio::test]
async fn a_long_body_is_read_up_to_a_mebibyte() {
    let address = plain(|_| {
        let mut body = vec![b'x'; 1 << 20];
        body.extend_from_slice(b"needle");
        page("200 OK", "", &body)
    })
    .await;
    let reply = answered(
        get(HttpQuestion {
            contains: Some("needle".to_owned()),
            ..question(&format!("http://{address}/"))
        })
        .await,
    );
    assert_eq!((reply.size, reply.truncated), (1 << 20, true));
    assert_eq!(reply.contains, Some(false));
}

#[tokio::test]
async fn a_redirect_is_an_answer_unless_it_is_to_be_followed() {
    let address = plain(|head| match head.contains("GET /old ") {
        true => page("302 Found", "Location: /new\r\n", b""),
        false => page("200 OK", "", b"new"),
    })
    .await;
    let url = format!("http://{address}/old");
    let reply = answered(get(question(&url)).await);
    assert_eq!(
        (reply.status, reply.location.as_deref()),
        (302, Some("/new"))
    );
    let followed = HttpQuestion {
        redirects: 1,
        contains: Some("new".to_owned()),
        ..question(&url)
    };
    let reply = answered(get(followed).await);
    assert_eq!((reply.status, reply.contains), (200, Some(true)));
    assert_eq!(reply.url, format!("http://{address}/new"));
    let round = plain(|_| page("302 Found", "Location: /\r\n", b"")).await;
    let endless = HttpQuestion {
        redirects: 3,
        ..question(&format!("http://{round}/"))
    };
    let told = trouble(get(endless).await);
    assert_eq!(told.kind, TroubleKind::Protocol);
    assert!(told.message.contains("too many redirects"), "{told:?}");
}

#[tokio::test]
async fn the_name_stays_in_the_request_where_the_address_is_given() {
    let address = plain(|head| page("200 OK", "", head.as_bytes())).await;
    let reply = answered(
        get(HttpQuestion {
            address: Some(address.to_string()),
            matches: Some("(?i)host: app\\.lab\\.invalid\r\n".to_owned()),
            ..question("http://app.lab.invalid/")
        })
        .await,
    );
    assert_eq!(reply.matches, Some(true));
}

#[tokio::test]
async fn the_environments_proxies_are_not_used_and_a_named_one_is() {
    let proxy = plain(|head| page("200 OK", "", format!("proxied: {head}").as_bytes())).await;
    let reply = answered(
        get(HttpQuestion {
            proxy: Some(format!("http://{proxy}")),
            contains: Some("proxied: GET http://app.lab.invalid/x HTTP/1.1".to_owned()),
            ..question("http://app.lab.invalid/x")
        })
        .await,
    );
    assert_eq!(reply.contains, Some(true));
}

#[tokio::test]
async fn each_way_of_not_answering_is_told_apart() {
    let gone = plain(|_| None).await;
    // Connections are taken by the kernel, and nobody ever reads from them.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // Its listener ends with its runtime; this one is closed now.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let nonsense = plain(|_| Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    let hangs_up = plain(|_| Some(Vec::new())).await;
    let short = plain(|_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec())).await;
    let cases = [
        (
            format!("http://{closed}/"),
            TroubleKind::Refused,
            "refused the connection",
        ),
        (
            format!("http://{gone}/"),
            TroubleKind::TimedOut,
            "no answer within 300ms",
        ),
        (
            "http://no.such.name.invalid/".to_owned(),
            TroubleKind::Name,
            "no.such.name.invalid cannot be resolved",
        ),
        (format!("http://{nonsense}/"), TroubleKind::Protocol, ""),
        (format!("http://{hangs_up}/"), TroubleKind::Protocol, ""),
        (format!("http://{short}/"), TroubleKind::Protocol, ""),
        (
            format!("https://{}/", mute.local_addr().unwrap()),
            TroubleKind::TimedOut,
            "no answer within 300ms",
        ),
        (
            "http://[::1/".to_owned(),
            TroubleKind::Question,
            "is not a URL",
        ),
    ];
    for (url, kind, words) in cases {
        let limit = if kind == TroubleKind::TimedOut {
            300
        } else {
            20_000
        };
        let told = trouble(
            get(HttpQuestion {
                timeout: span(limit),
                ..question(&url)
            })
            .await,
        );
        assert_eq!(told.kind, kind, "{url}: {told:?}");
        assert!(told.message.contains(words), "{url}: {told:?}");
    }
}

#[tokio::test]
async fn certificates_are_trusted_by_what_was_named_only() {
    let fine = tls("app.lab.invalid", (2020, 2120)).await;
    let old = tls("app.lab.invalid", (2010, 2011)).await;
    let early = tls("app.lab.invalid", (2119, 2120)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &fine.ca).unwrap();
    let ca_file = |path: &std::path::Path| Trust::CaFile(path.to_str().unwrap().to_owned());
    let other_ca = tls("other.invalid", (2020, 2120)).await.ca;
    let ask = |server: &crate::web::Tls, host: &str, trust: Trust| HttpQuestion {
        address: Some(server.address.to_string()),
        trust,
        contains: Some("GET / HTTP/1.1".to_owned()),
        ..question(&format!("https://{host}/"))
    };
    let name = "app.lab.invalid";
    for trust in [ca_file(&file), Trust::Ca(fine.ca.clone()), Trust::Anything] {
        let reply = answered(get(ask(&fine, name, trust)).await);
        assert_eq!((reply.status, reply.contains), (200, Some(true)));
    }
    answered(get(ask(&fine, "another.invalid", Trust::Anything)).await);
    let bad = [
        (
            ask(&fine, name, Trust::System),
            "not issued by a CA that is trusted here",
        ),
        (
            ask(&fine, name, Trust::Ca(other_ca)),
            "not issued by a CA that is trusted here",
        ),
        (
            ask(&fine, "another.invalid", Trust::Ca(fine.ca.clone())),
            "for other names",
        ),
        (ask(&old, name, Trust::Ca(old.ca.clone())), "has expired"),
        (
            ask(&early, name, Trust::Ca(early.ca.clone())),
            "not valid yet",
        ),
    ];
    for (question, words) in bad {
        let told = trouble(get(question).await);
        assert_eq!(told.kind, TroubleKind::Tls, "{told:?}");
        assert!(told.message.contains(words), "{words}: {told:?}");
    }
    let plain = plain(|_| page("200 OK", "", b"")).await;
    let told = trouble(get(question(&format!("https://{plain}/"))).await);
    assert_eq!(told.kind, TroubleKind::Tls, "{told:?}");
    for (trust, words) in [
        (ca_file(&folder.path().join("none.pem")), "cannot be read"),
        (Trust::Ca("nothing".to_owned()), "no certificate in PEM"),
    ] {
        let told = trouble(get(ask(&fine, name, trust)).await);
        assert_eq!(told.kind, TroubleKind::Question, "{told:?}");
        assert!(told.message.contains(words), "{told:?}");
    }
}

#[tokio::test]
async fn a_redirect_that_leaves_tls_is_not_followed() {
    let address = plain(|_| page("200 OK", "", b"anybody")).await;
    let location = format!("Location: http://{address}/\r\n");
    let redirect = move |_: &str| page("302 Found", &location, b"");
    let secure = tls_with("app.lab.invalid", (2020, 2120), redirect).await;
    let reply = answered(
        get(HttpQuestion {
            redirects: 5,
            address: Some(secure.address.to_string()),
            trust: Trust::Ca(secure.ca.clone()),
            ..question("https://app.lab.invalid/")
        })
        .await,
    );
    assert_eq!(
        reply.status, 302,
        "what answers without TLS is proven by nothing"
    );
    assert_eq!(reply.location, Some(format!("http://{address}/")));
}
