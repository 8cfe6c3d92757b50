//! Which answer is whose: a tool that was given many names answers in their order, and complains in words that quote
//! them in its own way.

use std::collections::BTreeMap;

use super::reply::{Part, Reply, complaint};
use crate::facts::fact::FactError;
use crate::facts::questions::chunks;

/// Answers by path.
pub type ByPath<T> = BTreeMap<String, Result<T, FactError>>;

/// The chunks the script made of a list of paths.
pub fn in_chunks<'a, T>(
    items: &'a [T],
    reply: &Reply<'_>,
    path: impl Fn(&T) -> &str,
) -> Vec<&'a [T]> {
    chunks(items, |item| {
        crate::model::shell::quote(&format!("{}{}", reply.root, path(item))).len() + 1
    })
}

/// One thing in a tool's output: an answer with its name, or a complaint.
pub enum Event {
    /// An answer.
    Record(String, Vec<u8>),
    /// A line that is none.
    Complaint(String),
}

/// Gives each name its record or its complaint. A tool answers in the order of its arguments, one record or one line
/// of complaint for each: a complaint is known by its place, not by the name it quotes in its own way.
pub fn align(
    names: &[String],
    events: Vec<Event>,
    part: Part<'_>,
) -> Vec<Result<Vec<u8>, FactError>> {
    let mut results: Vec<Result<Vec<u8>, FactError>> = vec![Err(part.missing()); names.len()];
    let mut complaints: Vec<String> = Vec::new();
    let mut from = 0;
    for event in events {
        match event {
            Event::Complaint(line) => complaints.push(line),
            Event::Record(name, bytes) => {
                let later = names.iter().skip(from).position(|other| *other == name);
                let Some(at) = later.map(|at| from + at) else {
                    continue;
                };
                assign(results.get_mut(from..at), &complaints, false);
                complaints.clear();
                if let Some(result) = results.get_mut(at) {
                    *result = Ok(bytes);
                }
                from = at + 1;
            }
        }
    }
    let unfinished = part.whole().is_err();
    assign(results.get_mut(from..), &complaints, unfinished);
    results
}

/// Complaints to the names between two records; where the numbers do not fit, nobody knows whose they are.
fn assign(gap: Option<&mut [Result<Vec<u8>, FactError>]>, complaints: &[String], unfinished: bool) {
    let gap = gap.unwrap_or_default();
    let fits = gap.len() == complaints.len() || (unfinished && complaints.len() < gap.len());
    for (n, result) in gap.iter_mut().enumerate() {
        match complaints.get(n) {
            Some(line) if fits => *result = Err(complaint(line)),
            Some(line) => *result = Err(FactError::Failed(line.chars().take(300).collect())),
            None => {}
        }
    }
}

/// A failure in words.
pub fn failed(why: &str) -> FactError {
    FactError::Failed(why.to_owned())
}
