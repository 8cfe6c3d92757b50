//! What goes wrong with a request, by class: who tries again, and what is told, hangs on it.

use std::time::Duration;

use serde_json::Value;

use crate::model::kube::FieldConflict;

/// A request that did not do what it should.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What sort.
    pub kind: ApiErrorKind,
    /// In words, mostly the API's own.
    pub message: String,
    /// Who owns which field, for [`ApiErrorKind::Conflict`].
    pub conflicts: Vec<FieldConflict>,
    /// How long the API asks to wait before another try.
    pub retry_after: Option<Duration>,
}

/// Sorts of trouble with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApiErrorKind {
    /// There is no such object, or no such kind.
    NotFound,
    /// Others own fields that it sets.
    Conflict,
    /// The object is another one by now, or is on its way out.
    Stale,
    /// It is refused: not valid, over a quota, by an admission webhook's verdict.
    Rejected,
    /// Whoever asks may not do it, or is not known.
    Denied,
    /// Too many requests.
    Busy,
    /// An admission webhook did not answer.
    Webhook,
    /// The API itself is in trouble.
    Server,
    /// No answer: the connection could not be made, or was lost. What was asked may have been done.
    Unreachable,
    /// No connection could be made, and trying again would meet the same until somebody does something about it.
    NoWay,
    /// It does not fit the schema of its kind: a field that is not declared, a value of another type. Final, but for an apply
    /// right after its definition changed: servers learn a new schema a moment later.
    Schema,
    /// It is refused as long as controllers have not done their part, which they do within seconds: a new namespace has no
    /// service account yet, a new quota was not counted.
    Unsettled,
}

impl ApiError {
    /// Without further details.
    pub fn new(kind: ApiErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            conflicts: Vec::new(),
            retry_after: None,
        }
    }

    /// What an answer with an HTTP status outside of 2xx says; `body` is a `Status` of Kubernetes, if it went well.
    pub fn of_answer(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let message = match said.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => {
                let text = String::from_utf8_lossy(body);
                let line = text.lines().next().unwrap_or_default();
                let line: String = line.chars().take(300).collect();
                format!("the API answered with status {status} {line}")
                    .trim()
                    .to_owned()
            }
        };
        let conflicts = conflicts(&said);
        Self {
            kind: kind_of(status, &message, !conflicts.is_empty()),
            message,
            conflicts,
            retry_after,
        }
    }

    /// Whether another try may go better without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(
            self.kind,
            ApiErrorKind::Stale
                | ApiErrorKind::Busy
                | ApiErrorKind::Webhook
                | ApiErrorKind::Server
                | ApiErrorKind::Unreachable
                | ApiErrorKind::Unsettled
        )
    }
}

fn kind_of(status: u16, message: &str, conflicts: bool) -> ApiErrorKind {
    // Said of webhooks with several statuses: 500 where none answers, 400 and 503 in some versions.
    let webhook = message.contains("failed calling webhook")
        || message.contains("failed to call webhook")
        || message.contains("conversion webhook for");
    match status {
        _ if webhook => ApiErrorKind::Webhook,
        // Server-side apply says 500 of what is the wish's fault (kubernetes/kubernetes#122480).
        500 if message.contains("failed to create typed patch object") => ApiErrorKind::Schema,
        404 | 410 => ApiErrorKind::NotFound,
        409 if conflicts => ApiErrorKind::Conflict,
        409 => ApiErrorKind::Stale,
        401 => ApiErrorKind::Denied,
        // Of roles, unlike what admission forbids (quotas, webhooks, pod security).
        403 if message.contains("cannot ") && message.contains(" resource ") => {
            ApiErrorKind::Denied
        }
        // A namespace that is going away refuses all new objects with 403.
        403 if message.contains("is being terminated") => ApiErrorKind::Stale,
        // The words of the admission plugins ServiceAccount and ResourceQuota.
        403 if message.contains("error looking up service account")
            || message.contains("status unknown for quota") =>
        {
            ApiErrorKind::Unsettled
        }
        429 => ApiErrorKind::Busy,
        500..=599 => ApiErrorKind::Server,
        _ => ApiErrorKind::Rejected,
    }
}

/// The causes of a refused apply: `conflict with "kubectl" using apps/v1` at `.spec.replicas`.
fn conflicts(status: &Value) -> Vec<FieldConflict> {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let text = |cause: &Value, key: &str| cause.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut found: Vec<FieldConflict> = causes
        .into_iter()
        .flatten()
        .filter(|cause| text(cause, "reason").as_deref() == Some("FieldManagerConflict"))
        .map(|cause| {
            let message = text(cause, "message").unwrap_or_default();
            let manager = message.strip_prefix("conflict with ").unwrap_or(&message);
            FieldConflict {
                manager: manager.trim_end_matches(':').to_owned(),
                field: text(cause, "field").unwrap_or_default(),
            }
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(status: u16, message: &str) -> ApiErrorKind {
        let body = json!({ "kind": "Status", "message": message }).to_string();
        ApiError::of_answer(status, body.as_bytes(), None).kind
    }

    #[test]
    fn answers_are_sorted_by_what_another_try_would_bring() {
        assert_eq!(
            kind(404, "configmaps \"x\" not found"),
            ApiErrorKind::NotFound
        );
        assert_eq!(kind(429, "too many requests"), ApiErrorKind::Busy);
        assert_eq!(kind(503, "apiserver not ready"), ApiErrorKind::Server);
        assert_eq!(
            kind(
                500,
                "Internal error occurred: failed calling webhook \"v.example.org\": no endpoints available"
            ),
            ApiErrorKind::Webhook
        );
        assert_eq!(
            kind(
                403,
                "pods \"x\" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=1, limited: cpu=1"
            ),
            ApiErrorKind::Rejected
        );
        assert_eq!(
            kind(
                403,
                "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\""
            ),
            ApiErrorKind::Denied
        );
        assert_eq!(
            kind(
                403,
                "configmaps \"x\" is forbidden: unable to create new content in namespace n because it is being terminated"
            ),
            ApiErrorKind::Stale
        );
        assert_eq!(
            kind(409, "the object has been modified"),
            ApiErrorKind::Stale
        );
        for passing in [
            "pods \"x\" is forbidden: error looking up service account n/default: serviceaccount \"default\" not found",
            "pods \"x\" is forbidden: status unknown for quota: q, resources: pods",
        ] {
            assert_eq!(kind(403, passing), ApiErrorKind::Unsettled);
        }
        assert_eq!(kind(422, "spec.x: Invalid value"), ApiErrorKind::Rejected);
        assert_eq!(
            kind(
                500,
                "failed to create typed patch object (default/x; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"
            ),
            ApiErrorKind::Schema
        );
    }

    #[test]
    fn a_conflict_names_managers_and_fields() {
        let body = json!({
            "kind": "Status", "message": "Apply failed with 1 conflict", "details": { "causes": [
                { "reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using apps/v1", "field": ".spec.replicas" }
            ] }
        });
        let error = ApiError::of_answer(409, body.to_string().as_bytes(), None);
        assert_eq!(error.kind, ApiErrorKind::Conflict);
        assert_eq!(
            error.conflicts,
            [FieldConflict {
                manager: "\"kubectl\" using apps/v1".into(),
                field: ".spec.replicas".into()
            }]
        );
    }

    #[test]
    fn an_answer_that_is_no_status_is_told_by_its_first_line() {
        let error = ApiError::of_answer(502, b"<html>\nBad Gateway", None);
        assert_eq!(error.message, "the API answered with status 502 <html>");
        assert_eq!(error.kind, ApiErrorKind::Server);
    }
}
