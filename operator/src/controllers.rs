//! The three controllers and what wakes them.

use std::{sync::Arc, time::Duration};

use kube::{Client, runtime::reflector};
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, Lanes, Stores},
    driver::{Kind, Lane, Source},
    triggers::{on_app, on_search_index, on_tenant},
};

/// Passes over definitions at the same time. They are few, and each waits for the same rows.
const DEFINITIONS_AT_ONCE: u16 = 2;

/// The time that passes under way get to end when the process is asked to.
const DRAIN: Duration = Duration::from_secs(20);

/// The controllers before they run.
pub struct Controllers {
    tenants: Source<Tenant>,
    apps: Source<App>,
    search_indexes: Source<SearchIndex>,
}

impl Controllers {
    /// The controllers, with the caches and lanes that passes see. `client` is for watches.
    pub fn new(client: &Client, tenants_at_once: u16) -> (Self, Stores, Lanes) {
        let (tenants, tenant_lane) = source(client, tenants_at_once);
        let (apps, app_lane) = source(client, DEFINITIONS_AT_ONCE);
        let (search_indexes, search_index_lane) = source(client, DEFINITIONS_AT_ONCE);
        let stores = Stores {
            tenants: tenants.store.clone(),
            apps: apps.store.clone(),
            search_indexes: search_indexes.store.clone(),
            filled: [tenants.filled.clone(), apps.filled.clone(), search_indexes.filled.clone()],
        };
        let lanes = Lanes { tenants: tenant_lane, apps: app_lane, search_indexes: search_index_lane };
        (Self { tenants, apps, search_indexes }, stores, lanes)
    }

    /// Runs until `shutdown`, and then until the passes under way have ended or took too long. Returning sooner means that a
    /// controller died: the process has to exit.
    pub async fn run(self, ctx: Arc<Context>, shutdown: CancellationToken) {
        let tenants = self.tenants.run(ctx.clone(), on_tenant(ctx.clone()), shutdown.clone());
        let apps = self.apps.run(ctx.clone(), on_app(ctx.clone()), shutdown.clone());
        let indexes = self.search_indexes.run(ctx.clone(), on_search_index(ctx.clone()), shutdown.clone());
        // Tasks of their own: one that is busy with its watch must not hold up the others.
        let mut running = tokio::task::JoinSet::new();
        running.spawn(tenants);
        running.spawn(apps);
        running.spawn(indexes);
        let counting = async { ctx.touched.wake(&ctx, &shutdown).await };
        tokio::select! {
            _died = running.join_next() => {}
            () = counting => {}
        }
        let drained = async { while running.join_next().await.is_some() {} };
        if shutdown.is_cancelled() && tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("passes that are still under way are dropped; the next leader goes on");
        }
    }
}

fn source<K: Kind>(client: &Client, concurrency: u16) -> (Source<K>, Lane<K>) {
    let (store, writer) = reflector::store();
    let (lane, wakes) = Lane::new(usize::from(concurrency));
    let filled = CancellationToken::new();
    (Source { client: client.clone(), store, writer, filled, wakes, concurrency }, lane)
}
