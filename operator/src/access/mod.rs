//! Direct access: logins, users and keys that work without the control plane, each handed out in a Secret.
//!
//! The registry first says, by a digest, which password is about to count; then the login gets it, then the Secret, which is
//! its only store. After a crash the next pass finds that very password in the Secret, or makes another one.
//!
//! - [`desired`]: the credentials that a manifest asks for
//! - [`plan`]: what happens to a password next
//! - [`mod@converge`]: makes it so; [`remove`]: takes it back; [`unrecorded`]: the same when the registry is lost
//! - [`postgres`], [`redis`], [`search`]: what opens in each backend
//! - [`secret`]: what is in a Secret; [`store`]: the Secrets in the cluster; [`mod@watch`]: what wakes a tenant
//! - [`status`]: what a pass tells

mod converge;
mod desired;
mod password;
mod plan;
mod postgres;
mod redis;
mod remove;
mod search;
mod secret;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod unrecorded;
mod watch;
mod work;

pub use converge::converge;
pub use remove::remove_all;
pub use unrecorded::remove_unrecorded;
pub use watch::watch;
