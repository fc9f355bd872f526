//! Keeps the snapshot current: everything at each connect and once a minute, single tenants as they are notified.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tenantry_crds::names::InstanceName;
use tenantry_migrations::{platform, registry::Of};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Health, Registry, compose::Compositions, load};
use crate::{
    error::Chain,
    instances::{Cell, Homes},
};

const RESYNC: Duration = Duration::from_secs(60);
const RECONNECT: Duration = Duration::from_millis(500);
const LOAD_LIMIT: Duration = Duration::from_secs(30);
/// Notifications of one provisioning burst are answered together.
const COALESCE: Duration = Duration::from_millis(20);
/// Above this many tenants at once, reading all of them is cheaper than each of them.
const SINGLY_MAX: usize = 64;

/// Follows the registry of one Postgres instance into a [`Registry`].
#[derive(Debug)]
pub struct Follower {
    registry: Registry,
    cell: InstanceName,
    pool: PgPool,
    health: Health,
    compositions: Compositions,
}

/// The connection to the registry failed; the snapshot stays.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("reading the registry")]
    Database(#[from] sqlx::Error),
    #[error("reading the registry took longer than {LOAD_LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("the connection that listens was closed")]
    Listener,
}

impl Follower {
    /// Will follow the tenants of `cell`, which live in `homes`, into `registry`.
    pub fn new(registry: Registry, cell: &Cell, homes: Homes, health: Health) -> Self {
        let (cell, pool) = (cell.name.clone(), cell.pool.clone());
        Self { registry, cell, pool, health, compositions: Compositions::new(homes) }
    }

    /// Follows until `shutdown`. While Postgres is away the last snapshot stays in use.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                Err(lost) = self.session() => lost,
            };
            tracing::warn!(instance = %self.cell, cause = %Chain(&ended), "registry is out of reach; the last snapshot stays in use");
            self.health.lost(&self.cell);
            tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "all that waits is taken at once")]
    async fn session(&mut self) -> Result<std::convert::Infallible, Lost> {
        // Listens before it reads, so that no change falls between the two.
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.eager_reconnect(false);
        listener.listen(platform::CHANNEL).await?;
        let (notified, mut notifications) = mpsc::unbounded_channel();
        // A task of its own, because a wait for a notification must not be cancelled half way through a message.
        let _listening = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok(Some(notification)) = listener.try_recv().await {
                if notified.send(notification.payload().to_owned()).is_err() {
                    return;
                }
            }
        }));

        let mut changes = Changes::everything();
        loop {
            tokio::time::timeout(LOAD_LIMIT, self.apply(std::mem::take(&mut changes))).await??;
            self.health.read(&self.cell);
            let resync = Instant::now() + RESYNC.mul_f64(rand::random_range(0.8..1.2));
            match tokio::time::timeout_at(resync, notifications.recv()).await {
                Err(_) => changes = Changes::everything(),
                Ok(None) => return Err(Lost::Listener),
                Ok(Some(first)) => {
                    changes.add(&first);
                    tokio::time::sleep(COALESCE).await;
                    while let Ok(next) = notifications.try_recv() {
                        changes.add(&next);
                    }
                }
            }
        }
    }

    async fn apply(&mut self, changes: Changes) -> Result<(), Lost> {
        let mut connection = self.pool.acquire().await?;
        if changes.everything || changes.tenants.len() > SINGLY_MAX {
            self.compositions.publish(load::versions(&mut connection, Of::Every).await?);
            let rows = load::rows(&mut connection, Of::Every).await?;
            self.registry.replace(&self.cell, self.compositions.entries(rows));
            return Ok(());
        }
        for app in &changes.apps {
            self.compositions.publish(load::versions(&mut connection, Of::One(app)).await?);
        }
        if changes.tenants.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::new();
        for tenant in &changes.tenants {
            let rows = load::rows(&mut connection, Of::One(tenant)).await?;
            if !self.compositions.covers(&rows) {
                self.compositions.publish(load::versions(&mut connection, Of::Every).await?);
            }
            entries.extend(self.compositions.entries(rows));
        }
        self.registry.update(&self.cell, &changes.tenants, entries);
        Ok(())
    }
}

/// What has to be read again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    everything: bool,
    tenants: BTreeSet<String>,
    apps: BTreeSet<String>,
}

impl Changes {
    fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    fn add(&mut self, payload: &str) {
        match payload.split_once(' ') {
            Some(("tenant", name)) => {
                self.tenants.insert(name.to_owned());
            }
            Some(("app", name)) => {
                self.apps.insert(name.to_owned());
            }
            // A newer release may notify of things that this one does not know.
            _ => self.everything = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notifications_of_one_tenant_are_one_read() {
        let mut changes = Changes::default();
        for payload in ["tenant acme", "tenant acme", "app crm", "tenant globex"] {
            changes.add(payload);
        }
        assert!(!changes.everything);
        assert_eq!(changes.tenants.len(), 2);
        assert_eq!(changes.apps.len(), 1);
        changes.add("something");
        assert!(changes.everything);
    }
}
