//! Compiled templates and expressions, kept by their text: a plan renders the same few texts for every target.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use minijinja::{Environment, Error, Expression, Template};

use super::engine::ENVIRONMENT;

/// Texts of each sort that are kept; when there are more, it begins anew.
const TEXTS: usize = 4096;
/// Longer texts are compiled each time.
const BYTES: usize = 64 * 1024;

struct Templates {
    environment: Environment<'static>,
    kept: usize,
}

static TEMPLATES: LazyLock<RwLock<Templates>> = LazyLock::new(|| {
    RwLock::new(Templates {
        environment: ENVIRONMENT.clone(),
        kept: 0,
    })
});

/// Uses the compiled form of a text.
pub(super) fn with_template<T>(
    text: &str,
    mut using: impl FnMut(&Template<'_, '_>) -> Result<T, Error>,
) -> Result<T, Error> {
    if text.len() <= BYTES {
        for _ in 0..2 {
            let templates = TEMPLATES.read().unwrap_or_else(PoisonError::into_inner);
            if let Ok(template) = templates.environment.get_template(text) {
                return using(&template);
            }
            drop(templates);
            keep(text)?;
        }
    }
    using(&ENVIRONMENT.template_from_str(text)?)
}

fn keep(text: &str) -> Result<(), Error> {
    let mut templates = TEMPLATES.write().unwrap_or_else(PoisonError::into_inner);
    if templates.kept >= TEXTS {
        templates.environment.clear_templates();
        templates.kept = 0;
    }
    templates.kept += 1;
    // A text is its own name; nothing can include it, for templates cannot include at all.
    templates
        .environment
        .add_template_owned(text.to_owned(), text.to_owned())
}

/// Uses the compiled form of an expression.
pub(super) fn with_expression<T>(
    text: &str,
    using: impl FnOnce(&Expression<'_, '_>) -> Result<T, Error>,
) -> Result<T, Error> {
    static EXPRESSIONS: Kept<Expression<'static, 'static>> = Kept::new();
    let expression = EXPRESSIONS.get(text, || {
        let environment: &'static Environment<'static> = &ENVIRONMENT;
        environment.compile_expression_owned(text.to_owned())
    })?;
    using(&expression)
}

/// The names that a text wants from outside, once found.
pub(super) fn names(text: &str, find: impl FnOnce() -> BTreeSet<String>) -> Arc<BTreeSet<String>> {
    static NAMES: Kept<BTreeSet<String>> = Kept::new();
    match NAMES.get(text, || Ok::<_, std::convert::Infallible>(find())) {
        Ok(names) => names,
        Err(never) => match never {},
    }
}

/// What was made of texts.
struct Kept<T> {
    made: Mutex<Option<HashMap<Box<str>, Arc<T>>>>,
}

impl<T> Kept<T> {
    const fn new() -> Self {
        Self {
            made: Mutex::new(None),
        }
    }

    fn made(&self) -> MutexGuard<'_, Option<HashMap<Box<str>, Arc<T>>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get<E>(&self, text: &str, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        if let Some(found) = self.made().get_or_insert_default().get(text) {
            return Ok(Arc::clone(found));
        }
        let value = Arc::new(make()?);
        if text.len() <= BYTES {
            let mut made = self.made();
            let made = made.get_or_insert_default();
            if made.len() >= TEXTS {
                made.clear();
            }
            made.insert(text.into(), Arc::clone(&value));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_texts_than_are_kept_are_all_rendered_right() {
        for n in 0..TEXTS + 10 {
            let text = format!("{{{{ {n} }}}}");
            let rendered = with_template(&text, |template| template.render(())).unwrap();
            assert_eq!(rendered, n.to_string());
        }
    }
}
