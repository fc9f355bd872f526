//! Ends sessions of tenants' own logins that go beyond their limits.
//!
//! Postgres holds the limits, too, as settings of the login, and a session may set them otherwise. A transaction that stays open keeps
//! old rows in the tables of everybody, and holds up whoever waits for its locks: so somebody has to look.
//!
//! - [`limits`]: what is too long. Pure

mod limits;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use prometheus::IntCounterVec;
use sqlx::FromRow;
use tokio_util::sync::CancellationToken;

use self::limits::Session;
use crate::{
    backend::{Backends, postgres::Cell},
    error::Error,
    metrics::Families,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// An instance that takes longer is looked at another time.
const LIMIT: Duration = Duration::from_secs(10);

/// The metric of the watchdog.
#[derive(Debug, Clone)]
pub struct WatchdogMetrics {
    ended: IntCounterVec,
}

impl WatchdogMetrics {
    /// Registers the metric.
    ///
    /// # Errors
    /// When its name is taken.
    pub fn new(families: &mut Families) -> prometheus::Result<Self> {
        let ended = families.counters(
            "tenantry_sessions_ended_total",
            "Sessions of tenants' own logins that were ended because they went beyond a limit",
            &["limit"],
        )?;
        Ok(Self { ended })
    }
}

/// Sessions of logins that tenants have themselves: those of direct access, and those that serve one tenant alone. Their groups tell
/// them from logins of others that happen to be called so. Ages are in seconds by the server's clock; no limit is below a minute.
const SESSIONS: &str = r"
SELECT a.pid, a.backend_start::text AS since, a.usename::text AS login, coalesce(a.state, '') AS state,
    coalesce(extract(epoch FROM clock_timestamp() - a.query_start), 0)::float8 AS statement,
    coalesce(extract(epoch FROM clock_timestamp() - a.state_change), 0)::float8 AS unchanged,
    coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8 AS transaction,
    coalesce(l.advisory, 0) AS advisory
FROM pg_catalog.pg_stat_activity a
LEFT JOIN (
    SELECT pid, count(*) AS advisory FROM pg_catalog.pg_locks WHERE locktype = 'advisory' GROUP BY pid
) l ON l.pid = a.pid
WHERE a.datname = pg_catalog.current_database() AND a.backend_type = 'client backend'
  AND (a.xact_start < clock_timestamp() - interval '1 minute' OR l.advisory > 0)
  AND (a.usename ~ '^access_[0-9a-f]{32}_[ab]$'
       AND pg_catalog.pg_has_role(a.usesysid, pg_catalog.to_regrole('tenantry_access')::oid, 'USAGE')
    OR a.usename ~ '^tenant_.*-traffic$'
       AND pg_catalog.pg_has_role(a.usesysid, pg_catalog.to_regrole('tenantry_migrators')::oid, 'USAGE'))";

/// The session may have ended by itself, and its process id be another's by now.
const END: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
     WHERE pid = $1 AND backend_start = $2::timestamptz";

#[derive(Debug, FromRow)]
struct SessionRow {
    pid: i32,
    since: String,
    login: String,
    state: String,
    statement: f64,
    unchanged: f64,
    transaction: f64,
    advisory: i64,
}

/// Looks after all instances until `stop`.
pub async fn watch(backends: Arc<Backends>, metrics: WatchdogMetrics, stop: CancellationToken) {
    let watched = join_all(backends.cells().map(|cell| of_cell(cell, &metrics)));
    tokio::select! {
        () = stop.cancelled() => {}
        _ = watched => {}
    }
}

async fn of_cell(cell: &Cell, metrics: &WatchdogMetrics) {
    let mut may = true;
    loop {
        tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.9..1.1))).await;
        match tokio::time::timeout(LIMIT, look(cell, metrics)).await {
            Ok(Ok(able)) => {
                if may && !able {
                    tracing::warn!(instance = %cell.name(),
                        "sessions of tenants beyond their limits are not ended: tenantry_operator needs pg_read_all_stats and pg_signal_backend");
                }
                may = able;
            }
            // Passes and probes tell that an instance is away.
            Ok(Err(error)) => {
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::debug!(instance = %cell.name(), error, "looking at sessions");
            }
            Err(_) => tracing::debug!(instance = %cell.name(), "looking at sessions took too long"),
        }
    }
}

/// One look; whether we may see and end sessions.
async fn look(cell: &Cell, metrics: &WatchdogMetrics) -> Result<bool, Error> {
    let database = cell.database();
    let able =
        "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AND pg_has_role('pg_signal_backend', 'USAGE')";
    if !sqlx::query_scalar(able).fetch_one(database).await.map_err(failed)? {
        return Ok(false);
    }
    let sessions = sqlx::query_as::<_, SessionRow>(SESSIONS).fetch_all(database).await.map_err(failed)?;
    for session in sessions {
        let Some(limit) = session.state().beyond() else { continue };
        let ended: Option<bool> = sqlx::query_scalar(END)
            .bind(session.pid)
            .bind(&session.since)
            .fetch_optional(database)
            .await
            .map_err(failed)?;
        if ended == Some(true) {
            metrics.ended.with_label_values(&[limit.as_str()]).inc();
            tracing::warn!(instance = %cell.name(), login = session.login, limit = limit.as_str(), "session ended: it went beyond a limit");
        }
    }
    Ok(true)
}

impl SessionRow {
    fn state(&self) -> Session {
        let age = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        let active = self.state == "active" || self.state == "fastpath function call";
        Session {
            statement: active.then(|| age(self.statement)),
            // In a transaction, failed or not, and doing nothing.
            idle: self.state.starts_with("idle in transaction").then(|| age(self.unchanged)),
            transaction: age(self.transaction),
            advisory_locks: self.advisory,
        }
    }
}

fn failed(source: sqlx::Error) -> Error {
    Error::Database { doing: "looking at sessions", source }
}
