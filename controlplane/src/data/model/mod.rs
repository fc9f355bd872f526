//! Document types as requests meet them, compiled once for every set of installed apps.
//!
//! - [`Catalog`]: the document types of a set of apps, by the name in the URL
//! - [`DocModel`]: one document type
//! - [`ColumnModel`]: one of its columns
//! - [`Consequences`]: what a deletion leads to
//! - [`Links`]: how document types refer to each other

mod catalog;
mod column;
mod consequences;
mod doc;
mod links;

pub use catalog::Catalog;
pub use column::{ColumnModel, Encoding, Role};
pub use consequences::{Consequences, Referrer, Referrers};
pub use doc::{DocModel, Relation, Written};
pub use links::{Direction, Link, Links, Unlinked};
