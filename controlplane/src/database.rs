//! The control plane's own login, for all that is the same for every tenant, and every connection that it has; tenants' traffic
//! goes through [`crate::postgres`].
//!
//! - [`Watch`]: a connection that is asked again and again

#[cfg(test)]
pub mod on_servers;
mod watch;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tenantry_config::settings::ControlPlaneDatabase;
use tenantry_migrations::logins::{LoginKey, LoginName, WeakKey};

use crate::postgres::{Address, AddressError};

pub use watch::{Lost, Patience, Watch};

const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
/// Milliseconds; the largest read is that of the whole registry.
const STATEMENT_LIMIT: &str = "20000";
/// Milliseconds. What a tenant's transaction holds is waited for no longer; who asked, asks again.
const LOCK_LIMIT: &str = "2000";
/// Milliseconds. A process that froze in a transaction holds nothing longer.
const IDLE_LIMIT: &str = "10000";

/// The key of the traffic logins.
///
/// # Errors
/// When it is too short.
pub fn traffic_key(settings: &ControlPlaneDatabase) -> Result<LoginKey, WeakKey> {
    LoginKey::new(settings.traffic_key.clone())
}

/// Where tenants' traffic goes.
///
/// # Errors
/// When the URL cannot be read.
pub fn address(url: &SecretString) -> Result<Address, AddressError> {
    Address::parse(url.expose_secret())
}

/// The way into an instance as the login `tenantry_controlplane`, which reads no tenant's rows.
#[derive(Debug, Clone)]
pub struct Login(PgConnectOptions);

impl Login {
    /// Opens no connection.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(url: &SecretString, key: &LoginKey) -> Result<Self, sqlx::Error> {
        let login = LoginName::control_plane();
        let options: PgConnectOptions = url.expose_secret().parse()?;
        Ok(Self(
            options
                .username(login.as_str())
                .password(key.password(&login).expose_secret())
                .application_name("tenantry-controlplane")
                .options([
                    ("statement_timeout", STATEMENT_LIMIT),
                    ("lock_timeout", LOCK_LIMIT),
                    ("idle_in_transaction_session_timeout", IDLE_LIMIT),
                    ("search_path", "pg_catalog"),
                ]),
        ))
    }

    /// Connections that are opened when they are needed.
    pub fn pool(&self) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(6).acquire_timeout(ACQUIRE_LIMIT);
        pool.connect_lazy_with(self.0.clone())
    }

    /// A connection for one follower or duty. The caller bounds the time.
    ///
    /// # Errors
    /// When Postgres does not answer, or refuses.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.0).await
    }

    /// As the login that `url` names.
    #[cfg(test)]
    pub fn of_url(url: &str) -> Self {
        Self(url.parse().unwrap())
    }
}
