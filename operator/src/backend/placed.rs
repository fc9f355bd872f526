//! The instances that one tenant's data is in.

use tenantry_crds::{names::InstanceName, reason::Reason, v1alpha1::PlacementSpec};
use tenantry_migrations::registry::Placement;

use super::{Backends, postgres::Cell, redis::Redis, search::Search};
use crate::error::{Error, SearchFault};

/// The instances of one tenant. A pass resolves them once and hands them down.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    /// Their names.
    pub placement: Placement,
    /// They were chosen just now: until the registry says so, a crash would forget it.
    pub chosen: bool,
    /// Its Postgres instance.
    pub cell: &'a Cell,
    /// Its Redis instance.
    pub redis: &'a Redis,
    search: Option<&'a Search>,
}

impl<'a> Placed<'a> {
    /// Its search instance.
    ///
    /// # Errors
    /// When none is configured.
    pub fn search(&self) -> Result<&'a Search, Error> {
        self.search.ok_or_else(|| Error::search("using search indexes")(SearchFault::NotConfigured))
    }

    /// As the status says it.
    pub fn status(&self) -> PlacementSpec {
        let Placement { postgres, redis, search } = &self.placement;
        let text = |name: &InstanceName| Some(name.as_str().to_owned());
        PlacementSpec {
            postgres: text(postgres),
            redis: text(redis),
            search: text(search),
            connections: None,
        }
    }
}

impl Backends {
    /// The instances with these names.
    ///
    /// # Errors
    /// InstanceNotFound when the settings do not name one.
    pub fn placed(&self, placement: Placement, chosen: bool) -> Result<Placed<'_>, Error> {
        let redis = self.redis.get(&placement.redis).map(|one| &one.of);
        let redis = redis.ok_or_else(|| not_found("redis", &placement.redis, self.redis.keys()))?;
        let search = self.search.get(&placement.search).map(|one| &one.of);
        // Without any engine the default one is what a tenant waits for when it needs it.
        if search.is_none() && placement.search != InstanceName::default() {
            return Err(not_found("search", &placement.search, self.search.keys()));
        }
        Ok(Placed { cell: self.cell(&placement.postgres)?, redis, search, placement, chosen })
    }

    /// The Postgres instance with this name.
    ///
    /// # Errors
    /// InstanceNotFound when the settings do not name it.
    pub fn cell(&self, name: &InstanceName) -> Result<&Cell, Error> {
        let cell = self.cells.get(name).map(|one| &one.of);
        cell.ok_or_else(|| not_found("postgres", name, self.cells.keys()))
    }
}

fn not_found<'a>(kind: &str, name: &InstanceName, known: impl Iterator<Item = &'a InstanceName>) -> Error {
    let known: Vec<_> = known.map(InstanceName::as_str).collect();
    Error::blocked(
        Reason::InstanceNotFound,
        format!(
            "the settings name no {kind} instance {name}; known are {}; add it to instances.{kind}, or correct \
             spec.placement.{kind}",
            known.join(", ")
        ),
    )
}
