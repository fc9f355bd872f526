//! The migrations of the platform schema.

use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
};

static MIGRATOR: Migrator = {
    let mut migrator = sqlx::migrate!("./platform");
    // It would lock by an advisory lock, which every login can hold. `TURN` takes its place.
    migrator.locking = false;
    migrator
};

/// The schema that the migrations make. A pool that runs them must have it as its `search_path`, since the migrator keeps
/// its own table in the first schema of that path.
pub const SCHEMA: &str = "tenantry";

/// The SQLSTATE that `tenantry.fence` raises for a leader whose epoch has passed.
pub const FENCED_SQLSTATE: &str = "TN001";

/// The SQLSTATE that `tenantry.refuse_others` raises where somebody else may become a tenant's role.
pub const NOT_ALONE_SQLSTATE: &str = "TN002";

/// Whoever migrates, holds this table. Nobody but its owner, the operator, has a right to it, so nobody else can lock it.
const TURN: &str = "CREATE TABLE IF NOT EXISTS tenantry.migration_turn ()";

/// What waits for a table makes all others wait who come after it: so the wait is short, and begun again later. A process that
/// froze holds nothing for long.
const LIMITS: &str = "SET LOCAL lock_timeout = '1s'; SET LOCAL idle_in_transaction_session_timeout = '30s'; \
                      LOCK TABLE tenantry.migration_turn IN ACCESS EXCLUSIVE MODE";

/// The other sessions with a lock in the schema, the oldest transactions first as far as they are to be seen.
const HOLDERS: &str = "SELECT coalesce(a.usename::text, 'a prepared transaction') || coalesce(' (pid ' || l.pid || ')', '') \
     FROM (SELECT DISTINCT pid FROM pg_catalog.pg_locks \
        WHERE locktype = 'relation' AND granted AND pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
          AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
          AND relation IN (SELECT oid FROM pg_catalog.pg_class WHERE relnamespace = 'tenantry'::pg_catalog.regnamespace)) l \
     LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid ORDER BY a.xact_start NULLS LAST LIMIT 5";

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("migrating schema tenantry")]
    Database(#[from] sqlx::Error),
    /// A migration failed, or one that already ran has changed.
    #[error(transparent)]
    Migration(MigrateError),
    /// Others hold tables that a migration changes. Nothing was changed.
    #[error("a migration waits for tables of schema tenantry that are held, perhaps by {holders}")]
    Locked {
        /// Logins and process ids.
        holders: String,
        /// What the server said.
        source: MigrateError,
    },
}

/// Brings the platform schema up to date, in one transaction: all of it or nothing. Run as `tenantry_operator`, which owns the schema.
///
/// # Errors
/// When a migration fails, or one that already ran has changed; [`Error::Locked`] when it is to be tried again later.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    let mut connection = pool.acquire().await?;
    match attempt(&mut connection).await {
        Err(source) if is_locked(&source) => {
            let holders: Vec<String> = sqlx::query_scalar(HOLDERS).fetch_all(&mut *connection).await?;
            let nobody = || "others that are gone by now".to_owned();
            let holders = if holders.is_empty() { nobody() } else { holders.join(", ") };
            Err(Error::Locked { holders, source })
        }
        done => done.map_err(Error::Migration),
    }
}

async fn attempt(connection: &mut PgConnection) -> Result<(), MigrateError> {
    sqlx::raw_sql(TURN).execute(&mut *connection).await?;
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(LIMITS).execute(&mut *transaction).await?;
    MIGRATOR.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}

/// Whether an attempt failed by what others do at this moment: they hold a table, or make the very one that we make.
fn is_locked(error: &MigrateError) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const UNIQUE_VIOLATION: &str = "23505";
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, LOCK_NOT_AVAILABLE | UNIQUE_VIOLATION))
}
