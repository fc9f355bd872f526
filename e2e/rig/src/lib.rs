//! The rig: a real etcd, kube-apiserver, PostgreSQL, Redis and Meilisearch as child processes on free loopback
//! ports. No container runtime, no root needed.
//!
//! It knows the contract with Kubernetes (`tenantry-crds`) and none of our programs, so their own tests can stand on it.
//!
//! - [`toolchain`]: finds the programs, or builds and installs them once into a per-user cache
//! - [`process`]: child processes that cannot outlive the process that started them
//! - [`stack`]: the five servers, started in parallel: [`Stack::shared`] for tests, [`Stack::private`] for one that says why
//! - [`endpoints`]: how to reach them, in memory and as an env file
//! - [`kind`]: what our kinds have in common
//! - [`kstatus`]: the rules of status, which every object is held against while an [`kstatus::Observer`] watches
//! - [`part`]: seeds, and which part of slow work a run does
//! - [`proxy`]: faults on the wire between a program and the servers
//! - [`wait`]: bounded polling, the only form of waiting

pub mod endpoints;
mod error;
pub mod kind;
pub mod kstatus;
mod kubectl;
pub mod part;
pub mod process;
pub mod proxy;
pub mod stack;
pub mod toolchain;
pub mod wait;

pub use endpoints::{Endpoints, SECOND};
pub use error::RigError;
pub use kind::ClusterKind;
pub use part::{Part, Seed};
pub use stack::{Stack, StackOptions};
pub use wait::eventually;
