//! Removes what has had its time: documents of types with a time to live, and kept answers of writes. One process at a time for each
//! Postgres instance.
//!
//! Readers do not see a document any more from the moment that its time has come; so the sweep may be late, and looks the less
//! often the less it finds.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tenantry_crds::names::InstanceName;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    auth::{Caller, RequestInfo, Scope},
    data::{CursorKey, Documents},
    error::Chain,
    registry::{Availability, Registry, TenantEntry},
};

/// The key of the advisory lock: whoever's session has it, sweeps.
const LOCK: i64 = 0x7465_6e61_7377_6570;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// After the connection was lost, and between two tries of a process that is not the one that sweeps.
const STAND_BY: Duration = Duration::from_secs(5);
/// Documents that one transaction removes, and transactions for one type in a row.
const AT_ONCE: u32 = 500;
const IN_A_ROW: usize = 20;
/// Types looked at in one tick.
const IN_A_TICK: usize = 200;
/// Kept answers that one transaction removes, and for how long they are kept.
const ANSWERS_AT_ONCE: i64 = 5000;
const ANSWERS_KEPT_HOURS: i32 = 24;
const LIMIT: Duration = Duration::from_secs(20);

/// The sweep of a Postgres instance.
pub(super) struct Sweeper {
    pub cell: InstanceName,
    pub registry: Registry,
    pub connect: PgConnectOptions,
    pub cursors: CursorKey,
    /// The longest time between two looks at a type.
    pub longest: Duration,
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the connection of the sweep")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer within {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
}

/// When a type is looked at next, and how long after that.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    pause: Duration,
}

impl Due {
    /// After a look that removed so many documents.
    fn after(self, removed: usize, now: Instant, longest: Duration) -> Self {
        let pause = if removed > 0 { TICK } else { (self.pause * 2).min(longest) };
        Self { at: now + pause, pause }
    }
}

impl Sweeper {
    /// Sweeps whenever no other process does, until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                // What is cut off here is done again.
                () = shutdown.cancelled() => return,
                Err(lost) = self.term() => {
                    tracing::warn!(instance = %self.cell, cause = %Chain(&lost), "the sweep pauses");
                }
            }
            tokio::time::sleep(STAND_BY.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    async fn term(&self) -> Result<Infallible, Lost> {
        self.registry.is_read(&self.cell).await;
        let mut connection = within(PgConnection::connect_with(&self.connect)).await?;
        loop {
            let lock = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)").bind(LOCK);
            if within(lock.fetch_one(&mut connection)).await? {
                break;
            }
            tokio::time::sleep(STAND_BY).await;
        }
        let mut due: HashMap<(Uuid, String), Due> = HashMap::new();
        loop {
            // Proves that the session, and with it the lock, is there still.
            while self.answers(&mut connection).await? == ANSWERS_AT_ONCE.unsigned_abs() {}
            self.documents(&mut due).await;
            tokio::time::sleep(TICK).await;
        }
    }

    async fn answers(&self, connection: &mut PgConnection) -> Result<u64, Lost> {
        let query = sqlx::query(
            "DELETE FROM tenantry.idempotency i USING (SELECT role, id, part FROM tenantry.idempotency \
             WHERE occurred_at < now() - pg_catalog.make_interval(hours => $1) LIMIT $2) old \
             WHERE i.role = old.role AND i.id = old.id AND i.part = old.part",
        );
        let done = query.bind(ANSWERS_KEPT_HOURS).bind(ANSWERS_AT_ONCE).execute(connection);
        Ok(within(done).await?.rows_affected())
    }

    async fn documents(&self, due: &mut HashMap<(Uuid, String), Due>) {
        let snapshot = Arc::clone(&self.registry.snapshot());
        let now = Instant::now();
        let mut seen: HashMap<(Uuid, String), (Arc<TenantEntry>, String, String)> = HashMap::new();
        for tenant in snapshot.tenants() {
            if tenant.home.cell != self.cell || tenant.availability != Availability::Serving {
                continue;
            }
            for (plural, doc) in tenant.apps.catalog().types().filter(|(_, doc)| doc.ttl.is_some()) {
                let key = (tenant.uid, doc.table.to_string());
                seen.insert(key, (Arc::clone(tenant), doc.app.to_string(), plural.to_owned()));
            }
        }
        due.retain(|key, _| seen.contains_key(key));
        let mut looked = 0;
        for (key, (tenant, app, plural)) in seen {
            let first = Due { at: now, pause: TICK };
            let known = *due.entry(key.clone()).or_insert(first);
            if known.at > now || looked == IN_A_TICK {
                continue;
            }
            looked += 1;
            let removed = self.sweep(&tenant, &app, &plural).await;
            due.insert(key, known.after(removed, Instant::now(), self.longest));
        }
    }

    /// Removes what is due of one type; how many documents that were.
    async fn sweep(&self, tenant: &Arc<TenantEntry>, app: &str, plural: &str) -> usize {
        let (Some(doc), Ok(database)) = (tenant.apps.catalog().doc_type(app, plural), tenant.home.database())
        else {
            return 0;
        };
        let scope = Scope {
            tenant: Arc::clone(tenant),
            caller: Arc::new(Caller::new("tenantry-worker", &[Caller::ADMIN.to_owned()])),
            proof: Default::default(),
            request: RequestInfo { id: "ttl".into(), ..RequestInfo::default() },
        };
        let documents = Documents { database, cursors: &self.cursors, scope: &scope, doc };
        let mut removed = 0;
        for _ in 0..IN_A_ROW {
            match documents.expire(AT_ONCE).await {
                Ok(count) => {
                    removed += count;
                    if count < AT_ONCE as usize {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(tenant = %tenant.name, app, plural, cause = %Chain(&error), "documents stay beyond their time");
                    break;
                }
            }
        }
        if removed > 0 {
            tracing::info!(tenant = %tenant.name, app, plural, documents = removed, "their time had come");
        }
        removed
    }
}

async fn within<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Lost>
where
    Lost: From<E>,
{
    Ok(tokio::time::timeout(LIMIT, work).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_there_is_the_rarer_the_look() {
        let (now, longest) = (Instant::now(), Duration::from_secs(60));
        let mut due = Due { at: now, pause: TICK };
        for _ in 0..10 {
            due = due.after(0, now, longest);
        }
        assert_eq!(due.pause, longest);
        assert_eq!(due.after(3, now, longest).pause, TICK);
    }
}
