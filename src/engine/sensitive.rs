//! What comes back from sensitive places of a target.

use crate::facts::fact::{Answer, Content, FactValue};
use crate::model::redact::Redactor;

/// Makes what was read from sensitive places known to the redactor before anything is made of it.
pub(super) fn register<'a>(redactor: &Redactor, answers: impl Iterator<Item = &'a Answer>) {
    for (fact, answer) in answers {
        if !fact.is_sensitive() {
            continue;
        }
        match answer {
            Ok(FactValue::Content(Content {
                bytes: Some(bytes), ..
            })) => redactor.register_file(bytes),
            Ok(FactValue::Exec(said)) => {
                redactor.register_file(&said.stdout);
                redactor.register_file(&said.stderr);
            }
            _ => {}
        }
    }
}
