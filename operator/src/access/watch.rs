//! Wakes a tenant when one of its Secrets changes or goes. Only metadata is watched, and only of Secrets that bear our label.

use std::{collections::HashMap, sync::Arc};

use futures::{StreamExt, stream::SelectAll};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tenantry_crds::labels::{MANAGED_BY, MANAGED_BY_LABEL, TENANT_LABEL};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Watches until `stop`; `client` is the one for watches.
pub async fn watch(client: Client, ctx: Arc<Context>, stop: CancellationToken) {
    let namespaces = &ctx.settings.access.secret_namespaces;
    let apis: Vec<Api<PartialObjectMeta<Secret>>> = if namespaces.iter().any(|name| name == "*") {
        vec![Api::all(client)]
    } else {
        namespaces.iter().map(|name| Api::namespaced(client.clone(), name)).collect()
    };
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let mut events = SelectAll::new();
    for (at, api) in apis.into_iter().enumerate() {
        let stream = watcher(api, config.clone()).default_backoff();
        events.push(stream.map(move |event| (at, event)).boxed());
    }
    let mut known: HashMap<usize, Known> = HashMap::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some((at, Ok(event))) => {
                for tenant in known.entry(at).or_default().hear(event) {
                    ctx.lanes.tenants.wake(&tenant);
                }
            }
            Some((_, Err(error))) => {
                tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "watching Secrets");
            }
            // Without a namespace there is nothing to hear.
            None => return stop.cancelled().await,
        }
    }
}

/// The Secrets of one watch: tenant and version, by namespace and name.
#[derive(Debug, Default)]
struct Known {
    secrets: HashMap<(String, String), (String, String)>,
    /// Those of a list that is under way.
    listed: Option<HashMap<(String, String), (String, String)>>,
    complete: bool,
}

impl Known {
    /// The tenants that an event concerns. The first list wakes nobody: every tenant gets a pass at the start.
    fn hear(&mut self, event: Event<PartialObjectMeta<Secret>>) -> Vec<String> {
        match event {
            Event::Init => {
                self.listed = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(secret) => {
                let (name, what) = entry(&secret);
                self.listed.get_or_insert_default().insert(name, what);
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.secrets, self.listed.take().unwrap_or_default());
                if !std::mem::replace(&mut self.complete, true) {
                    return Vec::new();
                }
                let changed = self.secrets.iter().filter(|(name, what)| before.get(*name) != Some(*what));
                let gone = before.iter().filter(|(name, _)| !self.secrets.contains_key(*name));
                changed.chain(gone).map(|(_, (tenant, _))| tenant.clone()).collect()
            }
            Event::Apply(secret) => {
                let (name, what) = entry(&secret);
                let tenant = what.0.clone();
                self.secrets.insert(name, what);
                vec![tenant]
            }
            Event::Delete(secret) => {
                let (name, (tenant, _)) = entry(&secret);
                // The label may be what was taken off.
                vec![self.secrets.remove(&name).map_or(tenant, |(tenant, _)| tenant)]
            }
        }
    }
}

fn entry(secret: &PartialObjectMeta<Secret>) -> ((String, String), (String, String)) {
    let tenant = secret.labels().get(TENANT_LABEL).cloned().unwrap_or_default();
    let name = (secret.namespace().unwrap_or_default(), secret.name_any());
    (name, (tenant, secret.resource_version().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(name: &str, tenant: &str, version: &str) -> PartialObjectMeta<Secret> {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
            "name": name, "namespace": "default", "resourceVersion": version, "labels": {TENANT_LABEL: tenant},
        }}))
        .unwrap()
    }

    #[test]
    fn whoever_lost_a_secret_is_woken_also_when_the_watch_was_down() {
        let mut known = Known::default();
        for event in [
            Event::Init,
            Event::InitApply(secret("a", "acme", "1")),
            Event::InitApply(secret("b", "globex", "2")),
        ] {
            assert!(known.hear(event).is_empty());
        }
        assert!(known.hear(Event::InitDone).is_empty(), "every tenant gets a pass at the start");
        assert_eq!(known.hear(Event::Apply(secret("a", "acme", "3"))), ["acme"]);
        for event in [Event::Init, Event::InitApply(secret("a", "acme", "3"))] {
            assert!(known.hear(event).is_empty());
        }
        assert_eq!(known.hear(Event::InitDone), ["globex"]);
        assert_eq!(known.hear(Event::Delete(secret("a", "acme", "4"))), ["acme"]);
    }
}
