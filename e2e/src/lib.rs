//! The platform under test, for black-box tests, the demo and the benchmarks.
//!
//! - [`program`]: `tenantry-operator` and `tenantry-controlplane` as child processes
//! - [`platform`]: all of them on one stack: [`Platform::shared`] for most tests
//! - [`checkout`]: the manifests of this checkout
//! - [`cluster`]: a cluster with an operator, and what is in its backends: [`Cluster`]
//! - [`manifests`]: Apps, SearchIndexes and Tenants that tests apply
//! - [`world`]: a tenant with an app of its own, its callers, and their requests: [`World`], [`Answer`]
//! - [`client`]: a user of a tenant, as the demo and the writers of the durability test are

pub mod checkout;
pub mod client;
pub mod cluster;
mod credentials;
pub mod manifests;
pub mod platform;
pub mod program;
pub mod world;

pub use client::{Client, Unexpected};
pub use cluster::Cluster;
pub use credentials::Credentials;
pub use platform::Platform;
pub use world::{Answer, World};
