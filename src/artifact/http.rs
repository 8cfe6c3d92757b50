//! The HTTP client: TLS by rustls with ring and the system's roots, proxies of the environment; which answers and errors
//! may pass, and what each means for people.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};

use super::store::Settings;
use crate::model::outcome::{Failure, causes};

/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Something went wrong with a request.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Trying again may help; `after`: the server's own word.
    Passing {
        failure: Failure,
        after: Option<Duration>,
    },
    /// It stays so.
    Lasting(Failure),
}

impl Trouble {
    pub fn passing(failure: Failure) -> Self {
        Self::Passing {
            failure,
            after: None,
        }
    }
}

/// A client, made when it is first needed: reading the system's roots takes a moment.
#[derive(Debug, Default)]
pub(super) struct LazyClient(OnceLock<Client>);

impl LazyClient {
    pub fn get(&self, settings: &Settings) -> Result<Client, Failure> {
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        // Err: somebody else has installed one, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            .user_agent(concat!("hmco-boot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect)
            .read_timeout(settings.stall)
            .redirect(Policy::custom(redirect))
            .referer(false);
        if !settings.proxies {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Failure::new("this machine cannot make HTTPS connections")
                .evidence(causes(&error))
                .hint("install the system's certificates (package ca-certificates)")
        })?;
        Ok(self.0.get_or_init(|| client).clone())
    }
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let last = attempt.previous().last().map(Url::scheme);
    if attempt.previous().len() > REDIRECTS {
        attempt.error("it redirects for ever")
    } else if last == Some("https") && attempt.url().scheme() != "https" {
        attempt.error("it redirects from https to a connection that is not secure")
    } else {
        attempt.follow()
    }
}

/// An error of a request for `url`. Its own text may hold the URL of a redirect with a signature in it: left out.
pub(super) fn failed(url: &str, error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let evidence = causes(&error);
    if error.is_redirect() || error.is_builder() {
        let failure = Failure::new(format!("{url} cannot be fetched")).evidence(evidence);
        return Trouble::Lasting(failure.hint("look at the URL in hmco-boot.lock"));
    }
    let what = match (error.is_timeout(), error.is_connect()) {
        (true, false) => format!("the download of {url} stalled"),
        (_, true) => format!("there is no connection to {}", host(url)),
        _ => format!("the download of {url} broke off"),
    };
    let failure = Failure::new(what).evidence(evidence);
    Trouble::passing(
        failure.hint("look at this machine's network, DNS and proxy (HTTPS_PROXY, NO_PROXY)"),
    )
}

/// An answer that is no file.
pub(super) fn refused(url: &str, answer: &Response) -> Trouble {
    let status = answer.status();
    let mut failure = Failure::new(format!("{url} cannot be fetched"))
        .evidence(format!("the server answered {status}"));
    let host = answer.url().host_str().unwrap_or_default();
    if !url.contains(host) {
        failure = failure.evidence(format!("after a redirect to {host}"));
    }
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {}
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Trouble::Lasting(
                failure
                    .hint("see that version and URL in hmco-boot.lock are those of a release that is still there"),
            );
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Trouble::Lasting(failure.hint(
                "it wants a login or a proxy forbids it; fetch the file by hand and name its folder with --mirror DIR",
            ));
        }
        _ => return Trouble::Lasting(failure.hint("look at the URL in hmco-boot.lock")),
    }
    Trouble::Passing {
        failure: failure.hint("try again later"),
        after: retry_after(answer.headers()),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    Some(Duration::from_secs(seconds.parse().ok()?).min(LONGEST_PAUSE))
}

fn host(url: &str) -> String {
    let host = Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_else(|| url.to_owned())
}
