//! The session in which a tenant's rows are looked at or moved, and its apps' SQL runs: a login that is there only meanwhile, with the
//! tenant's owner role and nothing else. Whatever that SQL does, `RESET ROLE` included, it stays within the tenant.

use std::{
    fmt,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use tenantry_crds::definition::Migration;
use tenantry_migrations::sql::{Ident, Literal};
use tokio::time::timeout;

use super::{
    change::Identity,
    dial::{Connected, Owner, OwnerLogin},
    step_sql::{Pace, Statement},
};
use crate::{error::Error, killpoint::killpoint};

/// For what takes no time: saying goodbye, setting limits.
const SHORT: Duration = Duration::from_secs(5);
/// Traffic queues behind a change that waits for its table, so it does not wait for long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// For a statement that holds its table.
const BRIEF: Duration = Duration::from_secs(10);
/// For one that goes on beside the traffic.
const BESIDE: Duration = Duration::from_secs(3600);
/// For the SQL of a migration as a whole.
pub const MIGRATION: Duration = Duration::from_secs(300);
/// What the server's own limit may be exceeded by before the connection counts as lost.
const GRACE: Duration = Duration::from_secs(15);

/// A password that nobody knows and nothing keeps.
pub fn new_password() -> SecretString {
    SecretString::from(format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()))
}

/// How a tenant's migrator connects.
#[derive(Clone)]
pub struct Migrator {
    login: OwnerLogin,
    schema: String,
}

/// A connection as a tenant's migrator, as its owner role.
pub struct Session {
    connection: Connected<Owner>,
}

impl Migrator {
    /// Connects as `login`, which is that of `tenant`.
    pub(super) fn new(login: OwnerLogin, tenant: &Identity) -> Self {
        Self { login, schema: tenant.schema.as_str().to_owned() }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn connect(&self) -> Result<Session, Error> {
        Ok(Session { connection: self.login.connect().await? })
    }

    /// Opens a session that moves the tenant's rows, for as long as `limit`.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn transfer(&self, limit: Duration) -> Result<Connected<Owner>, Error> {
        self.login.transfer(limit).await
    }

    /// Opens a transaction for a migration, in a session of its own: nothing that its SQL leaves behind meets another.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn begin(&self) -> Result<(Attempt, String), Error> {
        let mut session = self.connect().await?;
        session.limit(LOCK_TIMEOUT, MIGRATION).await?;
        let doing = "beginning a migration";
        session.run("BEGIN", MIGRATION, doing).await?;
        let transaction: String = sqlx::query_scalar("SELECT pg_catalog.pg_current_xact_id()::text")
            .fetch_one(&mut *session.connection)
            .await
            .map_err(Error::database(doing))?;
        let path = format!("SET LOCAL search_path = {}", Ident(&self.schema));
        session.run(&path, MIGRATION, doing).await?;
        Ok((Attempt(session), transaction))
    }
}

/// A migration in its transaction. Dropped, it is rolled back.
pub struct Attempt(Session);

impl Attempt {
    /// Runs the SQL and commits.
    ///
    /// It is executed by a block of PL/pgSQL, which knows no transaction control: the SQL can neither end our transaction
    /// early, so that half of it stays, nor begin another.
    ///
    /// # Errors
    /// When the SQL fails. Then nothing of it stays.
    pub async fn finish(mut self, migration: &Migration) -> Result<(), Error> {
        let doing = "running a migration";
        let body = format!("BEGIN EXECUTE {}; END", Literal(&migration.sql));
        self.0.run(&format!("DO LANGUAGE plpgsql {}", Literal(&body)), MIGRATION, doing).await?;
        // What it deferred runs at COMMIT, and it may have changed the limits.
        self.0.limit(LOCK_TIMEOUT, MIGRATION).await?;
        killpoint!("migration.commit", self.0.run("COMMIT", MIGRATION, doing).await)?;
        // Not worth an error: it is committed.
        let _closed = timeout(SHORT, self.0.connection.close()).await;
        Ok(())
    }
}

impl Session {
    /// Runs a statement of a step.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn execute(&mut self, statement: &Statement) -> Result<(), Error> {
        let (lock, limit) = match statement.pace {
            Pace::Brief => (LOCK_TIMEOUT, BRIEF),
            // It waits for transactions to end, and nobody waits for it.
            Pace::Beside => (Duration::ZERO, BESIDE),
        };
        self.limit(lock, limit).await?;
        killpoint!(
            "step.statement",
            self.run(&statement.sql, limit, "changing a table that holds rows").await
        )
    }

    /// Makes brief changes, all or none.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn change(&mut self, script: &str) -> Result<(), Error> {
        self.limit(LOCK_TIMEOUT, BRIEF).await?;
        killpoint!("migrator.change", self.run(script, BRIEF, "changing the tenant's schema").await)
    }

    /// Counts rows.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn count(&mut self, sql: String) -> Result<i64, Error> {
        let doing = "counting rows";
        self.limit(LOCK_TIMEOUT, BESIDE).await?;
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *self.connection);
        timeout(BESIDE + GRACE, query)
            .await
            .map_err(|_| Error::Timeout { doing, limit: BESIDE })?
            .map_err(Error::database(doing))
    }

    async fn limit(&mut self, lock: Duration, statement: Duration) -> Result<(), Error> {
        let sql = format!(
            "SET lock_timeout = {}; SET statement_timeout = {}",
            lock.as_millis(),
            statement.as_millis()
        );
        self.run(&sql, SHORT, "limiting a session").await
    }

    async fn run(&mut self, sql: &str, limit: Duration, doing: &'static str) -> Result<(), Error> {
        let started = Instant::now();
        let sent = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut *self.connection);
        let done = timeout(limit + GRACE, sent).await;
        tracing::debug!(doing, took = ?started.elapsed(), "ran");
        done.map_err(|_| Error::Timeout { doing, limit })?.map(|_| ()).map_err(Error::database(doing))
    }
}

impl fmt::Debug for Migrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrator").finish_non_exhaustive()
    }
}
