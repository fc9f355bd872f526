//! The contract with the process, shared by both programs.
//!
//! - [`load`]: settings, from defaults, a file and the environment
//! - [`settings`]: what can be set
//! - [`telemetry`]: logs, on standard error
//! - [`shutdown`]: one signal, seen everywhere
//! - [`probes`]: `/livez`, `/readyz` and `/metrics`

mod load;
pub mod probes;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use load::{Error, load};
