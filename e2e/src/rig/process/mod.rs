//! Child processes that cannot outlive the process that started them.
//!
//! - [`Sandbox`]: a scratch folder and the watchdog that ends every child when this process is gone, even by SIGKILL
//! - [`Launch`]: what to run; [`Process`]: the running child with its log
//! - [`Identity`]: the unprivileged account for servers that refuse to run as root
//! - [`ports`]: free loopback ports

mod identity;
mod launch;
mod log;
pub mod ports;
mod running;
mod sandbox;

pub use identity::Identity;
pub use launch::Launch;
pub use log::tail;
pub use running::Process;
pub use rustix::process::Signal;
pub use sandbox::Sandbox;
