//! Definitions as validated values: what a manifest says once it has been checked.
//!
//! [`AppDefinition::compile`] is the only way in. Both programs compile the same published text, so both see the same
//! columns and the same rules.

mod app;
mod doc_type;
mod error;
mod field;
mod series;

pub use app::{AppDefinition, Queue, Requirement};
pub use doc_type::{DocType, Naming, Permission, RowRule, RuleValue, Subject};
pub use error::{DefinitionError, DefinitionErrors};
pub use field::{Field, FieldKind, ReferenceTarget};
pub use series::SeriesPattern;
