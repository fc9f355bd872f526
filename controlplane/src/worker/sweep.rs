//! Removes what has had its time: documents of types with a time to live, kept answers of writes, and notes of changes that every replica
//! has seen. Gives addresses of accounts from before their one form, too. One process at a time for each Postgres instance.
//!
//! Readers do not see a document any more from the moment that its time has come; so the sweep may be late, and looks the less
//! often the less it finds.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use sqlx::PgConnection;
use tenantry_crds::names::InstanceName;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    auth::{Caller, Clash, RequestInfo, Scope, UserId, give_form},
    data::{CursorKey, Documents},
    database::Login,
    duty::{self, Duty, Lease},
    error::Chain,
    registry::{Availability, Registry, TenantEntry},
};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// After the connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);
/// Documents that one transaction removes, and transactions for one type in a row.
const AT_ONCE: u32 = 500;
const IN_A_ROW: usize = 20;
/// Types looked at in one tick.
const IN_A_TICK: usize = 200;
/// Types that are swept at the same time, and how long one may take: a tenant whose tables are locked waits by itself.
const SIDE_BY_SIDE: usize = 8;
const TURN: Duration = Duration::from_secs(20);
/// Between two looks at the addresses of a tenant's accounts: only SQL writes one in another form than the one that counts.
const ADDRESSES_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Kept answers that one transaction removes, transactions in a row, and for how long answers are kept.
const ANSWERS_AT_ONCE: i64 = 5000;
const ANSWERS_IN_A_ROW: usize = 20;
const ANSWERS_KEPT_HOURS: i32 = 24;
/// A replica that was away for longer reads everything.
const CHANGES_KEPT_HOURS: i32 = 1;
const LIMIT: Duration = Duration::from_secs(20);

/// The sweep of a Postgres instance.
pub(super) struct Sweeper {
    pub cell: InstanceName,
    pub registry: Registry,
    pub login: Login,
    pub duty: Duty,
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
    #[error("the right to sweep")]
    Duty(#[from] duty::Lost),
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
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = self.registry.is_read(&self.cell) => {}
        }
        while !shutdown.is_cancelled() {
            // What is cut off by the shutdown is done again.
            if let Err(lost) = self.duty.hold(&shutdown, async |lease| self.term(lease).await).await {
                tracing::warn!(instance = %self.cell, cause = %Chain(&lost), "the sweep pauses");
                tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
            }
        }
    }

    async fn term(&self, lease: Lease) -> Result<Infallible, Lost> {
        let mut connection = within(self.login.connect()).await?;
        let mut due: HashMap<(Uuid, String), Due> = HashMap::new();
        let mut addresses: HashMap<Uuid, Due> = HashMap::new();
        loop {
            for _ in 0..ANSWERS_IN_A_ROW {
                lease.check()?;
                if self.answers(&mut connection).await? < ANSWERS_AT_ONCE.unsigned_abs() {
                    break;
                }
            }
            self.changes(&mut connection).await?;
            self.documents(&mut due, &lease).await?;
            self.addresses(&mut addresses, &lease).await?;
            tokio::time::sleep(TICK).await;
        }
    }

    async fn answers(&self, connection: &mut PgConnection) -> Result<u64, Lost> {
        let query = sqlx::query(
            "DELETE FROM tenantry.idempotency i USING (SELECT role, id, part FROM tenantry.idempotency \
             WHERE occurred_at < now() - pg_catalog.make_interval(hours => $1) LIMIT $2 FOR UPDATE SKIP LOCKED) old \
             WHERE i.role = old.role AND i.id = old.id AND i.part = old.part",
        );
        let done = query.bind(ANSWERS_KEPT_HOURS).bind(ANSWERS_AT_ONCE).execute(connection);
        Ok(within(done).await?.rows_affected())
    }

    async fn changes(&self, connection: &mut PgConnection) -> Result<(), Lost> {
        let query = sqlx::query(
            "DELETE FROM tenantry.registry_change WHERE changed_at < now() - pg_catalog.make_interval(hours => $1)",
        );
        within(query.bind(CHANGES_KEPT_HOURS).execute(connection)).await?;
        Ok(())
    }

    async fn documents(&self, due: &mut HashMap<(Uuid, String), Due>, lease: &Lease) -> Result<(), Lost> {
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
        let first = Due { at: now, pause: TICK };
        let turns = seen
            .into_iter()
            .map(|(key, what)| (*due.entry(key.clone()).or_insert(first), key, what))
            .filter(|(known, ..)| known.at <= now)
            .take(IN_A_TICK)
            .collect::<Vec<_>>();
        let turns = turns.into_iter().map(async |(known, key, (tenant, app, plural))| {
            lease.check()?;
            let swept = tokio::time::timeout(TURN, self.sweep(&tenant, &app, &plural, lease)).await;
            Ok::<_, Lost>((key, known.after(swept.unwrap_or(0), Instant::now(), self.longest)))
        });
        let mut turns = stream::iter(turns).buffer_unordered(SIDE_BY_SIDE);
        while let Some(turn) = turns.next().await {
            let (key, next) = turn?;
            due.insert(key, next);
        }
        Ok(())
    }

    /// Gives addresses of accounts their one form, tenant by tenant.
    async fn addresses(&self, due: &mut HashMap<Uuid, Due>, lease: &Lease) -> Result<(), Lost> {
        let snapshot = Arc::clone(&self.registry.snapshot());
        let now = Instant::now();
        let has_form = |tenant: &TenantEntry| {
            tenant.apps.catalog().doc_type("core", "users").is_some_and(|doc| doc.written.is_some())
        };
        let tenants: HashMap<Uuid, &Arc<TenantEntry>> = snapshot
            .tenants()
            .filter(|tenant| tenant.home.cell == self.cell && tenant.availability == Availability::Serving)
            .filter(|tenant| has_form(tenant))
            .map(|tenant| (tenant.uid, tenant))
            .collect();
        due.retain(|uid, _| tenants.contains_key(uid));
        let first = Due { at: now, pause: TICK };
        let turns = tenants
            .into_iter()
            .map(|(uid, tenant)| (*due.entry(uid).or_insert(first), tenant))
            .filter(|(known, _)| known.at <= now)
            .take(IN_A_TICK)
            .collect::<Vec<_>>();
        let turns = turns.into_iter().map(async |(known, tenant)| {
            lease.check()?;
            let looked = tokio::time::timeout(TURN, look_at_addresses(tenant, lease)).await;
            let next = match looked {
                Ok(true) => Due { at: Instant::now() + ADDRESSES_EVERY, pause: TICK },
                Ok(false) | Err(_) => known.after(0, Instant::now(), ADDRESSES_EVERY),
            };
            Ok::<_, Lost>((tenant.uid, next))
        });
        let mut turns = stream::iter(turns).buffer_unordered(SIDE_BY_SIDE);
        while let Some(turn) = turns.next().await {
            let (uid, next) = turn?;
            due.insert(uid, next);
        }
        Ok(())
    }

    /// Removes what is due of one type; how many documents that were.
    async fn sweep(&self, tenant: &Arc<TenantEntry>, app: &str, plural: &str, lease: &Lease) -> usize {
        let (Some(doc), Ok(database)) = (tenant.apps.catalog().doc_type(app, plural), tenant.home.database())
        else {
            return 0;
        };
        let scope = Scope {
            tenant: Arc::clone(tenant),
            caller: Arc::new(Caller::new(&UserId::Worker.to_string(), &[Caller::ADMIN.to_owned()])),
            proof: Default::default(),
            request: RequestInfo { id: "ttl".into(), ..RequestInfo::default() },
        };
        let documents = Documents { database, cursors: &self.cursors, scope: &scope, doc };
        let mut removed = 0;
        for _ in 0..IN_A_ROW {
            if lease.check().is_err() {
                break;
            }
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

/// Whether all accounts of the tenant were looked at.
async fn look_at_addresses(tenant: &TenantEntry, lease: &Lease) -> bool {
    let mut after = Some(Uuid::nil());
    while let Some(from) = after {
        if lease.check().is_err() {
            return false;
        }
        let looked = match give_form(tenant, from).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::debug!(tenant = %tenant.name, cause = %Chain(&error), "addresses of accounts were not looked at");
                return false;
            }
        };
        for Clash { user, holder } in &looked.clashes {
            tracing::warn!(tenant = %tenant.name, %user, ?holder,
                "nobody can sign in to this account: its address is that of another one, but for the way it is written, or is none");
        }
        if looked.rewritten > 0 {
            tracing::info!(tenant = %tenant.name, accounts = looked.rewritten, "addresses got their one form");
        }
        after = looked.next;
    }
    true
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
