//! SearchIndex: checks what it names, and tells which one applies to a tenant. The Tenant reconcile makes the indexes.

mod effective;
mod fields;
mod reconcile;
#[cfg(test)]
mod tests;

pub use effective::{EffectiveIndex, effective_for};
