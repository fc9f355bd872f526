//! The rig: a real etcd, kube-apiserver, PostgreSQL, Redis and Meilisearch as child processes on free loopback
//! ports, and our own programs beside them. No container runtime, no root needed.
//!
//! - [`toolchain`]: finds the binaries, or builds and installs them once into a per-user cache
//! - [`process`]: child processes that cannot outlive the process that started them
//! - [`stack`]: the five servers, started in parallel: [`Stack::start`] for a private one, [`Stack::shared`] for tests
//! - [`endpoints`]: how to reach them, in memory and as an env file
//! - [`program`]: `tenantry-operator` and `tenantry-controlplane` under test
//! - [`platform`]: all of it together: [`Platform::shared`] for most tests
//! - [`kind`]: what our kinds have in common
//! - [`kstatus`]: the rules of status, which every object is held against while a program of ours runs
//! - [`proxy`]: faults on the wire between a program and the servers
//! - [`wait`]: bounded polling, the only form of waiting

mod credentials;
pub mod endpoints;
mod error;
pub mod kind;
pub mod kstatus;
mod kubectl;
pub mod platform;
pub mod process;
pub mod program;
pub mod proxy;
pub mod stack;
pub mod toolchain;
pub mod wait;

pub use credentials::Credentials;
pub use endpoints::{Endpoints, SECOND};
pub use error::RigError;
pub use kind::ClusterKind;
pub use platform::Platform;
pub use stack::{Stack, StackOptions};
pub use wait::eventually;
