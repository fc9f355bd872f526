//! Snapshots: a tenant as files, and back.
//!
//! - [`format`](mod@format): what the files are and say
//! - [`store`]: where they are, a folder or an S3-compatible bucket
//! - [`export`]: writes them, and reads them back before anything may be dropped
//! - [`factors`]: second factors of users, which no table of the tenant has
//! - [`restore`]: makes a new tenant of them
//! - [`jobs`]: both run beside the passes, since they take longer than a pass may

pub mod export;
pub mod factors;
pub mod format;
pub mod jobs;
pub mod restore;
pub mod store;

pub use jobs::{Job, Jobs, Step};
pub use store::Store;
