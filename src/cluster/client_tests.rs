//! Real requests to servers of a few lines that can be taken ill.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cluster::Change;
use crate::cluster::connect::Pin;
use crate::cluster::retry::{LOOKING, retrying};
use crate::cluster::way::{NoWay, Opened, Way};

/// A server of HTTP that answers everything with one status and text, and `/readyz` with another status.
struct Server {
    address: SocketAddr,
    ready: AtomicU16,
    status: AtomicU16,
    body: Mutex<String>,
    /// Paths, but for `/readyz`.
    asked: Mutex<Vec<String>>,
    /// What a watch is told, in these pieces.
    tells: Mutex<Vec<String>>,
    /// The connection breaks after that.
    breaks: AtomicBool,
}

impl Server {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            ready: AtomicU16::new(200),
            status: AtomicU16::new(200),
            body: Mutex::new("{}".to_owned()),
            asked: Mutex::default(),
            tells: Mutex::default(),
            breaks: AtomicBool::new(false),
        });
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut said = Vec::new();
        while stream.read_buf(&mut said).await.is_ok_and(|read| read > 0) {
            let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8(said.drain(..end + 4).collect()).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let (status, body) = match path == "/readyz" {
                true => (&self.ready, "ok".to_owned()),
                false => (&self.status, self.body.lock().unwrap().clone()),
            };
            let watch = path.contains("watch=true");
            if path != "/readyz" {
                self.asked.lock().unwrap().push(path);
            }
            let status = status.load(Ordering::Relaxed);
            if watch && status == 200 {
                self.tell(&mut stream).await;
                if self.breaks.load(Ordering::Relaxed) {
                    return;
                }
                continue;
            }
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    }

    async fn tell(&self, stream: &mut TcpStream) {
        let mut pieces = self.tells.lock().unwrap().clone();
        if !self.breaks.load(Ordering::Relaxed) {
            pieces.push(String::new());
        }
        let head = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.ok();
        for piece in pieces {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(chunk.as_bytes()).await.ok();
            stream.flush().await.ok();
        }
    }

    fn says(&self, ready: u16, status: u16, body: &str) {
        self.ready.store(ready, Ordering::Relaxed);
        self.status.store(status, Ordering::Relaxed);
        *self.body.lock().unwrap() = body.to_owned();
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Way for Arc<Server> {
    fn name(&self) -> String {
        self.address.to_string()
    }

    fn open(&self) -> BoxFuture<'_, Result<Opened, NoWay>> {
        let address = self.address;
        Box::pin(async move {
            Ok(Opened {
                config: kube::Config::new(format!("http://{address}").parse().unwrap()),
                ca: None,
                until: None,
                renewal: String::new(),
                dial: Arc::new(move || {
                    Box::pin(async move {
                        let stream = TcpStream::connect(address).await;
                        let stream = stream.map_err(|error| error.to_string())?;
                        Ok(Box::new(stream) as Box<dyn crate::transport::Stream>)
                    })
                }),
            })
        })
    }
}

async fn three() -> (Vec<Arc<Server>>, KubeCluster) {
    let servers = vec![
        Server::start().await,
        Server::start().await,
        Server::start().await,
    ];
    let ways = servers.iter().cloned();
    let ways = ways
        .map(|server| Arc::new(server) as Arc<dyn Way>)
        .collect();
    (
        servers,
        KubeCluster::new(Connector::of(ways, Pin::default())),
    )
}

async fn get(cluster: &KubeCluster) -> Result<Value, ApiError> {
    cluster.get_json("/x".to_owned(), JSON).await
}

#[tokio::test]
async fn a_server_in_trouble_is_left_for_one_that_is_well() {
    let (servers, cluster) = three().await;
    assert_eq!(get(&cluster).await, Ok(json!({})));
    for status in [500, 503, 504] {
        let answered: Vec<usize> = servers.iter().map(|server| server.asked()).collect();
        // Whichever is in use by now falls ill, and the next one is not ready either.
        let sick = answered.iter().position(|asked| *asked > 0).unwrap();
        let trouble = r#"{"message":"etcdserver: no leader"}"#;
        servers[sick].says(500, status, trouble);
        servers[(sick + 1) % 3].says(500, status, trouble);
        assert_eq!(
            retrying(LOOKING, || get(&cluster)).await,
            Ok(json!({})),
            "{status}"
        );
        assert_eq!(servers[sick].asked(), answered[sick] + 1, "{status}");
        assert_eq!(servers[(sick + 1) % 3].asked(), 0);
        assert_eq!(servers[(sick + 2) % 3].asked(), 1);
        for server in &servers {
            server.says(200, 200, "{}");
            server.asked.lock().unwrap().clear();
        }
        assert_eq!(get(&cluster).await, Ok(json!({})));
    }
}

#[tokio::test]
async fn a_server_whose_webhooks_do_not_answer_or_that_is_asked_wrongly_is_kept() {
    let (servers, cluster) = three().await;
    for (message, kind) in [
        (
            "failed calling webhook \"w.example.org\"",
            ApiErrorKind::Webhook,
        ),
        (
            "failed to create typed patch object (a): .x: field not declared in schema",
            ApiErrorKind::Schema,
        ),
    ] {
        let body = json!({ "message": message }).to_string();
        servers[0].says(200, 500, &body);
        let error = get(&cluster).await.unwrap_err();
        assert_eq!(error.kind, kind);
    }
    assert_eq!(servers[0].asked(), 2);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_once_and_told_with_its_size() {
    let (servers, mut cluster) = three().await;
    cluster.longest = 1000;
    for server in &servers {
        server.says(200, 200, &json!("x".repeat(4998)).to_string());
    }
    let error = get(&cluster).await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Rejected);
    assert_eq!(
        error.message,
        "the answer to GET /x has 5000 bytes, and no more than 1000 are read"
    );
    let asked: usize = servers.iter().map(|server| server.asked()).sum();
    assert_eq!(asked, 1);
}

fn maps() -> ApiResource {
    ApiResource {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
        namespaced: true,
    }
}

const ONE: Choice<'static> = Choice {
    namespace: Some("n"),
    name: Some("a b"),
};

fn event(kind: &str, object: Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

/// What a watch tells until it is over or broken, where the first server tells this.
async fn watched(
    cluster: &KubeCluster,
    server: &Server,
    pieces: &[&str],
    breaks: bool,
) -> (Vec<Change>, Result<(), ApiError>) {
    *server.tells.lock().unwrap() = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    server.breaks.store(breaks, Ordering::Relaxed);
    let maps = maps();
    let mut changes = Vec::new();
    let mut watch = match cluster.watch(&maps, ONE, "7").await {
        Ok(watch) => watch,
        Err(error) => return (changes, Err(error)),
    };
    loop {
        match watch.next().await {
            Ok(Some(change)) => changes.push(change),
            Ok(None) => return (changes, Ok(())),
            Err(error) => return (changes, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_watch_is_read_event_by_event_however_its_bytes_come() {
    let (servers, cluster) = three().await;
    let one = json!({ "kind": "ConfigMap", "n": "ä\n1" });
    let text = event("ADDED", one.clone())
        + &event("BOOKMARK", json!({}))
        + &event("DELETED", one.clone());
    let half = text.len() / 3;
    for pieces in [
        vec![text.as_str()],
        vec![&text[..half], &text[half..]],
        text.char_indices()
            .map(|(at, c)| &text[at..at + c.len_utf8()])
            .collect(),
    ] {
        let (changes, end) = watched(&cluster, &servers[0], &pieces, false).await;
        assert_eq!(
            changes,
            [Change::Set(one.clone()), Change::Gone(one.clone())]
        );
        assert_eq!(end, Ok(()));
    }
    assert_eq!(
        servers[0].asked.lock().unwrap()[0],
        "/api/v1/namespaces/n/configmaps?watch=true&resourceVersion=7&timeoutSeconds=60\
         &allowWatchBookmarks=true&fieldSelector=metadata.name%3Da%20b"
    );
    assert_eq!(servers[0].asked(), 3);
}

#[tokio::test]
async fn a_watch_that_breaks_says_so_and_the_next_server_is_asked_from_then_on() {
    let one = event("ADDED", json!({ "n": 1 }));
    // Between events, in the middle of one, and where the body itself ends there.
    for (pieces, breaks) in [
        (vec![one.as_str()], true),
        (vec![one.as_str(), &one[..9]], true),
        (vec![one.as_str(), &one[..9]], false),
    ] {
        let (servers, cluster) = three().await;
        let (changes, end) = watched(&cluster, &servers[0], &pieces, breaks).await;
        assert_eq!(changes.len(), 1);
        let error = end.unwrap_err();
        assert_eq!(error.kind, ApiErrorKind::Unreachable, "{error}");
        assert!(error.message.contains("a watch was cut"), "{error}");
        assert_eq!(servers[1].asked(), 0);
        servers[1].says(
            200,
            200,
            r#"{"items":[],"metadata":{"resourceVersion":"9"}}"#,
        );
        let maps = maps();
        assert_eq!(cluster.list(&maps, ONE).await.unwrap().version, "9");
        let asked = servers[1].asked.lock().unwrap().clone();
        assert_eq!(
            asked,
            ["/api/v1/namespaces/n/configmaps?fieldSelector=metadata.name%3Da%20b"]
        );
    }
}

#[tokio::test]
async fn a_version_that_is_too_old_is_no_error_and_trouble_of_the_server_is() {
    let (servers, cluster) = three().await;
    let status = |code: u16, message: &str| {
        event(
            "ERROR",
            json!({ "kind": "Status", "code": code, "message": message }),
        )
    };
    let old = status(410, "too old resource version: 7 (9)");
    let (changes, end) = watched(&cluster, &servers[0], &[&old], false).await;
    assert_eq!((changes.len(), end), (0, Ok(())));
    servers[0].says(200, 410, r#"{"message":"too old resource version"}"#);
    let (changes, end) = watched(&cluster, &servers[0], &[], false).await;
    assert_eq!((changes.len(), end), (0, Ok(())));
    servers[0].says(
        200,
        403,
        r#"{"message":"u cannot watch resource configmaps"}"#,
    );
    let (_, end) = watched(&cluster, &servers[0], &[], false).await;
    assert_eq!(end.unwrap_err().kind, ApiErrorKind::Denied);
    servers[0].says(200, 200, "{}");
    assert_eq!(servers[1].asked(), 0, "it is as good as any so far");

    let trouble = status(500, "etcdserver: no leader");
    let (_, end) = watched(&cluster, &servers[0], &[&trouble], false).await;
    assert_eq!(end.unwrap_err().kind, ApiErrorKind::Server);
    assert_eq!(get(&cluster).await, Ok(json!({})));
    assert_eq!(servers[1].asked(), 1);
}

#[tokio::test]
async fn an_event_that_is_too_long_is_not_read_to_its_end() {
    let (servers, mut cluster) = three().await;
    cluster.longest = 1000;
    let short = event("ADDED", json!("x".repeat(900)));
    let (changes, end) = watched(&cluster, &servers[0], &[&short, &short], false).await;
    assert_eq!(
        (changes.len(), end),
        (2, Ok(())),
        "together they may be longer"
    );
    let long = "x".repeat(600);
    let (_, end) = watched(&cluster, &servers[0], &[&short, &long, &long], false).await;
    let error = end.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Rejected);
    assert_eq!(
        error.message,
        "an event of a watch has more than 1000 bytes"
    );
}
