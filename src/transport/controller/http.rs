//! Asking HTTP servers. Of a body at most 1 MiB is read, and nothing of it is kept but the answers to what was asked.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the CA file that a question names"
)]

use std::error::Error as StdError;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy, Response, Url};
use rustls::CertificateError;
use sha2::{Digest as _, Sha256};

use super::{io_trouble, tcp, trouble};
use crate::facts::fact::{HttpQuestion, HttpReply, NetTrouble, TroubleKind, Trust};
use crate::model::outcome::causes;
use crate::transport::actions::hex;

/// How much of a body is read.
const BODY_BYTES: usize = 1 << 20;

/// Sends the request and looks at the answer.
pub(super) async fn ask(question: &HttpQuestion) -> Result<HttpReply, NetTrouble> {
    let bad = |message: String| trouble(TroubleKind::Question, message);
    let url: Url = question
        .url
        .parse()
        .map_err(|error| bad(format!("{} is not a URL: {error}", question.url)))?;
    let matches = question
        .matches
        .as_ref()
        .map(|text| regex_lite::Regex::new(text))
        .transpose()
        .map_err(|error| bad(format!("`matches` is no regular expression: {error}")))?;
    let client = client(question, &url).await?;
    let response = client
        .get(url.clone())
        .send()
        .await
        .map_err(|error| in_words(&error, &url))?;
    let mut reply = head(&response, question, &url);
    let (body, truncated) = body(response, &url).await?;
    reply.size = body.len() as u64;
    reply.truncated = truncated;
    reply.sha256 = hex(&Sha256::digest(&body));
    let text = String::from_utf8_lossy(&body);
    reply.contains = question.contains.as_ref().map(|part| text.contains(part));
    reply.matches = matches.map(|regex| regex.is_match(&text));
    Ok(reply)
}

async fn client(question: &HttpQuestion, url: &Url) -> Result<Client, NetTrouble> {
    use_ring();
    let bad = |message: String| trouble(TroubleKind::Question, message);
    let mut builder = Client::builder()
        .user_agent(concat!("hmco-boot/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(0)
        .redirect(redirects(question.redirects as usize));
    builder = match &question.proxy {
        Some(proxy) => builder.proxy(
            Proxy::all(proxy).map_err(|error| bad(format!("{proxy} is no proxy: {error}")))?,
        ),
        None => builder.no_proxy(),
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    if let Some(text) = &question.address {
        let address =
            tcp::address(text, port).ok_or_else(|| bad(format!("{text} is not an address")))?;
        builder = builder.resolve(host, address);
    } else if question.proxy.is_none() && url.domain().is_some() {
        // Asked here, so that a name that does not resolve is told as that.
        builder = builder.resolve_to_addrs(host, &tcp::resolve(host, port).await?);
    }
    let roots = |pem: &[u8]| {
        Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| bad("the CA holds no certificate in PEM".to_owned()))
    };
    builder = match &question.trust {
        Trust::System => builder,
        Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        Trust::Ca(pem) => builder.tls_certs_only(roots(pem.as_bytes())?),
        Trust::CaFile(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| bad(format!("the CA file {path} cannot be read: {error}")))?;
            builder.tls_certs_only(roots(&pem)?)
        }
    };
    builder
        .build()
        .map_err(|error| bad(format!("no HTTP client could be made: {}", causes(&error))))
}

/// Follows so many redirects, and none that leaves TLS: what answers without it is proven by nothing. Such a redirect is the
/// answer.
fn redirects(most: usize) -> Policy {
    Policy::custom(move |attempt| {
        let before = attempt.previous();
        let leaves_tls =
            attempt.url().scheme() != "https" && before.iter().any(|url| url.scheme() == "https");
        if most == 0 || leaves_tls {
            attempt.stop()
        } else if before.len() > most {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

/// reqwest takes the process' provider of cryptography; where nobody has set one, it is ring.
fn use_ring() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
    {
        tracing::debug!("another thread has set the provider of cryptography");
    }
}

fn head(response: &Response, question: &HttpQuestion, url: &Url) -> HttpReply {
    let headers = response.headers();
    let wanted = question
        .headers
        .iter()
        .map(|name| name.to_ascii_lowercase());
    let found = wanted.filter_map(|name| Some((name.clone(), header(headers, &name)?)));
    HttpReply {
        status: response.status().as_u16(),
        url: match response.url() == url {
            true => question.url.clone(),
            false => response.url().to_string(),
        },
        location: header(headers, LOCATION.as_str()),
        headers: found.collect(),
        ..HttpReply::default()
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The body up to its limit, and whether there was more.
async fn body(mut response: Response, url: &Url) -> Result<(Vec<u8>, bool), NetTrouble> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| in_words(&error, url))?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_BYTES {
            bytes.truncate(BODY_BYTES);
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// What went wrong, by the innermost error that says something of its own.
fn in_words(error: &reqwest::Error, url: &Url) -> NetTrouble {
    let port = url.port_or_known_default().unwrap_or(80);
    let whom = format!("{}:{port}", url.host_str().unwrap_or_default());
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return trouble(TroubleKind::Tls, format!("{whom}: {}", tls_words(tls)));
        }
        cause = match inner.downcast_ref::<std::io::Error>() {
            // What an error of the system wraps is not what it calls its source.
            Some(io) => match io.get_ref() {
                Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
                None => return io_trouble(io, &whom),
            },
            None => inner.source(),
        };
    }
    if error.is_timeout() {
        return trouble(TroubleKind::TimedOut, format!("{whom} does not answer"));
    }
    if error.is_redirect() {
        return trouble(TroubleKind::Protocol, format!("{whom}: too many redirects"));
    }
    trouble(TroubleKind::Protocol, format!("{whom}: {}", causes(error)))
}

fn tls_words(error: &rustls::Error) -> String {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => {
                "its certificate is not issued by a CA that is trusted here".to_owned()
            }
            Bad::BadSignature => {
                "its certificate is signed by another CA of the name of one that is trusted here"
                    .to_owned()
            }
            Bad::Expired | Bad::ExpiredContext { .. } => {
                format!("its certificate has expired: {bad}")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                format!("its certificate is not valid yet (is this clock right?): {bad}")
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                format!("its certificate is for other names: {bad}")
            }
            other => format!("its certificate is not accepted: {other}"),
        },
        rustls::Error::InvalidMessage(_) => format!("it does not speak TLS: {error}"),
        other => format!("TLS: {other}"),
    }
}
