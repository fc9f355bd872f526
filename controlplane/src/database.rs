//! The control plane's own login, for all that is the same for every tenant; tenants' traffic goes through
//! [`crate::postgres`].

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tenantry_config::settings::ControlPlaneDatabase;
use tenantry_migrations::logins::{LoginKey, LoginName, WeakKey};

use crate::postgres::{Address, AddressError};

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

/// How to connect as the login `tenantry_controlplane`.
///
/// # Errors
/// When the URL cannot be read.
pub fn options(url: &SecretString, key: &LoginKey) -> Result<PgConnectOptions, sqlx::Error> {
    let login = LoginName::control_plane();
    let options: PgConnectOptions = url.expose_secret().parse()?;
    Ok(options
        .username(login.as_str())
        .password(key.password(&login).expose_secret())
        .application_name("tenantry-controlplane")
        .options([
            ("statement_timeout", STATEMENT_LIMIT),
            ("lock_timeout", LOCK_LIMIT),
            ("idle_in_transaction_session_timeout", IDLE_LIMIT),
            ("search_path", "pg_catalog"),
        ]))
}

/// Connections of the login `tenantry_controlplane`, opened when they are needed.
pub fn pool(options: &PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(6).acquire_timeout(ACQUIRE_LIMIT);
    pool.connect_lazy_with(options.clone())
}
