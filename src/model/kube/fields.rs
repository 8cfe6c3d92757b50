//! Whether a live object is as wished, told by who owns which of its fields. `metadata.managedFields` says what a manager owns in
//! terms of the kind's own schema (which lists are sets, which have keys), so no schema is needed here.

mod owned;
#[cfg(test)]
mod tests;
mod tried;
mod wished;

pub use owned::{PART_OF, newly_owned, owned_marks, owns_label};
pub use tried::{comparable, is_left_as_it_is};
pub use wished::is_as_wished;
