//! TOML files to the model, with every mistake of every file at once; diagnostics, the JSON schema, the pins file, and
//! edits that keep a file's layout.
//!
//! The way of a file: [`load`] reads bytes ([`files`] is the seam), [`syntax`] makes a spanned tree of them, [`raw`] says
//! which tables and keys there are, [`lower`] makes the model from them table by table (so that one bad step does not
//! hide the next), [`check`] compares what belongs together. Mistakes are data all along; [`diagnostic`] draws them.

mod assemble;
pub mod check;
pub mod diagnostic;
pub mod edit;
pub mod files;
pub mod load;
pub mod lower;
pub mod pins;
pub mod project;
pub mod raw;
pub mod schema;
pub mod shipped;
pub mod source;
pub mod syntax;
mod view;
