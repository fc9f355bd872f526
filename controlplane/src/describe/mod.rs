//! What the API says of itself: `/openapi.json`, `/docs` and `/api/v1/meta`.
//!
//! Each area of the API describes its routes in a table beside its router; [`routes`] has all of them. A test compares them with
//! what is served, another with a golden.
//!
//! - [`route`]: how a route is described
//! - [`openapi`]: the document, for a caller or for nobody. Pure
//! - [`schema`]: JSON Schema of a document type. Pure
//! - [`cache`]: one document for all callers with the same roles of tenants with the same apps
//! - [`serve`]: the routes

mod cache;
mod headers;
mod openapi;
pub mod route;
mod schema;
mod serve;
#[cfg(test)]
mod tests;

pub use cache::Described;
pub use headers::ANSWER_HEADERS;
pub use openapi::of_nobody;
pub use route::{Access, Parameter, Route, Shape};
pub use serve::{public_router, router};

/// Every route that is served.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    let others = [
        crate::search::ROUTES,
        crate::auth::ROUTES,
        crate::jobs::ROUTES,
        crate::audit::ROUTES,
        serve::ROUTES,
        crate::admin::ROUTES,
    ];
    crate::data::ROUTES.into_iter().chain(others).flatten()
}
