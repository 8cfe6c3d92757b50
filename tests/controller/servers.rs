//! The controller under test, and helpers of all cases.

use std::sync::Arc;
use std::time::Duration;

use hmco_boot::facts::fact::{Fact, FactValue, NetAnswer, NetTrouble};
use hmco_boot::model::units::TimeSpan;
use hmco_boot::transport::Host as _;
use hmco_boot::transport::controller::ControllerHost;
use hmco_boot::transport::fake::FakeHost;

pub fn controller() -> ControllerHost {
    ControllerHost::new(Arc::new(FakeHost::new()))
}

pub fn span(ms: u64) -> TimeSpan {
    TimeSpan(Duration::from_millis(ms))
}

/// The answer to one question.
pub async fn ask(fact: Fact) -> FactValue {
    let answers = controller()
        .read(std::slice::from_ref(&fact))
        .await
        .unwrap();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, fact);
    answers[0].1.clone().unwrap()
}

/// What it says where nothing answers.
pub fn trouble<T: std::fmt::Debug>(answer: NetAnswer<T>) -> NetTrouble {
    match answer {
        NetAnswer::Trouble(trouble) => trouble,
        NetAnswer::Answered(other) => panic!("it answered: {other:?}"),
    }
}

pub fn answered<T>(answer: NetAnswer<T>) -> T {
    match answer {
        NetAnswer::Answered(answer) => answer,
        NetAnswer::Trouble(trouble) => panic!("{trouble:?}"),
    }
}
