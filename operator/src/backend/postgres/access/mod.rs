//! Direct access to a tenant's schema in Postgres, and the registry's rows of it for every backend.
//!
//! - [`mod@look`]: what is there
//! - [`grants`]: what a level may do
//! - [`change`]: what can be changed, and the SQL of it

mod change;
mod grants;
mod look;
#[cfg(test)]
mod tests;

pub use change::{AccessChange, AccessRow, Issued, RowKey, script};
pub use grants::{Verifier, login_in_place, role_in_place};
pub use look::{AccessRecord, Group, ObservedAccess, look};
