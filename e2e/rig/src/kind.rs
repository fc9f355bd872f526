//! Our kinds, as tests see them.

use kube::{Resource, core::ClusterResourceScope};
use serde::{Serialize, de::DeserializeOwned};

/// A cluster-scoped kind whose objects are read and written.
pub trait ClusterKind:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
}

impl<K> ClusterKind for K where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
{
}
