//! Moves secrets to the primary key: those under a key that is to go, and those that were stored in the clear before they were
//! secrets. Tells what is under which key, so that somebody can take a key away. One process at a time for each Postgres instance.
//!
//! A write seals under the primary key anyway. This is for what nobody writes.
//!
//! - [`documents`]: fields of documents, type by type
//! - [`authenticators`]: those of all tenants at once

mod authenticators;
mod documents;
mod metrics;
#[cfg(test)]
mod on_servers;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tenantry_crds::names::InstanceName;
use tenantry_keyring::sealed;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    database::Login,
    duty::{self, Duty, Lease},
    error::Chain,
    registry::{Availability, Registry, TenantEntry},
    vault::Vault,
};
use documents::Shelf;
pub(super) use metrics::{CellMetrics, ResealMetrics};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// After the connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);
/// Between two looks at a type that has nothing to do. Clear values come with a new version of an app only, and other keys with a
/// new process.
const REST: Duration = Duration::from_secs(3600);
/// Types that are looked at in one tick, at the same time, and for how long one may take: a tenant whose tables are locked waits by
/// itself.
const IN_A_TICK: usize = 100;
const SIDE_BY_SIDE: usize = 4;
const TURN: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(20);

/// Values by the key that they are under, with an empty name for all that the ring does not hold; without a name, those in the clear.
type ByKey = BTreeMap<Option<String>, u64>;

/// What moves the secrets of a Postgres instance.
pub(super) struct Resealer {
    pub cell: InstanceName,
    pub registry: Registry,
    pub login: Login,
    pub duty: Duty,
    pub vault: Arc<Vault>,
    pub metrics: CellMetrics,
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the connection of what moves secrets to another key")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer within {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("the right to move secrets to another key")]
    Duty(#[from] duty::Lost),
}

/// What is known of a type of a tenant.
#[derive(Debug)]
struct Known {
    due: Instant,
    /// Where the next look goes on.
    after: Option<String>,
    found: ByKey,
    unreadable: u64,
    /// A look came to its end.
    seen: bool,
}

/// A type of a tenant at a version of its app, which may have made a secret of a field: the uid of the Tenant, the table and the version.
type Key = (Uuid, String, String);

impl Resealer {
    /// Works whenever no other process does, until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = self.registry.is_read(&self.cell) => {}
        }
        while !shutdown.is_cancelled() {
            // What is cut off by the shutdown is done again.
            if let Err(lost) = self.duty.hold(&shutdown, async |lease| self.term(lease).await).await {
                tracing::warn!(instance = %self.cell, cause = %Chain(&lost), "secrets stay under their keys for now");
                tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
            }
            // Another process may have the duty now; two that told it would be two that are added up.
            self.metrics.forget();
        }
    }

    async fn term(&self, lease: Lease) -> Result<Infallible, Lost> {
        let mut connection = within(self.login.connect()).await?;
        let mut known: HashMap<Key, Known> = HashMap::new();
        let mut factors = authenticators::Found::default();
        loop {
            lease.check()?;
            let looked_at = self.documents(&mut known, &lease).await?;
            let factors_looked_at = self.authenticators(&mut connection, &mut factors, &lease).await?;
            if looked_at || factors_looked_at {
                let counts = known.values().map(|known| (&known.found, known.unreadable));
                let unseen = known.values().filter(|known| !known.seen).count() + self.out_of_reach();
                self.metrics.show(counts.chain([(&factors.by_key, factors.unreadable)]), unseen);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Looks at the types that are due; whether there were any.
    async fn documents(&self, known: &mut HashMap<Key, Known>, lease: &Lease) -> Result<bool, Lost> {
        let shelves = self.shelves();
        let had = known.len();
        known.retain(|key, _| shelves.contains_key(key));
        let now = Instant::now();
        let turns: Vec<_> = shelves
            .into_iter()
            .filter(|(key, _)| known.get(key).is_none_or(|known| known.due <= now))
            .take(IN_A_TICK)
            .map(|(key, shelf)| {
                let after = known.get(&key).and_then(|known| known.after.clone());
                (key, shelf, after)
            })
            .collect();
        let looked_at = !turns.is_empty() || had != known.len();
        let prefix = self.prefix();
        let turns = turns.into_iter().map(async |(key, shelf, after)| {
            lease.check()?;
            let looked = tokio::time::timeout(TURN, shelf.look(&prefix, after.as_deref(), lease)).await;
            Ok::<_, Lost>((key, shelf, looked.ok()))
        });
        let mut turns = stream::iter(turns).buffer_unordered(SIDE_BY_SIDE);
        while let Some(turn) = turns.next().await {
            let (key, shelf, looked) = turn?;
            shelf.tell(looked.as_ref());
            let entry = known.entry(key).or_insert_with(|| Known {
                due: now,
                after: None,
                found: ByKey::new(),
                unreadable: 0,
                seen: false,
            });
            entry.take(looked, Instant::now());
        }
        Ok(looked_at)
    }

    /// The types with sealed fields, of tenants whose tables can be read.
    fn shelves(&self) -> HashMap<Key, Shelf> {
        let snapshot = Arc::clone(&self.registry.snapshot());
        let mut shelves = HashMap::new();
        for tenant in snapshot.tenants().filter(|tenant| tenant.home.cell == self.cell && is_in_reach(tenant))
        {
            let catalog = tenant.apps.catalog();
            for (plural, doc) in catalog.types().filter(|(_, doc)| doc.sealed().next().is_some()) {
                let app = doc.app.as_str();
                if let (Some(doc), Some(app)) = (catalog.doc_type(app, plural), tenant.apps.get(app)) {
                    let key = (tenant.uid, doc.table.to_string(), app.version.to_string());
                    shelves.insert(key, Shelf::new(tenant, doc));
                }
            }
        }
        shelves
    }

    /// How many tenants nobody can look at: they were retained, or are being provisioned.
    fn out_of_reach(&self) -> usize {
        let snapshot = self.registry.snapshot();
        snapshot.tenants().filter(|tenant| tenant.home.cell == self.cell && !is_in_reach(tenant)).count()
    }

    fn prefix(&self) -> String {
        self.vault.primary().map(sealed::prefix_of).unwrap_or_default()
    }
}

/// One that is suspended is not served, and has its secrets all the same.
fn is_in_reach(tenant: &TenantEntry) -> bool {
    matches!(tenant.availability, Availability::Serving | Availability::Suspended(_))
}

impl Known {
    /// Takes what a look found; one that failed is repeated later.
    fn take(&mut self, looked: Option<documents::Looked>, now: Instant) {
        let Some(looked) = looked else {
            self.due = now + REST / 10;
            return;
        };
        if self.after.is_none() {
            self.unreadable = 0;
        }
        self.unreadable += looked.unreadable;
        self.after = looked.goes_on_after;
        if let Some(found) = looked.found {
            self.found = found;
            self.seen = true;
        }
        self.due = match (&self.after, looked.failed) {
            (Some(_), false) => now + TICK,
            (_, true) => now + REST / 10,
            (None, false) => now + REST,
        };
    }
}

async fn within<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Lost>
where
    Lost: From<E>,
{
    Ok(tokio::time::timeout(LIMIT, work).await??)
}
