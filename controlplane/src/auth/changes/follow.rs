//! Keeps [`Changes`] current: all recent ones at each connect and once a minute, new ones some times a second.

use std::{convert::Infallible, sync::Arc, time::Duration};

use sqlx::{FromRow, PgConnection, PgPool};
use tenantry_migrations::{
    changes::{self, Snapshot},
    is_new,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Change, Changes, Subject};
use crate::{auth::token, database::Login, error::Chain};

const RESYNC: Duration = Duration::from_secs(60);
const RECONNECT: Duration = Duration::from_millis(500);
/// Between two looks, unless one takes longer than half of this.
const LOOK: Duration = Duration::from_millis(100);
/// A look that takes longer means that the server is gone.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(20);
/// How long a change may hold the answer to it up.
const JUST_NOW: Duration = Duration::from_millis(500);
/// Seconds that a change is of interest: as long as a token may live, and some.
const OF_INTEREST: u64 = token::MAX_LIFETIME.as_secs() + 3600;

#[derive(Debug, FromRow)]
struct ChangeRow {
    role: String,
    id: String,
    version: i64,
    state: Option<String>,
    at: f64,
}

/// A change with the snapshot that shows it, or the snapshot alone.
#[derive(Debug, FromRow)]
struct NewRow {
    seen: String,
    role: Option<String>,
    id: Option<String>,
    version: Option<i64>,
    state: Option<String>,
    at: Option<f64>,
}

impl NewRow {
    fn change(self) -> Option<ChangeRow> {
        Some(ChangeRow {
            role: self.role?,
            id: self.id?,
            version: self.version?,
            state: self.state,
            at: self.at?,
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("reading changes of users")]
    Database(#[from] sqlx::Error),
    #[error("reading changes of users took longer than {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
}

/// Follows the changes of one Postgres instance until `shutdown`. While it is away, what is known stays in use.
pub async fn follow(changes: Arc<Changes>, login: Login, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            Err(lost) = session(&changes, &login) => lost,
        };
        tracing::warn!(cause = %Chain(&ended), "changes of users are out of reach");
        tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
    }
}

async fn session(known: &Changes, login: &Login) -> Result<Infallible, Lost> {
    let mut connection = tokio::time::timeout(LOOK_LIMIT, login.connect()).await??;
    loop {
        // Before all are read, so that no change falls between the two.
        let mut seen = tokio::time::timeout(LOOK_LIMIT, changes::now(&mut connection)).await??;
        recent(known, &mut connection).await?;
        known.is_current();
        let resync = Instant::now() + RESYNC.mul_f64(rand::random_range(0.8..1.2));
        let mut pause = LOOK;
        while Instant::now() < resync {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            if let Some(next) = new(known, &mut connection, &seen).await? {
                seen = next;
            }
            // A tenant decides how many users change.
            pause = LOOK.max(began.elapsed() * 2);
        }
    }
}

async fn recent(changes: &Changes, connection: &mut PgConnection) -> Result<(), Lost> {
    let query = sqlx::query_as::<_, ChangeRow>(
        "SELECT role::text, id, version, state::text, extract(epoch FROM changed_at)::float8 AS at \
         FROM tenantry.auth_change WHERE changed_at > now() - make_interval(secs => $1)",
    );
    let rows = tokio::time::timeout(LIMIT, query.bind(OF_INTEREST as f64).fetch_all(connection)).await??;
    changes.forget_before(token::unix_now().saturating_sub(OF_INTEREST));
    learn(changes, rows);
    Ok(())
}

/// Learns what is new since `seen`; the snapshot for the next look.
async fn new(
    changes: &Changes,
    connection: &mut PgConnection,
    seen: &Snapshot,
) -> Result<Option<Snapshot>, Lost> {
    let query = sqlx::query_as::<_, NewRow>(concat!(
        "SELECT n.seen, c.role::text, c.id, c.version, c.state::text, \
            extract(epoch FROM c.changed_at)::float8 AS at \
         FROM (SELECT pg_catalog.pg_current_snapshot()::text AS seen) n \
         LEFT JOIN tenantry.auth_change c ON ",
        is_new!("c.changed_in")
    ));
    let rows = tokio::time::timeout(LOOK_LIMIT, query.bind(&seen.0).fetch_all(connection)).await??;
    let next = rows.first().map(|row| Snapshot(row.seen.clone()));
    learn(changes, rows.into_iter().filter_map(NewRow::change).collect());
    Ok(next)
}

/// What changed for one tenant in the last seconds. When that cannot be read, the next look of [`follow`] will tell.
pub(super) async fn just_now(changes: &Changes, pool: &PgPool, role: &str) {
    let query = sqlx::query_as::<_, ChangeRow>(
        "SELECT role::text, id, version, state::text, extract(epoch FROM changed_at)::float8 AS at \
         FROM tenantry.auth_change WHERE role = $1::text::name AND changed_at > now() - interval '15 seconds'",
    );
    match tokio::time::timeout(JUST_NOW, query.bind(role).fetch_all(pool)).await {
        Ok(Ok(rows)) => learn(changes, rows),
        Ok(Err(error)) => tracing::warn!(cause = %Chain(&error), "a change of users is told a moment later"),
        Err(_) => tracing::warn!("a change of users is told a moment later"),
    }
}

fn learn(changes: &Changes, rows: Vec<ChangeRow>) {
    changes.learn(rows.into_iter().filter_map(|row| {
        let subject = Subject::parse(&row.id)?;
        let state = row.state.as_deref().and_then(|state| serde_json::from_str(state).ok());
        // Never negative: after 1970.
        Some((row.role, subject, Change { version: row.version, state, at: row.at as u64 }))
    }));
}
