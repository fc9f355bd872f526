use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::violations;
use crate::{Endpoints, RigError};

/// One object with a broken rule writes it again and again; the first ones tell enough.
const AT_MOST: usize = 50;
/// How long the end waits for the thread, which may be in the middle of a connection attempt.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Watches the Tenants, Apps and SearchIndexes of an API server and holds every version of every object against the
/// rules. It panics when it is dropped and something was violated, so the test that owns it fails.
///
/// A thread with a runtime of its own, since a test's runtime ends with the test.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Seen {
    versions: usize,
    wrong: Vec<String>,
    last: HashMap<(String, String), Value>,
}

impl Observer {
    /// Starts to watch, as the cluster's administrator and past any proxy. The CRDs must be served.
    pub fn start(endpoints: &Endpoints) -> Result<Self, RigError> {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), CancellationToken::new());
        let (into, stopped, endpoints) = (Arc::clone(&seen), stop.clone(), endpoints.clone());
        let failed = |source| RigError::Spawn { name: "the status observer".to_owned(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        std::thread::Builder::new()
            .name("status-observer".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = observe(&endpoints, &into) => {}
                    }
                });
                runtime.shutdown_timeout(END_LIMIT);
            })
            .map_err(failed)?;
        Ok(Self { seen, _stop: stop.drop_guard() })
    }

    /// What was violated so far.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.seen).wrong.clone()
    }

    /// How many versions of objects were looked at.
    pub fn versions(&self) -> usize {
        lock(&self.seen).versions
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let wrong = self.violations();
        // A panic within a panic would abort, and hide the first.
        if !wrong.is_empty() && !std::thread::panicking() {
            #[allow(clippy::panic, reason = "an assertion at the end of a test")]
            {
                panic!("a status broke the rules:\n{}", wrong.join("\n"));
            }
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("versions", &self.versions()).finish_non_exhaustive()
    }
}

async fn observe(endpoints: &Endpoints, seen: &Mutex<Seen>) {
    let client = match endpoints.kube_client().await {
        Ok(client) => client,
        Err(error) => return lock(seen).wrong.push(format!("the observer has no client: {error}")),
    };
    let kinds = [
        ApiResource::erase::<Tenant>(&()),
        ApiResource::erase::<App>(&()),
        ApiResource::erase::<SearchIndex>(&()),
    ];
    let mut events = stream::select_all(kinds.map(|kind| watched(client.clone(), kind)));
    while let Some((step, object)) = events.next().await {
        lock(seen).look(step, object);
    }
}

/// Whether the version before is known: a list may have missed some.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    First,
    Next,
}

/// Every version of every object of a kind. A server that is away is tried again, with kube's backoff.
fn watched(client: Client, kind: ApiResource) -> stream::BoxStream<'static, (Step, DynamicObject)> {
    let api: Api<DynamicObject> = Api::all_with(client, &kind);
    watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| async { event.ok() })
        .filter_map(|event| async {
            match event {
                watcher::Event::Apply(object) | watcher::Event::Delete(object) => Some((Step::Next, object)),
                watcher::Event::InitApply(object) => Some((Step::First, object)),
                watcher::Event::Init | watcher::Event::InitDone => None,
            }
        })
        .boxed()
}

impl Seen {
    fn look(&mut self, step: Step, object: DynamicObject) {
        let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
        let (name, version) = (object.name_any(), object.resource_version().unwrap_or_default());
        let Ok(after) = serde_json::to_value(&object) else { return };
        self.versions += 1;
        let key = (kind, name);
        let before = self.last.get(&key).filter(|_| step == Step::Next);
        let wrong = violations(before, &after);
        let (kind, name) = &key;
        for what in wrong.into_iter().take(AT_MOST.saturating_sub(self.wrong.len())) {
            self.wrong.push(format!("{kind} {name} at {version}: {what}; status: {}", after["status"]));
        }
        self.last.insert(key, after);
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
