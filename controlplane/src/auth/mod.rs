//! Who calls, and for which tenant; and how callers come by what they show.
//!
//! - [`caller`]: what a handler learns: [`Scope`]; [`id`]: the ids of callers
//! - [`layer`]: puts the [`Scope`] on the requests of tenant routes
//! - [`tenant`]: which tenant a request is for, and which credentials it has
//! - [`token`]: which tokens are accepted, and how one is issued; [`cache`]: credentials that were verified a moment ago
//! - [`changes`], [`standing`]: whether what was verified holds still
//! - [`api_key`]: API keys; [`oidc`]: tokens of external issuers
//! - [`address`]: e-mail addresses, which say who an account is
//! - [`accounts`]: sign in, go on, sign out, sign up, second factors; [`password`], [`totp`]: what people show
//! - [`policy`]: what of it a tenant wants; [`redirect`]: where its e-mails may lead back to
//! - [`secret`]: secrets that are handed out and never stored
//! - [`mail`]: one-time tokens on their way to the tenant's webhook; [`webhook`]: how its requests are signed; [`outbound`]: requests to addresses of tenants
//! - [`routes`]: all of it over HTTP

mod accounts;
pub mod address;
mod api_key;
mod cache;
mod caller;
mod changes;
mod id;
mod layer;
pub mod mail;
mod oidc;
mod outbound;
mod password;
mod policy;
mod redirect;
mod routes;
mod secret;
mod sql;
mod standing;
mod tenant;
pub mod token;
mod totp;
mod webhook;

pub use accounts::{Accounts, Clash, control, give_form};
pub use api_key::ApiKeys;
pub use caller::{AppRole, Caller, RequestInfo, Scope};
pub use changes::{Changes, follow};
pub use id::UserId;
pub use layer::require_scope;
pub use oidc::Issuers;
pub use outbound::{Outbound, OutboundError};
pub use password::{Hasher, HasherError, storable};
pub use policy::AuthPolicy;
pub use routes::{ROUTES, public_router, router};
pub use secret::SecretKey;
pub use tenant::{bearer, named_plainly as named_tenant, still_served};
pub use token::{Refused, Tokens};
