//! Who calls, and for which tenant.
//!
//! - [`caller`]: what a handler learns: [`Scope`]
//! - [`token`]: which tokens are accepted, and how one is issued
//! - [`cache`]: tokens that were verified a moment ago
//! - [`tenant`]: which tenant a request is for
//! - [`layer`]: puts the [`Scope`] on the requests of tenant routes

mod cache;
mod caller;
mod layer;
mod tenant;
pub mod token;

pub use caller::{AppRole, Caller, RequestInfo, Scope};
pub use layer::require_scope;
pub use tenant::{bearer, still_served};
pub use token::{Refused, Tokens};
