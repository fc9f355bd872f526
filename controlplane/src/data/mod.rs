//! Documents: `/api/v1/data/{app}/{plural}` and `/rest/v1/{plural}`.
//!
//! A request goes from [`routes`] to [`documents`], one for a set of documents through [`collection`] with its formats in
//! [`media`]. It asks [`permit`] what the caller may do, checks the query
//! ([`query`]) or the body ([`validate`]) against the compiled document type ([`model`]), lets [`sql`] make one statement, runs
//! it through [`crate::postgres`] and writes the rows as JSON ([`render`]). What the database refuses becomes an answer in
//! [`refusal`]. [`idempotency`] lets a write that is sent again happen once.

mod batch;
mod collection;
mod documents;
mod explain;
mod history;
mod id;
mod idempotency;
mod media;
mod model;
#[cfg(test)]
mod on_servers;
mod permit;
mod precondition;
mod query;
mod refusal;
mod render;
mod routes;
mod sql;
mod validate;

use axum::Router;

use crate::{describe::Route, state::AppState};

pub use documents::Documents;
pub use model::{Catalog, ColumnModel, DocModel, Role};
pub use permit::{Allowed, Condition, Rights, Visible};
#[cfg(test)]
pub use permit::{Test, Tested};
pub use query::{CursorKey, ListIdentity};
pub use sql::sealed;

/// What the routes of documents are.
pub const ROUTES: [&[Route]; 5] =
    [routes::ROUTES, collection::ROUTES, batch::ROUTES, history::ROUTES, explain::ROUTES];

/// The routes, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    routes::router().merge(batch::router()).merge(history::router()).merge(explain::router())
}
