//! Bodies and answers by content type. Pure.
//!
//! - [`Format`]: what `Accept` asks for
//! - [`documents`]: a body as documents; [`csv`] reads one kind of it

mod accept;
mod body;
mod csv;

pub use accept::{Format, Shape};
pub use body::documents;
