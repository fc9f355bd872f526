//! Reads the registry.

use sqlx::PgConnection;
use tenantry_migrations::registry::{
    self, AppVersionRecord, Of, search_bindings, stream_bindings, tenant_apps, tenants,
};

use super::compose::Rows;

// One snapshot for all tables: a tenant must not be seen with the apps of another moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The rows of all tenants, or of one.
pub(super) async fn rows(connection: &mut PgConnection, of: Of<'_>) -> sqlx::Result<Rows> {
    use sqlx::Connection;
    let mut transaction = connection.begin_with(BEGIN).await?;
    let rows = Rows {
        tenants: tenants(&mut *transaction, of).await?,
        apps: tenant_apps(&mut *transaction, of).await?,
        search: search_bindings(&mut *transaction, of).await?,
        streams: stream_bindings(&mut *transaction, of).await?,
    };
    transaction.commit().await?;
    Ok(rows)
}

/// The published versions of all apps, or of one.
pub(super) async fn versions(
    connection: &mut PgConnection,
    of: Of<'_>,
) -> sqlx::Result<Vec<AppVersionRecord>> {
    registry::app_versions(connection, of).await
}
