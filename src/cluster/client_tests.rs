//! Real requests to servers of a few lines that can be taken ill.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
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
            if path != "/readyz" {
                self.asked.lock().unwrap().push(path);
            }
            let status = status.load(Ordering::Relaxed);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.ok();
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
