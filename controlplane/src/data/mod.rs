//! Documents: `/api/v1/data/{app}/{plural}` and `/rest/v1/{plural}`.
//!
//! A request goes from [`routes`] to [`documents`], one for a set of documents through [`collection`] with its formats in
//! [`media`]. It asks [`permit`] what the caller may do, checks the query
//! ([`query`]) or the body ([`validate`]) against the compiled document type ([`model`]), lets [`sql`] make one statement, runs
//! it through [`crate::postgres`] and writes the rows as JSON ([`render`]). What the database refuses becomes an answer in
//! [`refusal`].

mod collection;
mod documents;
mod id;
mod media;
mod model;
mod permit;
mod precondition;
mod query;
mod refusal;
mod render;
mod routes;
mod sql;
#[cfg(test)]
mod tests;
mod validate;

pub use collection::ROUTES as REST_ROUTES;
pub use documents::Documents;
pub use model::{Catalog, ColumnModel, DocModel, Role};
pub use permit::{AllOf, Allowed, Equals, allowed};
pub use query::{CursorKey, ListIdentity};
pub use routes::{ROUTES, router};
