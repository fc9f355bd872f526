//! App: compiles the definition, checks what it builds on, publishes it, rolls it out, and counts who uses it.

mod checks;
mod publish;
mod reconcile;
mod status;
mod target;
#[cfg(test)]
mod tests;

pub use publish::{load, publish, publish_core};
pub use target::load as load_targets;
