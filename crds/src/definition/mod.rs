//! Definitions as validated values: what a manifest says once it has been checked.
//!
//! [`AppDefinition::compile`] is the only way in. Both programs compile the same published text, so both see the same
//! columns and the same rules.

mod app;
mod destructive;
mod doc_type;
mod error;
mod field;
mod migration;
mod permission;
mod series;

pub use app::{AppDefinition, Queue, Requirement};
pub use destructive::{Destructive, MalformedDestructive};
pub use doc_type::{DocType, Naming, Ttl};
pub use error::{DefinitionError, DefinitionErrors};
pub use field::{Field, FieldKind, ReferenceTarget};
pub use migration::Migration;
pub use permission::{Comparison, Operand, Permission, RowRule, Subject};
pub use series::SeriesPattern;
