//! The backends: Postgres as the provisioner logins, Redis, the search engine.

use sqlx::PgPool;
use tenantry_config::settings;

use crate::{error::Error, metrics::Metrics};

/// Connections to every backend, opened on demand.
#[derive(Debug)]
pub struct Backends {}

impl Backends {
    /// Reads the settings; opens no connection.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(_settings: &settings::Operator, _metrics: Metrics) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Makes the logins that the platform needs before any tenant, as the control plane's. Called once leadership is won,
    /// with a connection pool of `tenantry_operator`.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn prepare(&self, _database: &PgPool) -> Result<(), Error> {
        Ok(())
    }
}
