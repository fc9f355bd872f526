//! Document types as requests meet them, compiled once for every set of installed apps.
//!
//! - [`Catalog`]: the document types of a set of apps, by the name in the URL
//! - [`DocModel`]: one document type
//! - [`ColumnModel`]: one of its columns

mod catalog;
mod column;
mod doc;

pub use catalog::Catalog;
pub use column::{ColumnModel, Encoding, Role};
pub use doc::{DocModel, Relation};
