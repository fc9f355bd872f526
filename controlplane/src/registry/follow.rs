//! Keeps the snapshot current: everything at each connect and once a minute, single tenants as they change.
//!
//! It asks for changes, some times a second. To be notified would be cheaper, and is nothing to rely on: every login can listen to a
//! channel, notify on it and fill its queue, and a listener never learns that the other end is gone.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use sqlx::PgConnection;
use tenantry_crds::names::InstanceName;
use tenantry_migrations::changes::{self, Snapshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Health, Registry, clock::Reading, compose::Compositions, load};
use crate::{
    database::{Login, Lost, Patience, Watch},
    error::Chain,
    instances::{Cell, Homes},
};

/// Between two looks at the clocks.
const CLOCK: Duration = Duration::from_secs(10);
const RESYNC: Duration = Duration::from_secs(60);
const RECONNECT: Duration = Duration::from_millis(500);
/// Between two looks for changes, unless reading them takes longer than half of this.
const LOOK: Duration = Duration::from_millis(100);
/// Above this many tenants at once, reading all of them is cheaper than each of them.
const SINGLY_MAX: usize = 64;

/// Follows the registry of one Postgres instance into a [`Registry`].
#[derive(Debug)]
pub struct Follower {
    registry: Registry,
    cell: InstanceName,
    login: Login,
    health: Health,
    compositions: Compositions,
    clock: fn() -> SystemTime,
}

impl Follower {
    /// Will follow the tenants of `cell`, which live in `homes`, into `registry`.
    pub fn new(registry: Registry, cell: &Cell, homes: Homes, health: Health) -> Self {
        let (cell, login) = (cell.name.clone(), cell.login.clone());
        Self { registry, cell, login, health, compositions: Compositions::new(homes), clock: SystemTime::now }
    }

    /// With another clock than the system's.
    #[cfg(test)]
    pub fn with_clock(self, clock: fn() -> SystemTime) -> Self {
        Self { clock, ..self }
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

    async fn session(&mut self) -> Result<Infallible, Lost> {
        let mut watch = Watch::begin(&self.login).await?;
        let mut clock_at = Instant::now();
        loop {
            // Before everything is read, so that no change falls between the two.
            let mut seen = watch.ask(Patience::LOOK, |c| changes::now(c).boxed()).await?;
            watch.was_renewed();
            self.apply(&mut watch, Changes::everything()).await?;
            let resync = Instant::now() + RESYNC.mul_f64(rand::random_range(0.8..1.2));
            let mut pause = LOOK;
            while Instant::now() < resync && !watch.was_renewed() {
                tokio::time::sleep(pause).await;
                let began = Instant::now();
                let before = seen.clone();
                let (now, names) = watch.ask(Patience::LOOK, |c| look(c, before.clone()).boxed()).await?;
                seen = now;
                let mut changed = Changes::default();
                names.iter().for_each(|what| changed.add(what));
                if changed != Changes::default() {
                    self.apply(&mut watch, changed).await?;
                }
                if Instant::now() >= clock_at {
                    let clock = self.clock;
                    let reading = watch.ask(Patience::LOOK, |c| Reading::of(c, clock).boxed()).await?;
                    self.health.clock(&self.cell, reading);
                    clock_at = Instant::now() + CLOCK;
                }
                pause = LOOK.max(began.elapsed() * 2);
            }
        }
    }

    async fn apply(&mut self, watch: &mut Watch, changes: Changes) -> Result<(), Lost> {
        self.read(watch, changes).await?;
        self.health.read(&self.cell);
        Ok(())
    }

    async fn read(&mut self, watch: &mut Watch, changes: Changes) -> Result<(), Lost> {
        if changes.everything || changes.tenants.len() > SINGLY_MAX {
            let (rows, versions) = watch.ask(Patience::ALL, |c| load::everything(c).boxed()).await?;
            self.compositions.publish(versions);
            self.registry.replace(&self.cell, self.compositions.entries(rows));
            return Ok(());
        }
        for app in &changes.apps {
            let versions = watch.ask(Patience::LOOK, |c| load::versions_of(c, app.clone()).boxed()).await?;
            self.compositions.publish(versions);
        }
        if changes.tenants.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::new();
        for tenant in &changes.tenants {
            let rows = watch.ask(Patience::LOOK, |c| load::tenant(c, tenant.clone()).boxed()).await?;
            if !self.compositions.covers(&rows) {
                let versions = watch.ask(Patience::ALL, |c| load::versions(c).boxed()).await?;
                self.compositions.publish(versions);
            }
            entries.extend(self.compositions.entries(rows));
        }
        self.registry.update(&self.cell, &changes.tenants, entries);
        Ok(())
    }
}

async fn look(connection: &mut PgConnection, seen: Snapshot) -> sqlx::Result<(Snapshot, Vec<String>)> {
    changes::of_registry(connection, &seen).await
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

    /// Takes in what `tenantry.registry_change` says.
    fn add(&mut self, what: &str) {
        match what.split_once(' ') {
            Some(("tenant", name)) => {
                self.tenants.insert(name.to_owned());
            }
            Some(("app", name)) => {
                self.apps.insert(name.to_owned());
            }
            // A newer release may note things that this one does not know.
            _ => self.everything = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_of_one_tenant_are_one_read() {
        let mut changes = Changes::default();
        for what in ["tenant acme", "tenant acme", "app crm", "tenant globex"] {
            changes.add(what);
        }
        assert!(!changes.everything);
        assert_eq!(changes.tenants.len(), 2);
        assert_eq!(changes.apps.len(), 1);
        changes.add("something");
        assert!(changes.everything);
    }
}
