//! What the last look found in place, so that the next one need not read it all again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use kube::{Resource, ResourceExt};
use tenantry_crds::v1alpha1::Tenant;

use crate::{
    backend::postgres::observe::Digest,
    backend::search::{IndexSettings, WantedIndex},
    context::Stores,
    tenant::desired::Desired,
};

/// Everything that decides what a tenant should be: the same means the same [`Desired`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(u64);

/// The versions of all definitions.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Definitions(u64);

impl Definitions {
    /// As the caches have them.
    pub fn of(stores: &Stores) -> Self {
        let mut versions: Vec<(String, Option<String>)> = Vec::new();
        versions.extend(stores.apps.state().iter().map(|app| version(&**app)));
        versions.extend(stores.search_indexes.state().iter().map(|index| version(&**index)));
        versions.sort_unstable();
        let mut hasher = DefaultHasher::new();
        versions.hash(&mut hasher);
        Self(hasher.finish())
    }
}

fn version<K: Resource<DynamicType = ()>>(object: &K) -> (String, Option<String>) {
    (format!("{}/{}", K::kind(&()), object.name_any()), object.resource_version())
}

impl Wanted {
    /// Of `tenant` under these definitions.
    pub fn of(tenant: &Tenant, definitions: Definitions) -> Self {
        let mut hasher = DefaultHasher::new();
        (definitions, tenant.uid(), tenant.metadata.generation, tenant.labels(), tenant.annotations())
            .hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What was in place.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// What was wanted then.
    pub wanted: Wanted,
    /// What Postgres had then.
    pub digest: Digest,
    /// The keys of the tenant's streams.
    pub streams: Box<[Box<str>]>,
    /// Its search indexes.
    pub indexes: Box<[WantedIndex]>,
}

impl InPlace {
    /// What `desired` wants in Redis and in the engine, where Postgres has it.
    pub fn new(wanted: Wanted, digest: Digest, desired: &Desired) -> Self {
        Self {
            wanted,
            digest,
            streams: desired.streams.iter().map(|stream| stream.key.as_str().into()).collect(),
            indexes: desired
                .searches
                .iter()
                .map(|search| WantedIndex {
                    uid: search.index.as_str().into(),
                    settings: IndexSettings::of(&search.settings).digest(),
                })
                .collect(),
        }
    }
}

/// What was in place, by tenant. As large as the fleet, at some 300 bytes for each.
pub type Memory = HashMap<String, InPlace>;
