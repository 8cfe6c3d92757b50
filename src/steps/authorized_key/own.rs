//! The key that hmco-boot itself logged in with: a change that the next login would not survive is not made. All would
//! look well over the connection that is open.

use super::key::{key_of, options_of};
use crate::facts::fact::Login;
use crate::model::outcome::Failure;

/// Why a user's keys are not changed so.
pub(super) fn refusal(login: Option<&Login>, user: &str, old: &str, new: &str) -> Option<Failure> {
    let login = login.filter(|login| login.user == user)?;
    let own = key_of(login.key.as_deref()?)?;
    let options = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| key_of(line) == Some(own))
            .map(|line| options_of(line).to_owned())
            .collect()
    };
    let (before, after) = (options(old), options(new));
    // Which of several lines let it in is not known; one without options lets in wherever one with them does.
    let stays =
        after.iter().any(String::is_empty) || before.iter().all(|each| after.contains(each));
    (!stays).then(|| {
        Failure::new(format!(
            "this would take away the key that hmco-boot is using for {user}, or change its options"
        ))
        .evidence(format!("it logged in with {} {}", own.0, own.1))
        .hint(
            "log in with the new key first (`identity` of the host, or `hmco-boot hosts enroll`), then remove the old one",
        )
    })
}
