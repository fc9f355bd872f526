//! The contract with the process, shared by both programs.
//!
//! - [`load()`]: settings, from defaults, a file and the environment
//! - [`settings`]: what can be set
//! - [`instances`]: the backends that can be one of several
//! - [`network`]: sets of addresses
//! - [`telemetry`]: logs, on standard error
//! - [`shutdown`]: one signal, seen everywhere
//! - [`probes`]: `/livez`, `/readyz` and `/metrics`

pub mod instances;
mod load;
pub mod network;
pub mod probes;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use load::{Error, load};
