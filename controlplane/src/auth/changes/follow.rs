//! Keeps [`Changes`] current: all recent ones at each connect and once a minute, new ones some times a second.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::FutureExt;
use sqlx::{FromRow, PgConnection, PgPool};
use tenantry_migrations::{
    changes::{self, Snapshot},
    is_new,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Change, Changes, Subject};
use crate::{
    auth::token,
    database::{Login, Lost, Patience, Watch},
    error::Chain,
};

const RESYNC: Duration = Duration::from_secs(60);
const RECONNECT: Duration = Duration::from_millis(500);
/// Between two looks, unless one takes longer than half of this.
const LOOK: Duration = Duration::from_millis(100);
/// How long a change may hold the answer to it up.
const JUST_NOW: Duration = Duration::from_millis(500);
/// Seconds that a change is of interest: as long as a token may live, and some.
const OF_INTEREST: u64 = token::MAX_LIFETIME.as_secs() + 3600;

#[derive(Debug, FromRow)]
struct ChangeRow {
    role: String,
    id: String,
    revision: i64,
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
    revision: Option<i64>,
    version: Option<i64>,
    state: Option<String>,
    at: Option<f64>,
}

impl NewRow {
    fn change(self) -> Option<ChangeRow> {
        Some(ChangeRow {
            role: self.role?,
            id: self.id?,
            revision: self.revision?,
            version: self.version?,
            state: self.state,
            at: self.at?,
        })
    }
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
    let mut watch = Watch::begin(login).await?;
    let mut anew = true;
    loop {
        // Before all are read, so that no change falls between the two.
        let mut seen = watch.ask(Patience::LOOK, |c| changes::now(c).boxed()).await?;
        anew |= watch.was_renewed();
        let recent = watch.ask(Patience::ALL, |c| recent(c).boxed()).await?;
        match std::mem::take(&mut anew) {
            true => known.know(recent.into_iter().filter_map(learnt)),
            false => learn(known, recent),
        }
        known.forget_before(token::unix_now().saturating_sub(OF_INTEREST));
        let resync = Instant::now() + RESYNC.mul_f64(rand::random_range(0.8..1.2));
        let mut pause = LOOK;
        while Instant::now() < resync {
            anew = watch.was_renewed();
            if anew {
                break;
            }
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            let rows = watch.ask(Patience::LOOK, |c| new(c, seen.clone()).boxed()).await?;
            if let Some(row) = rows.first() {
                seen = Snapshot(row.seen.clone());
            }
            learn(known, rows.into_iter().filter_map(NewRow::change).collect());
            // A tenant decides how many users change.
            pause = LOOK.max(began.elapsed() * 2);
        }
    }
}

async fn recent(connection: &mut PgConnection) -> sqlx::Result<Vec<ChangeRow>> {
    let query = sqlx::query_as(
        "SELECT role::text, id, revision, version, state::text, extract(epoch FROM changed_at)::float8 AS at \
         FROM tenantry.auth_change WHERE changed_at > now() - make_interval(secs => $1)",
    );
    query.bind(OF_INTEREST as f64).fetch_all(connection).await
}

/// What is new since `seen`; the first row holds the snapshot for the next look.
async fn new(connection: &mut PgConnection, seen: Snapshot) -> sqlx::Result<Vec<NewRow>> {
    let query = sqlx::query_as(concat!(
        "SELECT n.seen, c.role::text, c.id, c.revision, c.version, c.state::text, \
            extract(epoch FROM c.changed_at)::float8 AS at \
         FROM (SELECT pg_catalog.pg_current_snapshot()::text AS seen) n \
         LEFT JOIN tenantry.auth_change c ON ",
        is_new!("c.changed_in")
    ));
    query.bind(seen.0).fetch_all(connection).await
}

/// What changed for one tenant in the last seconds. When that cannot be read, the next look of [`follow`] will tell.
pub(super) async fn just_now(changes: &Changes, pool: &PgPool, role: &str) {
    let query = sqlx::query_as::<_, ChangeRow>(
        "SELECT role::text, id, revision, version, state::text, extract(epoch FROM changed_at)::float8 AS at \
         FROM tenantry.auth_change WHERE role = $1::text::name AND changed_at > now() - interval '15 seconds'",
    );
    match tokio::time::timeout(JUST_NOW, query.bind(role).fetch_all(pool)).await {
        Ok(Ok(rows)) => learn(changes, rows),
        Ok(Err(error)) => tracing::warn!(cause = %Chain(&error), "a change of users is told a moment later"),
        Err(_) => tracing::warn!("a change of users is told a moment later"),
    }
}

fn learn(changes: &Changes, rows: Vec<ChangeRow>) {
    changes.learn(rows.into_iter().filter_map(learnt));
}

fn learnt(row: ChangeRow) -> Option<(String, Subject, Change)> {
    let subject = Subject::parse(&row.id)?;
    let state = row.state.as_deref().and_then(|state| serde_json::from_str(state).ok());
    // Never negative: after 1970.
    let change = Change { revision: row.revision, version: row.version, state, at: row.at as u64, heard: 0 };
    Some((row.role, subject, change))
}
