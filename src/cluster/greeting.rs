//! Whether the API at the end of a way is well, and if not, why, with the cure: certificates that have expired on either
//! side, one of another CA, credentials that nobody knows.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use rustls::CertificateError;
use tokio::time::timeout;

use super::way::{NoWay, Opened};
use crate::model::outcome::{Failure, causes};

/// How long a server may take to say that it is ready.
const READY: Duration = Duration::from_secs(8);

/// A server that is up but not ready yet answers much with errors: another one is better.
pub(super) async fn ready(client: &kube::Client, opened: &Opened) -> Result<(), NoWay> {
    let request = http::Request::get("/readyz").body(kube::client::Body::empty());
    let request = request.map_err(|error| NoWay::lasting(Failure::new(error.to_string())))?;
    let status = match timeout(READY, client.send(request)).await {
        Ok(Ok(answer)) if answer.status() == http::StatusCode::UNAUTHORIZED => {
            let date = answer.headers().get(http::header::DATE);
            let date = date.and_then(|date| date.to_str().ok());
            return Err(not_known(opened, date));
        }
        Ok(Ok(answer)) => answer.status(),
        Ok(Err(error)) => return Err(no_answer(&error, opened)),
        Err(_) => {
            let words = format!("its API does not answer within {}s", READY.as_secs());
            return Err(NoWay::passing(Failure::new(words)));
        }
    };
    // A user that may not ask /readyz may be able to ask other things.
    match status.is_success() || status == http::StatusCode::FORBIDDEN {
        true => Ok(()),
        false => Err(NoWay::passing(Failure::new(format!(
            "its API is not ready (/readyz: status {})",
            status.as_u16()
        )))),
    }
}

/// The API does not know the credentials. Whether their certificate has expired is told by the server's clock: that is the
/// one that counts.
fn not_known(opened: &Opened, date: Option<&str>) -> NoWay {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let there = date.and_then(|date| parser.parse_timestamp(date).ok());
    match (opened.until, there) {
        (Some(until), Some(there)) if until <= there => NoWay::lasting(
            Failure::new("the client certificate of its credentials has expired")
                .evidence(format!(
                    "it was good until {until}; by the server's clock it is {there}"
                ))
                .hint(opened.renewal.clone()),
        ),
        (until, _) => {
            let good = |until: Timestamp| format!("their certificate is good until {until}");
            let mut failure = Failure::new("its API does not know these credentials");
            failure.evidence.extend(until.map(good));
            NoWay::passing(failure.hint(opened.renewal.clone()))
        }
    }
}

fn no_answer(error: &kube::Error, opened: &Opened) -> NoWay {
    let (words, hint) = match shown_certificate(error) {
        Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => (
            "the certificate that its API shows has expired",
            format!(
                "if this machine's clock is right: {}",
                opened.renewal.clone()
            ),
        ),
        Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => (
            "the certificate that its API shows is not valid yet",
            "set the clocks of this machine and of the server (`timedatectl`)".to_owned(),
        ),
        Some(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
            "the certificate that its API shows is not of the cluster's CA",
            format!(
                "another API answers there, or the CA was changed since the credentials were made: {}",
                opened.renewal
            ),
        ),
        _ => {
            return NoWay::passing(Failure::new("its API does not answer").evidence(causes(error)));
        }
    };
    NoWay::lasting(Failure::new(words).evidence(causes(error)).hint(hint))
}

/// What is wrong with the certificate that a server shows, where that is what is wrong.
fn shown_certificate<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let found = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner?.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(certificate)) = found {
            return Some(certificate);
        }
        next = error.source();
    }
    None
}
