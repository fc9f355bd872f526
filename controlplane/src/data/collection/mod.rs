//! Documents by the set: what a request to `/api/v1/data/{app}/{plural}` and `/rest/v1/{plural}` does.
//!
//! - [`Ask`]: a request; [`read`], [`store`] and [`change`] carry it out
//! - [`Dialect`]: how both routes differ
//! - [`prefer`], [`range`]: what the headers of a request say
//! - [`rest`]: the routes of PostgREST's clients

mod ask;
mod change;
mod dialect;
mod prefer;
mod range;
mod read;
mod rest;
mod store;

pub use ask::Ask;
pub use change::is_too_many;
pub use dialect::Dialect;
pub use rest::{ROUTES, router};
