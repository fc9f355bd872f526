//! Child processes that cannot outlive the process that started them.
//!
//! - [`Sandbox`]: a scratch folder and the watchdog that ends every child when this process is gone, even by SIGKILL
//! - [`Launch`]: what to run; [`Process`]: the running child with its log
//! - [`Server`]: a process that is ready when it answers, and that can be stopped, killed, paused and started again
//! - [`Identity`]: the unprivileged account for servers that refuse to run as root
//! - [`captured()`]: a command that runs to its end
//! - [`ports`]: free loopback ports

mod captured;
mod identity;
mod launch;
pub mod ports;
mod running;
mod sandbox;
mod server;

pub use captured::captured;
pub use identity::Identity;
pub use launch::Launch;
pub use running::Process;
pub use rustix::process::Signal;
pub use sandbox::Sandbox;
pub use server::{Plan, Probe, Server};
pub use tenantry_toolchain::tail;
