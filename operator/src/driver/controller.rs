//! A kube `Controller` for a kind.

use std::{convert::Infallible, future::ready, sync::Arc, time::Instant};

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
    reconcile::{is_handled, reconcile},
    watch::{Change, watch},
};
use crate::{context::Context, metrics::Queue};

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
    /// Passes at the same time, over different objects; the background may take as many again.
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
        // Background passes hold at most half of the slots, so a change of a manifest always finds one. 0 would mean no bound.
        let slots = concurrency.max(1).saturating_mul(2);
        ctx.metrics.slots(K::NAME, slots);
        let config = controller::Config::default().concurrency(slots);
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
        match (&change.before, &change.after) {
            (_, Some(object)) => {
                if K::lane(&ctx).notice(&**object, K::FINALIZER, is_handled(&**object), Instant::now()) {
                    ctx.metrics.queue.added(K::NAME, Queue::Urgent);
                }
            }
            (Some(gone), None) => K::lane(&ctx).forget(&kube::ResourceExt::name_any(&**gone)),
            (None, None) => {}
        }
        on_change(change);
    }
}

fn never<K>(_: Arc<K>, error: &Infallible, _: Arc<Context>) -> Action {
    match *error {}
}
