//! One reconcile skeleton for all kinds.
//!
//! - [`Kind`]: what a kind brings along; [`Pass`] and [`Progress`]: what it reports
//! - [`Source`]: a kube `Controller` for a kind
//! - [`Lane`]: when each object is due, the way to wake one, and who goes before whom; `share`: the bound on background passes
//! - [`stands`]: what an object says of itself, so that a restart does not cost a pass for each
//! - `reconcile`: one pass; `verdict` and `backoff`: what its end means; `api`: its writes

mod api;
mod backoff;
mod controller;
mod kind;
mod lane;
mod reconcile;
mod share;
mod standing;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

pub use api::call;
pub use controller::Source;
pub use kind::{Cleanup, Kind, Pass, Progress};
pub use lane::Lane;
pub use reconcile::rest;
pub use standing::stands;
pub use watch::Change;
