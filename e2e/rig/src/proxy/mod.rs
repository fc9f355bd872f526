//! Faults on the wire: proxies between a program and the servers of a stack, whose behaviour a test changes while they run.
//!
//! - [`Wire`]: bytes: refused, hanging, cut in the middle, slow
//! - [`Filter`]: requests: answered with an error, or from the past
//! - [`Proxies`]: one in front of each server, and the settings that lead a program through them

mod filter;
mod proxies;
mod wire;

pub use filter::{Answer, Fault, Filter};
pub use proxies::Proxies;
pub use wire::{Mode, Wire};
