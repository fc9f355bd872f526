//! The instances that one tenant's data is in.

use tenantry_crds::names::InstanceName;

use super::{Backends, postgres::Cell, redis::Redis, search::Search};
use crate::error::{Error, SearchFault};

/// The instances of one tenant. A pass resolves them once and hands them down.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
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
}

impl Backends {
    /// The instances of a tenant.
    ///
    /// # Errors
    /// InstanceNotFound when the settings do not name one.
    pub fn placed(&self) -> Result<Placed<'_>, Error> {
        let name = InstanceName::default();
        let missing = || Error::Invalid(format!("there is no instance {name}"));
        Ok(Placed {
            cell: self.cells.get(&name).ok_or_else(missing)?,
            redis: self.redis.get(&name).ok_or_else(missing)?,
            search: self.search.get(&name),
        })
    }
}
