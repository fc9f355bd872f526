//! A watch that fills a store and tells what changed, deletions included.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        Predicate, WatchStreamExt, predicates,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// An object before and after; one of the two is missing when it was created or is gone.
#[derive(Debug, Clone)]
pub struct Change<K> {
    /// As it was in the store.
    pub before: Option<Arc<K>>,
    /// As it is in the store now.
    pub after: Option<Arc<K>>,
}

/// The objects that ask for a pass. `filled` is cancelled once `store` had its first list. `on_change` runs after the store has
/// the change; it also hears of what vanished while the watch was down, which is no event of its own. The first list is no
/// change: of 10,000 objects, each would wake all that depend on it.
pub(super) fn watch<K>(
    api: Api<K>,
    store: Store<K>,
    mut writer: Writer<K>,
    filled: CancellationToken,
    mut on_change: impl FnMut(Change<K>) + Send + 'static,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    // Status is not among them: our own writes must not wake us.
    let wakes = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations)
        .combine(predicates::labels)
        .combine(|object: &K| Some(u64::from(object.meta().deletion_timestamp.is_some())));
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .map_ok(move |event| {
            apply(&store, &mut writer, &event, &mut |change| {
                if filled.is_cancelled() {
                    on_change(change);
                }
            });
            if matches!(event, watcher::Event::InitDone) {
                filled.cancel();
            }
            event
        })
        .touched_objects()
        .predicate_filter(wakes, Default::default())
        .inspect(|item| {
            if let Err(error) = item {
                tracing::warn!(error = error as &(dyn std::error::Error + 'static), kind = %K::kind(&()), "watch failed");
            }
        })
}

fn apply<K>(
    store: &Store<K>,
    writer: &mut Writer<K>,
    event: &watcher::Event<K>,
    on_change: &mut impl FnMut(Change<K>),
) where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match event {
        watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
            let name = ObjectRef::from_obj(object);
            let before = store.get(&name);
            writer.apply_watcher_event(event);
            on_change(Change { before, after: store.get(&name) });
        }
        watcher::Event::Init | watcher::Event::InitApply(_) => writer.apply_watcher_event(event),
        watcher::Event::InitDone => {
            let mut before = by_name(store);
            writer.apply_watcher_event(event);
            for (name, after) in by_name(store) {
                let before = before.remove(&name);
                if before.as_ref().map(|o| o.resource_version()) != Some(after.resource_version()) {
                    on_change(Change { before, after: Some(after) });
                }
            }
            for gone in before.into_values() {
                on_change(Change { before: Some(gone), after: None });
            }
        }
    }
}

fn by_name<K: Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>) -> HashMap<String, Arc<K>> {
    store.state().into_iter().map(|object| (object.name_any(), object)).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;
    use tenantry_crds::v1alpha1::Tenant;

    use super::*;

    fn tenant(name: &str, version: u32) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "spec": {},
            "metadata": {"name": name, "resourceVersion": version.to_string()},
        }))
        .unwrap()
    }

    #[test]
    fn what_vanished_while_the_watch_was_down_is_told() {
        let (store, mut writer) = reflector::store();
        let mut told = Vec::new();
        let events = [
            Event::Init,
            Event::InitApply(tenant("a", 1)),
            Event::InitApply(tenant("b", 2)),
            Event::InitDone,
            Event::Delete(tenant("b", 3)),
            Event::Init,
            Event::InitApply(tenant("c", 4)),
            Event::InitDone,
        ];
        for event in &events {
            apply(&store, &mut writer, event, &mut |change: Change<Tenant>| {
                let name = |side: Option<Arc<Tenant>>| side.map_or_else(|| "-".into(), |t| t.name_any());
                told.push(format!("{}>{}", name(change.before), name(change.after)));
            });
        }
        told[..2].sort();
        assert_eq!(told, ["->a", "->b", "b>-", "->c", "a>-"]);
    }
}
