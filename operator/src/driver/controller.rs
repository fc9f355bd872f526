//! A kube `Controller` for a kind.

use std::{convert::Infallible, future::ready, sync::Arc};

use futures::{StreamExt, channel::mpsc::UnboundedReceiver};
use kube::{
    Api, Client,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::{ObjectRef, Store, store::Writer},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    kind::Kind,
    reconcile::reconcile,
    watch::{Change, watch},
};
use crate::context::Context;

/// What a controller is made of.
pub struct Source<K: Kind> {
    /// For watches: no read timeout.
    pub client: Client,
    /// The cache, shared with all passes.
    pub store: Store<K>,
    /// Its only writer.
    pub writer: Writer<K>,
    /// Cancelled once the cache is complete.
    pub filled: CancellationToken,
    /// The requests that `Lane::wake` makes.
    pub wakes: UnboundedReceiver<ObjectRef<K>>,
    /// Passes at the same time, over different objects.
    pub concurrency: u16,
}

impl<K: Kind> Source<K> {
    /// Runs until `shutdown`, then until the passes under way have ended. If it ends sooner, the process cannot do its work
    /// and has to exit.
    pub async fn run(
        self,
        ctx: Arc<Context>,
        on_change: impl FnMut(Change<K>) + Send + 'static,
        shutdown: CancellationToken,
    ) {
        let Self { client, store, writer, filled, wakes, concurrency } = self;
        let objects =
            watch(Api::all(client), store.clone(), writer, filled, forgetting(ctx.clone(), on_change));
        // 0 would mean no bound at all.
        let config = controller::Config::default().concurrency(concurrency.max(1));
        Controller::for_stream(objects, store)
            .with_config(config)
            .reconcile_on(wakes)
            .graceful_shutdown_on(shutdown.cancelled_owned())
            .run(reconcile::<K>, never, ctx)
            .for_each(|_| ready(()))
            .await;
    }
}

fn forgetting<K: Kind>(
    ctx: Arc<Context>,
    mut on_change: impl FnMut(Change<K>) + Send + 'static,
) -> impl FnMut(Change<K>) + Send + 'static {
    move |change| {
        if let (Some(gone), None) = (&change.before, &change.after) {
            K::lane(&ctx).forget(&kube::ResourceExt::name_any(&**gone));
        }
        on_change(change);
    }
}

fn never<K>(_: Arc<K>, error: &Infallible, _: Arc<Context>) -> Action {
    match *error {}
}
