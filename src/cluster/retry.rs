//! Trying again: what may pass by itself, until a deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{ApiError, ApiErrorKind};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(4);

/// How long to try again, by what went wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The API is busy, in trouble, or does not answer.
    pub api: Duration,
    /// A webhook does not answer.
    pub webhook: Duration,
    /// What is asked does not fit the schema that the server knows.
    pub schema: Duration,
    /// Controllers have not done their part yet.
    pub unsettled: Duration,
}

impl Patience {
    /// How long to try again after an error; zero = not at all.
    fn after(&self, error: &ApiError) -> Duration {
        match error.kind {
            ApiErrorKind::Webhook => self.webhook,
            ApiErrorKind::Schema => self.schema,
            ApiErrorKind::Unsettled => self.unsettled,
            _ if error.may_pass() => self.api,
            _ => Duration::ZERO,
        }
    }
}

/// For looking: an answer is wanted soon, also if it is that there is none.
pub(super) const LOOKING: Patience = Patience {
    api: Duration::from_secs(30),
    webhook: Duration::from_secs(3),
    schema: Duration::ZERO,
    unsettled: Duration::from_secs(5),
};

/// For changing: an API server that restarts, a webhook whose pods are just starting, and a definition that was changed just
/// now, are waited for.
pub(super) const CHANGING: Patience = Patience {
    api: Duration::from_secs(90),
    webhook: Duration::from_secs(60),
    schema: Duration::from_secs(5),
    unsettled: Duration::from_secs(15),
};

/// Asks until there is an answer, or an error that stays, or the time is over.
pub(super) async fn retrying<T, F>(
    patience: Patience,
    mut ask: impl FnMut() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let began = Instant::now();
    let mut pause = FIRST;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let wait = error.retry_after.unwrap_or(pause).min(LONGEST);
        if began.elapsed() + wait >= patience.after(&error) {
            return Err(error);
        }
        tracing::debug!(%error, "trying again");
        sleep(wait).await;
        pause = (pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_until_its_time_is_over_and_what_stays_is_not() {
        let asked = Cell::new(0);
        let answer = |kind: ApiErrorKind, good: u32| {
            let asked = &asked;
            move || {
                asked.set(asked.get() + 1);
                let now = asked.get();
                async move {
                    match now < good {
                        true => Err(ApiError::new(kind, "x")),
                        false => Ok(now),
                    }
                }
            }
        };
        assert_eq!(
            retrying(LOOKING, answer(ApiErrorKind::Busy, 4)).await,
            Ok(4)
        );
        asked.set(0);
        assert!(
            retrying(LOOKING, answer(ApiErrorKind::Rejected, 4))
                .await
                .is_err()
        );
        assert_eq!(asked.get(), 1);
        asked.set(0);
        let began = Instant::now();
        assert!(
            retrying(LOOKING, answer(ApiErrorKind::Webhook, 1000))
                .await
                .is_err()
        );
        assert!(began.elapsed() <= LOOKING.webhook);
        assert!(asked.get() > 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_a_schema_is_final_for_who_looks_and_tried_for_seconds_by_who_changes()
     {
        let asked = Cell::new(0);
        let answer = || {
            asked.set(asked.get() + 1);
            async { Err::<(), _>(ApiError::new(ApiErrorKind::Schema, "x")) }
        };
        assert!(retrying(LOOKING, answer).await.is_err());
        assert_eq!(asked.get(), 1);
        let began = Instant::now();
        assert!(retrying(CHANGING, answer).await.is_err());
        assert!(began.elapsed() <= CHANGING.schema);
        assert!(asked.get() > 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_controllers_have_not_done_yet_is_waited_for_a_few_seconds() {
        let began = Instant::now();
        let answer = || async {
            match began.elapsed() < Duration::from_secs(2) {
                true => Err(ApiError::new(ApiErrorKind::Unsettled, "x")),
                false => Ok(()),
            }
        };
        assert_eq!(retrying(LOOKING, answer).await, Ok(()));
        let began = Instant::now();
        let never = || async { Err::<(), _>(ApiError::new(ApiErrorKind::Unsettled, "x")) };
        assert!(retrying(CHANGING, never).await.is_err());
        assert!(began.elapsed() <= CHANGING.unsettled);
    }
}
