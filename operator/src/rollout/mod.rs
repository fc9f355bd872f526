//! How a new version of an app reaches the tenants: canaries, then waves, and no further than the first failure.
//!
//! - [`Rollouts`]: the rollouts of all apps; which version a pass over a tenant aims at, and who may go next
//! - `machine`: the rollout of one app, a pure state machine; `member`: a tenant in it; `policy`: what the App asks for
//! - [`Progress`]: what people read
//! - [`journal`]: what the registry has, by which the next leader goes on
//! - [`mod@conclude`]: what the end of a tenant's pass means

mod conclude;
mod fleet;
pub mod journal;
mod machine;
mod member;
mod policy;
mod progress;
#[cfg(test)]
mod tests;

pub use conclude::{admit, conclude};
pub use fleet::Rollouts;
pub use progress::Progress;
