//! Search in a tenant's documents.
//!
//! - [`routes`]: the API
//! - [`filter`]: parameters and permissions as an expression of the engine. Pure
//! - [`engine`]: a thin client of Meilisearch
//! - [`indexed`]: a document as the index has it. Pure

mod engine;
mod filter;
pub mod indexed;
mod routes;

pub use engine::{Fault, Meilisearch, Outcome};
pub use routes::{ROUTES, router};
