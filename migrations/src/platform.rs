//! The migrations of the platform schema.

use sqlx::{PgPool, migrate::Migrator};

static MIGRATOR: Migrator = sqlx::migrate!("./platform");

/// The schema that the migrations make. A pool that runs them must have it as its `search_path`, since the migrator keeps
/// its own table in the first schema of that path.
pub const SCHEMA: &str = "tenantry";

/// The SQLSTATE that `tenantry.fence` raises for a leader whose epoch has passed.
pub const FENCED_SQLSTATE: &str = "TN001";

/// The SQLSTATE that `tenantry.refuse_others` raises where somebody else may become a tenant's role.
pub const NOT_ALONE_SQLSTATE: &str = "TN002";

/// The channel that registry changes are notified on. The payload is `tenant NAME` or `app NAME`.
pub const CHANNEL: &str = "tenantry_registry";

/// Brings the platform schema up to date. Run as `tenantry_operator`, which owns the schema.
///
/// # Errors
/// When a migration fails, or one that already ran has changed.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATOR.run(pool).await
}
