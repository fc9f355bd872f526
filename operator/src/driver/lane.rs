//! The memory of a controller: when each object is due, and the way to wake one.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

/// The passes of one kind.
///
/// kube's scheduler keeps the earliest time of all requests for an object, so the event of our own status write would cancel
/// a backoff. What decides here is this memory: an object gets a pass when it changed, when it is due, or when it was woken.
#[derive(Debug)]
pub struct Lane<K: Resource> {
    objects: Mutex<HashMap<String, Memory>>,
    // Unbounded, yet bounded by the objects: the scheduler behind it takes at once and keeps one request for each object.
    wakes: UnboundedSender<ObjectRef<K>>,
}

#[derive(Debug, Clone, Copy)]
struct Memory {
    seen: Fingerprint,
    due: Instant,
    failures: u32,
    woken: bool,
    written: Option<Written>,
}

/// Our last write to an object, by which a cache that lags behind it is known.
#[derive(Debug, Clone, Copy)]
struct Written {
    version: u64,
    at: Instant,
}

/// A cache that is behind our own write for longer is taken as it is: after a restored etcd the versions run back for good.
const STALE_LIMIT: Duration = Duration::from_secs(2);
const STALE_RETRY: Duration = Duration::from_millis(50);

/// Everything about an object that asks for a pass. Status is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of `object`; `finalizer` is ours.
    pub fn of<K: Resource>(object: &K, finalizer: Option<&str>) -> Self {
        let meta = object.meta();
        let mut hasher = DefaultHasher::new();
        (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(&mut hasher);
        (finalizer.is_some_and(|ours| object.finalizers().iter().any(|f| f == ours))).hash(&mut hasher);
        meta.deletion_timestamp.is_some().hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Whether an object gets a pass now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Yes; the passes over this very object that failed before.
    Now {
        /// Failures in a row.
        failures: u32,
    },
    /// Not before this time has gone by.
    After(Duration),
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Lane<K> {
    /// A lane, and the requests that its wakes make.
    pub fn new() -> (Self, UnboundedReceiver<ObjectRef<K>>) {
        let (wakes, requests) = unbounded();
        (Self { objects: Mutex::default(), wakes }, requests)
    }

    /// Asks for a pass over the object with this name, whatever its backoff. Does nothing for one that is not there.
    pub fn wake(&self, name: &str) {
        if let Some(memory) = self.objects().get_mut(name) {
            memory.woken = true;
        }
        // A lane without a controller is shutting down.
        let _closed = self.wakes.unbounded_send(ObjectRef::new(name));
    }

    /// Whether `object` gets a pass now.
    pub fn turn(&self, object: &K, finalizer: Option<&str>, now: Instant) -> Turn {
        let seen = Fingerprint::of(object, finalizer);
        let mut objects = self.objects();
        let Some(memory) = objects.get_mut(&object.name_any()) else {
            // Known from its first pass on, so that a wake while it runs is not lost.
            let first = Memory { seen, due: now, failures: 0, woken: false, written: None };
            objects.insert(object.name_any(), first);
            return Turn::Now { failures: 0 };
        };
        if let (Some(written), Some(version)) = (memory.written, version(object))
            && version < written.version
            && now.saturating_duration_since(written.at) < STALE_LIMIT
        {
            return Turn::After(STALE_RETRY);
        }
        let (changed, woken) = (memory.seen != seen, std::mem::take(&mut memory.woken));
        if changed || woken || now >= memory.due {
            return Turn::Now { failures: if changed { 0 } else { memory.failures } };
        }
        Turn::After(memory.due.saturating_duration_since(now))
    }

    /// A pass over `object` ended; the next is due at `due`.
    pub fn passed(&self, object: &K, finalizer: Option<&str>, failures: u32, due: Instant) {
        let mut objects = self.objects();
        let before = objects.get(&object.name_any()).copied();
        let memory = Memory {
            seen: Fingerprint::of(object, finalizer),
            due,
            failures,
            // Woken while it ran: the pass may have read what was there before.
            woken: before.is_some_and(|memory| memory.woken),
            written: before.and_then(|memory| memory.written),
        };
        objects.insert(object.name_any(), memory);
    }

    /// Our write to `object` made it this version.
    pub fn wrote(&self, object: &K, now: Instant) {
        if let (Some(memory), Some(version)) = (self.objects().get_mut(&object.name_any()), version(object)) {
            memory.written = Some(Written { version, at: now });
        }
    }

    /// The object is gone.
    pub fn forget(&self, name: &str) {
        self.objects().remove(name);
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions are integers that can be compared, since Kubernetes 1.35 (KEP-5504).
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}
