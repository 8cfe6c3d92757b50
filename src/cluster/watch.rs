//! A watch of the real API: an answer that does not end, with an event per line. What an event means to who waits is not
//! known here.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::connect::{Connection, Connector};
use super::request::{Asked, Unsent, begin, parsed, read};
use super::{ApiError, ApiErrorKind, BoxFuture, Change, Watch};
use crate::model::kube::key::{number, text};
use crate::model::outcome::causes;

/// How long the server keeps a watch open: where something on the way holds a connection and says nothing, it is not
/// believed for longer.
pub(super) const RENEWED: Duration = Duration::from_secs(60);
/// How much later than that the end may come.
const LATE: Duration = Duration::from_secs(15);

/// A watch that is open.
pub(super) struct KubeWatch<'a> {
    connector: &'a Connector,
    connection: Connection,
    /// `None` = its version was too old.
    body: Option<Body>,
    /// What came and was not told yet.
    came: Vec<u8>,
    /// So much of it has no end of a line.
    searched: usize,
    /// The longest event that is read, in bytes.
    longest: usize,
    /// The server ends it by then.
    end: Instant,
}

impl<'a> KubeWatch<'a> {
    /// Begins a watch. `path` says of what, from when and for how long.
    pub async fn open(
        connector: &'a Connector,
        path: String,
        longest: usize,
    ) -> Result<Self, ApiError> {
        let connection = connector.connection().await?;
        let asked = Asked {
            method: Method::GET,
            path,
            accept: "application/json",
            body: None,
        };
        let end = Instant::now() + RENEWED + LATE;
        let begun = timeout_at(end, begun(&connection, &asked, longest)).await;
        let body = match begun.unwrap_or_else(|_| Err(silent())) {
            Ok(body) => body,
            Err(Unsent::Lost(why)) => {
                connector.leave(&connection).await;
                return Err(connector.lost(&connection, &why));
            }
            Err(Unsent::Refused(error)) => {
                if error.kind == ApiErrorKind::Server {
                    connector.leave(&connection).await;
                }
                return Err(error);
            }
        };
        Ok(Self {
            connector,
            connection,
            body,
            came: Vec::new(),
            searched: 0,
            longest,
            end,
        })
    }

    async fn next_change(&mut self) -> Result<Option<Change>, ApiError> {
        loop {
            let Some(line) = self.line().await? else {
                return Ok(None);
            };
            let mut event = parsed(&line)?;
            let object = event.get_mut("object").map(Value::take);
            let object = object.unwrap_or(Value::Null);
            match text(&event, "/type") {
                Some("ADDED" | "MODIFIED") => return Ok(Some(Change::Set(object))),
                Some("DELETED") => return Ok(Some(Change::Gone(object))),
                Some("ERROR") => return self.troubled(&object).await,
                // A bookmark, which is no change, or what later versions may say.
                _ => {}
            }
        }
    }

    /// The server ends it with a `Status`.
    async fn troubled(&mut self, status: &Value) -> Result<Option<Change>, ApiError> {
        let code = number(status, "/code").and_then(|code| u16::try_from(code).ok());
        let code = code.unwrap_or(500);
        if code == StatusCode::GONE {
            return Ok(None);
        }
        let error = ApiError::of_answer(code, status.to_string().as_bytes(), None);
        if error.kind == ApiErrorKind::Server {
            self.connector.leave(&self.connection).await;
        }
        Err(error)
    }

    /// The next line, without its end. `None` = the server has ended it.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            let unseen = self.came.iter().skip(self.searched);
            if let Some(more) = unseen.clone().position(|byte| *byte == b'\n') {
                let rest = self.came.split_off(self.searched + more + 1);
                let mut line = std::mem::replace(&mut self.came, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.came.len();
            if self.came.len() > self.longest {
                return Err(ApiError::new(
                    ApiErrorKind::Rejected,
                    format!("an event of a watch has more than {} bytes", self.longest),
                ));
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            let frame = match timeout_at(self.end, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if self.came.is_empty() => return Ok(None),
                Ok(None) => return Err(self.lost("it ended in the middle of an event").await),
                Ok(Some(Err(error))) => return Err(self.lost(&causes(&error)).await),
                Err(_) => return Err(self.lost("it did not end in its time").await),
            };
            if let Ok(data) = frame.into_data() {
                self.came.extend_from_slice(&data);
            }
        }
    }

    async fn lost(&mut self, why: &str) -> ApiError {
        self.connector.leave(&self.connection).await;
        self.connector
            .lost(&self.connection, &format!("a watch was cut: {why}"))
    }
}

/// Sends it; the body of the answer, if that is a good one.
async fn begun(
    connection: &Connection,
    asked: &Asked<'_>,
    longest: usize,
) -> Result<Option<Body>, Unsent> {
    let answer = begin(&connection.client, asked).await?;
    match answer.status() {
        status if status.is_success() => Ok(Some(answer.into_body())),
        StatusCode::GONE => Ok(None),
        // Credentials may have been renewed on the server since they were read.
        StatusCode::UNAUTHORIZED => Err(Unsent::Lost("it does not know us".to_owned())),
        _ => {
            let (status, retry_after, bytes) = read(answer, asked, longest).await?;
            let error = ApiError::of_answer(status.as_u16(), &bytes, retry_after);
            Err(Unsent::Refused(error))
        }
    }
}

fn silent() -> Unsent {
    Unsent::Lost("a watch had no answer".to_owned())
}

impl Watch for KubeWatch<'_> {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Change>, ApiError>> {
        Box::pin(self.next_change())
    }
}
