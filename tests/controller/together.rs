//! Several questions at once, and those that are the machine's.

use std::time::{Duration, Instant};

use hmco_boot::facts::fact::{
    Fact, FactError, FactValue, HttpQuestion, NetAnswer, TcpQuestion, TroubleKind, Trust,
};
use hmco_boot::transport::Host as _;

use crate::servers::{answered, ask, controller, span, trouble};
use crate::web::plain;

async fn connect(host: &str, port: u16) -> NetAnswer<String> {
    let question = TcpQuestion {
        host: host.to_owned(),
        port,
        timeout: span(10_000),
    };
    match ask(Fact::Tcp(question)).await {
        FactValue::Tcp(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_is_an_answer_by_name_and_by_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let here = format!("127.0.0.1:{port}");
    assert_eq!(answered(connect("127.0.0.1", port).await), here);
    assert_eq!(answered(connect("localhost", port).await), here);
    drop(listener);
    let told = trouble(connect("127.0.0.1", port).await);
    assert_eq!(told.kind, TroubleKind::Refused);
    assert_eq!(told.message, format!("{here} refused the connection"));
    let told = trouble(connect("no.such.name.invalid", 1).await);
    assert_eq!(told.kind, TroubleKind::Name);
}

#[tokio::test]
async fn all_questions_are_asked_at_once_and_each_has_its_own_limit() {
    let silent = plain(|_| None).await;
    let slow = |n: u64| {
        Fact::Http(HttpQuestion {
            url: format!("http://{silent}/{n}"),
            address: None,
            trust: Trust::System,
            redirects: 0,
            proxy: None,
            timeout: span(700 + n),
            contains: None,
            matches: None,
            headers: Vec::new(),
        })
    };
    let mut facts: Vec<Fact> = (0..40).map(slow).collect();
    facts.insert(20, Fact::Os);
    let began = Instant::now();
    let answers = controller().read(&facts).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "one after the other takes 28 s"
    );
    let order: Vec<&Fact> = answers.iter().map(|(fact, _)| fact).collect();
    assert_eq!(order, facts.iter().collect::<Vec<_>>());
    for (fact, answer) in &answers {
        match (fact, answer) {
            (Fact::Os, Ok(FactValue::Os(_))) => {}
            (Fact::Http(_), Ok(FactValue::Http(NetAnswer::Trouble(told)))) => {
                assert_eq!(told.kind, TroubleKind::TimedOut);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_is_asked_for_a_service_says_that_it_is_not_its_question() {
    use hmco_boot::transport::local::LocalHost;
    use hmco_boot::transport::machine::Settings;
    let fact = Fact::Tcp(TcpQuestion {
        host: "127.0.0.1".to_owned(),
        port: 1,
        timeout: span(100),
    });
    let answers = LocalHost::new(Settings::default())
        .read(&[fact])
        .await
        .unwrap();
    assert!(matches!(&answers[0].1, Err(FactError::Failed(why)) if why.contains("controller")));
}
