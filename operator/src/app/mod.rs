//! App: compiles the definition, checks what it builds on, publishes it, and counts who uses it.

mod checks;
mod publish;
mod reconcile;
#[cfg(test)]
mod tests;

pub use publish::{load, publish, publish_core};
