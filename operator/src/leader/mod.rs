//! Who may change anything: a Lease decides, and an epoch in Postgres fences the one that lost it.
//!
//! - `decision`: what a candidate does about the Lease that it sees
//! - [`Election`]: winning, keeping and releasing it
//! - [`Leadership`]: what passes check
//! - [`open`] and [`fenced`]: the epoch

mod decision;
mod election;
mod epoch;
mod leadership;
#[cfg(test)]
mod tests;

pub use election::{Election, Ended};
pub use epoch::{fenced, open};
pub use leadership::{Leadership, Tenure};
