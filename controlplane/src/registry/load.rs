//! Reads the registry.

use sqlx::PgConnection;
use tenantry_migrations::registry::{
    self, AppVersionRecord, Of, search_bindings, stream_bindings, tenant_apps, tenants,
};

use super::compose::Rows;

// One snapshot for all tables: a tenant must not be seen with the apps of another moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The rows of all tenants, and every published version.
pub(super) async fn everything(connection: &mut PgConnection) -> sqlx::Result<(Rows, Vec<AppVersionRecord>)> {
    let rows = rows(connection, Of::Every).await?;
    // After the tenants: what they have installed was published before.
    Ok((rows, versions(connection).await?))
}

/// The rows of one tenant.
pub(super) async fn tenant(connection: &mut PgConnection, name: String) -> sqlx::Result<Rows> {
    rows(connection, Of::One(&name)).await
}

/// The published versions of all apps.
pub(super) async fn versions(connection: &mut PgConnection) -> sqlx::Result<Vec<AppVersionRecord>> {
    registry::app_versions(connection, Of::Every).await
}

/// The published versions of one app.
pub(super) async fn versions_of(
    connection: &mut PgConnection,
    app: String,
) -> sqlx::Result<Vec<AppVersionRecord>> {
    registry::app_versions(connection, Of::One(&app)).await
}

async fn rows(connection: &mut PgConnection, of: Of<'_>) -> sqlx::Result<Rows> {
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
