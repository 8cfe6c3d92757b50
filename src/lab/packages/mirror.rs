//! Which mirror of Debian serves a lab: the one that was named, else one that this machine's own apt uses, else
//! Debian's own name for the nearest.

#![expect(
    clippy::disallowed_methods,
    reason = "reads this machine's apt sources and asks mirrors whether they answer"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::recipe::{MAIN_URL, SECURITY_URL};
use crate::model::outcome::{Failure, causes};

/// How long a mirror may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What nodes ask for and where it is fetched.
pub fn routes(main: &str, security: &str) -> Vec<(String, String)> {
    let route = |from: &str, to: &str| (from.to_owned(), to.trim_end_matches('/').to_owned());
    vec![
        route(MAIN_URL, main),
        route(SECURITY_URL, security),
        route("http://security.debian.org/debian-security", security),
    ]
}

/// Finds mirrors of the main and the security archive that answer for a suite.
///
/// # Errors
/// Where none of the main archive does: with what each said. (Nodes live without security updates.)
pub async fn find(named: Option<&str>, suite: &str) -> Result<(String, String), Failure> {
    let known = apt_sources();
    let candidates = |security: bool, fallback: &str| {
        let mut found: Vec<String> = Vec::new();
        for url in known
            .iter()
            .filter(|(_, of)| *of == security)
            .map(|(url, _)| url)
        {
            if !found.contains(url) {
                found.push(url.clone());
            }
        }
        if !found.iter().any(|url| url == fallback) {
            found.push(fallback.to_owned());
        }
        found
    };
    let main = match named {
        Some(named) => vec![named.trim_end_matches('/').to_owned()],
        None => candidates(false, MAIN_URL),
    };
    let client = client()?;
    let main = first_that_answers(&client, &main, suite).await?;
    let security = candidates(true, SECURITY_URL);
    let suite = format!("{suite}-security");
    let security = first_that_answers(&client, &security, &suite).await;
    Ok((main, security.unwrap_or_else(|_| SECURITY_URL.to_owned())))
}

/// A client for mirrors; it honours the variables of proxies.
///
/// # Errors
/// Where it cannot be made.
pub fn client() -> Result<reqwest::Client, Failure> {
    // One that was chosen before is as good.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        .user_agent(concat!("hmco-boot-lab/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(ANSWERS_WITHIN)
        .read_timeout(Duration::from_secs(60))
        .build()
        .map_err(|error| Failure::new("cannot make an HTTP client").evidence(error.to_string()))
}

async fn first_that_answers(
    client: &reqwest::Client,
    candidates: &[String],
    suite: &str,
) -> Result<String, Failure> {
    let mut said = Vec::new();
    for candidate in candidates {
        let url = format!("{candidate}/dists/{suite}/InRelease");
        let answer = client.get(&url).timeout(ANSWERS_WITHIN).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => return Ok(candidate.clone()),
            Ok(answer) => said.push(format!("{url}: {}", answer.status())),
            Err(error) => said.push(format!("{url}: {}", causes(&error))),
        }
    }
    let mut failure = Failure::new(format!(
        "no mirror of Debian answers with the suite {suite}"
    ));
    for line in said {
        failure = failure.evidence(line);
    }
    Err(failure.hint("name one with --mirror URL; behind a proxy set http_proxy"))
}

/// The archives of this machine's own apt: URL, and whether it is of security updates.
fn apt_sources() -> Vec<(String, bool)> {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    let folder = Path::new("/etc/apt/sources.list.d");
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    texts.extend(
        files
            .iter()
            .map(|path| fs::read_to_string(path).unwrap_or_default()),
    );
    texts.iter().flat_map(|text| parse(text)).collect()
}

/// Debian's archives in a file of either format of apt's.
fn parse(text: &str) -> Vec<(String, bool)> {
    let mut urls: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("URIs:") {
            urls.extend(rest.split_whitespace());
        } else if let Some(rest) = line.strip_prefix("deb ") {
            // `deb [options] URL suite components`
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                None => rest,
            };
            urls.extend(rest.split_whitespace().next());
        }
    }
    let mut found = Vec::new();
    for url in urls.iter().map(|url| url.trim_end_matches('/')) {
        let http = url.starts_with("http://") || url.starts_with("https://");
        if http && url.ends_with("/debian") {
            found.push((url.to_owned(), false));
        } else if http && url.ends_with("/debian-security") {
            found.push((url.to_owned(), true));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_archives_are_found_in_both_formats() {
        let text = "Types: deb\nURIs: http://m.example.org/debian/ http://deb.debian.org/debian-security\n\
            # deb http://no.example.org/debian x main\n\
            deb [arch=amd64 signed-by=/x] https://a.example.org/debian bookworm main\n\
            deb https://deb.nodesource.com/node_20.x nodistro main\ndeb file:/srv/debian x main\ndeb\n";
        assert_eq!(
            parse(text),
            [
                ("http://m.example.org/debian".to_owned(), false),
                ("http://deb.debian.org/debian-security".to_owned(), true),
                ("https://a.example.org/debian".to_owned(), false),
            ]
        );
    }

    #[test]
    fn nodes_ask_by_debians_names_whatever_serves_them() {
        let routes = routes("https://m.example.org/debian/", "http://s/debian-security");
        assert_eq!(
            routes.first().unwrap(),
            &(
                "http://deb.debian.org/debian".to_owned(),
                "https://m.example.org/debian".to_owned()
            )
        );
        assert_eq!(routes.len(), 3);
    }
}
