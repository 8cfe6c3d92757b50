//! One request and its answer, whole or as it comes, over a connection that somebody made.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use kube::client::Body;
use serde_json::Value;

use super::{ApiError, ApiErrorKind};
use crate::model::outcome::causes;

/// How requests are told from those of others, in the API server's audit log too.
const AGENT: &str = concat!("hmco-boot/", env!("CARGO_PKG_VERSION"));

/// One request.
pub(super) struct Asked<'a> {
    pub method: Method,
    pub path: String,
    pub accept: &'a str,
    pub body: Option<(&'a str, Vec<u8>)>,
}

/// Status, the pause it asks for, and the whole body.
pub(super) type Answered = (StatusCode, Option<Duration>, Vec<u8>);

/// Why there is no answer.
pub(super) enum Unsent {
    /// The connection is of no use any more.
    Lost(String),
    /// Any server would answer the same.
    Refused(ApiError),
}

impl From<String> for Unsent {
    fn from(why: String) -> Self {
        Self::Lost(why)
    }
}

/// Sends it and waits for the head of the answer.
pub(super) async fn begin(
    client: &kube::Client,
    asked: &Asked<'_>,
) -> Result<Response<Body>, String> {
    let mut request = Request::builder()
        .method(asked.method.clone())
        .uri(&asked.path)
        .header("accept", asked.accept)
        .header("user-agent", AGENT);
    let body = match &asked.body {
        Some((kind, body)) => {
            request = request.header("content-type", *kind);
            Body::from(body.clone())
        }
        None => Body::empty(),
    };
    let request = request.body(body).map_err(|error| error.to_string())?;
    client.send(request).await.map_err(|error| causes(&error))
}

/// Sends it and reads the answer, of `longest` bytes at most.
pub(super) async fn send(
    client: &kube::Client,
    asked: &Asked<'_>,
    longest: usize,
) -> Result<Answered, Unsent> {
    let answer = begin(client, asked).await?;
    read(answer, asked, longest).await
}

/// Reads an answer, of `longest` bytes at most.
pub(super) async fn read(
    answer: Response<Body>,
    asked: &Asked<'_>,
    longest: usize,
) -> Result<Answered, Unsent> {
    let status = answer.status();
    let retry_after = answer.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut bytes = Vec::new();
    let mut body = answer.into_body();
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |size| size > longest) {
        return Err(too_long(asked, longest, &format!("{announced} bytes")));
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| causes(&error))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > longest {
            let size = format!("{} bytes and more", bytes.len());
            return Err(too_long(asked, longest, &size));
        }
    }
    Ok((status, retry_after.map(Duration::from_secs), bytes))
}

fn too_long(asked: &Asked<'_>, longest: usize, size: &str) -> Unsent {
    Unsent::Refused(ApiError::new(
        ApiErrorKind::Rejected,
        format!(
            "the answer to {} {} has {size}, and no more than {longest} are read",
            asked.method, asked.path
        ),
    ))
}

/// The JSON of an answer.
pub(super) fn parsed(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::new(
            ApiErrorKind::Server,
            format!("its answer is no JSON: {error}"),
        )
    })
}
