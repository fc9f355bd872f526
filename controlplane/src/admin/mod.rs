//! `/api/v1/admin`: Tenants as resources of the cluster, for callers of the cluster.
//!
//! A caller shows a Kubernetes token. The cluster says whose it is (TokenReview) and what its holder may do
//! (SubjectAccessReview), so rights are given in one place, as for kubectl. What is allowed is carried out with the control
//! plane's own account. Nothing else of the control plane needs the Kubernetes API.
//!
//! - [`cluster`]: the client, made when it is first needed
//! - [`access`]: who calls, and whether they may
//! - [`routes`]: the API
//! - [`refusal`]: the cluster's refusals as problem documents

mod access;
mod cluster;
mod refusal;
mod routes;

pub use cluster::Cluster;
pub use routes::{ROUTES, router};
