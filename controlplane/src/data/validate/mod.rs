//! Bodies against their document type. Everything that is wrong is listed, each with its JSON Pointer.
//!
//! - [`mod@document`]: a body as values for columns
//! - [`Shape`]: what values a field takes
//! - [`scalar`]: the text forms of single values

mod document;
pub(super) mod scalar;
mod shape;

pub use document::{Mode, Values, document};
pub use shape::{Form, Format, Shape};

/// Errors listed at most; a body can have many more.
const MAX_ERRORS: usize = 100;
/// How deep a JSON value may go.
const MAX_DEPTH: usize = 32;
