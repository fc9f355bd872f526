//! What the registry has of rollouts: the version of each tenant, and why it did not reach another.

use tenantry_crds::names::AppName;
use tenantry_migrations::logins::LoginShard;

use super::{fleet::Verdict, member::Failure};
use crate::{backend::postgres::Cell, catalog::Version, error::Error, killpoint::killpoint};

/// A row of `tenantry.tenant_app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The tenant.
    pub tenant: String,
    /// The app.
    pub app: AppName,
    /// The version that its tables are at.
    pub version: Version,
    /// The last failure, if nothing healed it.
    pub failure: Option<Failure>,
    /// Where the tenant's roles are.
    pub shard: LoginShard,
}

type Row = (String, String, String, Option<String>, Option<String>, Option<String>, i16);

/// The apps of every tenant in a cell.
///
/// # Errors
/// When Postgres fails.
pub async fn read(cell: &Cell) -> Result<Vec<Installed>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.tenant, a.app, a.version, a.failed_version, a.failure_reason, a.failure, t.login_shard \
         FROM tenantry.tenant_app a JOIN tenantry.tenant t ON t.name = a.tenant",
    )
    .fetch_all(cell.database())
    .await
    .map_err(Error::database("reading the versions of tenants"))?;
    rows.into_iter().map(installed).collect()
}

fn installed((tenant, app, version, failed, reason, message, shard): Row) -> Result<Installed, Error> {
    let failure = failed.map(|version| Failure {
        version: Version::new(&version),
        reason: reason.unwrap_or_default(),
        message: message.unwrap_or_default(),
    });
    let app = AppName::new(&app)?;
    Ok(Installed { tenant, app, version: Version::new(&version), failure, shard: LoginShard::new(shard) })
}

/// Writes what the end of a pass over `tenant` means; nothing when the registry has it already.
///
/// # Errors
/// When Postgres fails, or another operator leads by now.
pub(super) async fn write(cell: &Cell, tenant: &str, verdict: &Verdict) -> Result<(), Error> {
    let doing = "noting how the rollout to a tenant ended";
    let failure = verdict.failure.as_ref();
    let mut transaction = cell.fenced().await?;
    sqlx::query(
        "UPDATE tenantry.tenant_app SET failed_version = $3, failure_reason = $4, failure = $5 \
         WHERE tenant = $1 AND app = $2 \
           AND (failed_version, failure_reason, failure) IS DISTINCT FROM ($3, $4, $5)",
    )
    .bind(tenant)
    .bind(verdict.app.as_str())
    .bind(failure.map(|failure| failure.version.as_str()))
    .bind(failure.map(|failure| failure.reason.as_str()))
    .bind(failure.map(|failure| failure.message.as_str()))
    .execute(&mut *transaction)
    .await
    .map_err(Error::database(doing))?;
    killpoint!("rollout.journal", transaction.commit().await).map_err(Error::database(doing))
}
