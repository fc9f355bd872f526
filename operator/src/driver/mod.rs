//! One reconcile skeleton for all kinds.

mod kind;
mod lane;

pub use kind::{Cleanup, Kind, Pass, Progress};
pub use lane::{Fingerprint, Lane, Turn};
