//! Small HTTP servers, plain and with TLS, on tokio by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a server does with the head of a request: the whole answer, or nothing and the connection stays open.
pub type Answer = Arc<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

pub fn page(status: &str, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    Some(answer)
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            // TLS, to a server that has none.
            Ok(1) if head.is_empty() && byte[0] == 0x16 => {
                drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
                return;
            }
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    match answer(&String::from_utf8_lossy(&head)) {
        Some(bytes) => {
            // The client may have heard enough.
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
        }
        None => std::future::pending::<()>().await,
    }
}

pub async fn plain(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer: Answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    address
}

/// A CA, and a server with a certificate of it.
pub struct Tls {
    pub address: SocketAddr,
    pub ca: String,
}

/// A TLS server whose certificate is for this name; `years` from when to when it counts.
pub async fn tls(name: &str, years: (i32, i32)) -> Tls {
    tls_with(name, years, |head| page("200 OK", "", head.as_bytes())).await
}

/// The same, with answers of one's own.
pub async fn tls_with(
    name: &str,
    years: (i32, i32),
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Tls {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("CA of {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer: Answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, answer).await;
                }
            });
        }
    });
    Tls {
        address,
        ca: ca.pem(),
    }
}
