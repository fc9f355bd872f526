//! Keeps [`Changes`] current: all recent ones at each connect and once a minute, single ones as they are notified.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use sqlx::{FromRow, PgPool, postgres::PgListener};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Change, Changes, Subject};
use crate::{auth::token, error::Chain};

/// The channel of the triggers. The payload is the role of a tenant, then a subject.
const CHANNEL: &str = "tenantry_auth";
const RESYNC: Duration = Duration::from_secs(60);
const RECONNECT: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(20);
/// How long a change may hold the answer to it up.
const JUST_NOW: Duration = Duration::from_millis(500);
/// Notifications above which reading what is recent is cheaper than each of them.
const SINGLY_MAX: usize = 256;
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

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("reading changes of users")]
    Database(#[from] sqlx::Error),
    #[error("reading changes of users took longer than {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("the connection that listens was closed")]
    Listener,
}

/// Follows the changes of one Postgres instance until `shutdown`. While it is away, what is known stays in use.
pub async fn follow(changes: Arc<Changes>, pool: PgPool, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            Err(lost) = session(&changes, &pool) => lost,
        };
        tracing::warn!(cause = %Chain(&ended), "changes of users are out of reach");
        tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
    }
}

#[allow(clippy::disallowed_methods, reason = "all that waits is taken at once")]
async fn session(changes: &Changes, pool: &PgPool) -> Result<Infallible, Lost> {
    // Listens before it reads, so that no change falls between the two.
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    let (notified, mut notifications) = mpsc::unbounded_channel();
    let _listening = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok(Some(notification)) = listener.try_recv().await {
            if notified.send(notification.payload().to_owned()).is_err() {
                return;
            }
        }
    }));
    loop {
        recent(changes, pool).await?;
        changes.is_current();
        let resync = Instant::now() + RESYNC.mul_f64(rand::random_range(0.8..1.2));
        loop {
            match tokio::time::timeout_at(resync, notifications.recv()).await {
                Err(_) => break,
                Ok(None) => return Err(Lost::Listener),
                Ok(Some(first)) => {
                    let mut names = BTreeSet::from([first]);
                    while let Ok(next) = notifications.try_recv() {
                        names.insert(next);
                    }
                    if names.len() > SINGLY_MAX {
                        break;
                    }
                    single(changes, pool, &names).await?;
                }
            }
        }
    }
}

async fn recent(changes: &Changes, pool: &PgPool) -> Result<(), Lost> {
    let query = sqlx::query_as::<_, ChangeRow>(
        "SELECT role::text, id, version, state::text, extract(epoch FROM changed_at)::float8 AS at \
         FROM tenantry.auth_change WHERE changed_at > now() - make_interval(secs => $1)",
    );
    let rows = tokio::time::timeout(LIMIT, query.bind(OF_INTEREST as f64).fetch_all(pool)).await??;
    changes.forget_before(token::unix_now().saturating_sub(OF_INTEREST));
    learn(changes, rows);
    Ok(())
}

/// What changed for one tenant in the last seconds. When that cannot be had, the notification will tell.
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

async fn single(changes: &Changes, pool: &PgPool, names: &BTreeSet<String>) -> Result<(), Lost> {
    let (roles, ids): (Vec<&str>, Vec<&str>) = names.iter().filter_map(|name| name.split_once(' ')).unzip();
    let query = sqlx::query_as::<_, ChangeRow>(
        "SELECT c.role::text, c.id, c.version, c.state::text, extract(epoch FROM c.changed_at)::float8 AS at \
         FROM unnest($1::text[], $2::text[]) AS n (role, id) \
         JOIN tenantry.auth_change c ON c.role = n.role::name AND c.id = n.id",
    );
    let rows = tokio::time::timeout(LIMIT, query.bind(roles).bind(ids).fetch_all(pool)).await??;
    learn(changes, rows);
    Ok(())
}

fn learn(changes: &Changes, rows: Vec<ChangeRow>) {
    changes.learn(rows.into_iter().filter_map(|row| {
        let subject = Subject::parse(&row.id)?;
        let state = row.state.as_deref().and_then(|state| serde_json::from_str(state).ok());
        // Never negative: after 1970.
        Some((row.role, subject, Change { version: row.version, state, at: row.at as u64 }))
    }));
}
