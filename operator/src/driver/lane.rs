//! The memory of a controller: when each object is due, and the way to wake one.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

use super::share::{Answer, Share};

/// The passes of one kind.
///
/// kube's scheduler keeps the earliest time of all requests for an object, so the event of our own status write would cancel
/// a backoff. What decides here is this memory: an object gets a pass when it changed, when it is due, or when it was woken.
#[derive(Debug)]
pub struct Lane<K: Resource> {
    objects: Mutex<HashMap<String, Memory>>,
    share: Mutex<Share>,
    /// Changes that were seen and have had no pass yet.
    noticed: Mutex<HashMap<String, Instant>>,
    /// Called before they were known, as by a rollout that a new leader takes up.
    called: Mutex<HashSet<String>>,
    // Unbounded, yet bounded by the objects: the scheduler behind it takes at once and keeps one request for each object.
    wakes: UnboundedSender<ObjectRef<K>>,
}

#[derive(Debug, Clone, Copy)]
struct Memory {
    seen: Fingerprint,
    due: Instant,
    failures: u32,
    woken: bool,
    /// A change of it is still being carried out for the first time.
    fresh: bool,
    written: Option<Written>,
    ready: bool,
    /// A pass is under way.
    busy: bool,
    /// Passes that were begun.
    passes: u64,
}

impl Memory {
    fn new(seen: Fingerprint, due: Instant) -> Self {
        Self {
            seen,
            due,
            failures: 0,
            woken: false,
            fresh: false,
            written: None,
            ready: false,
            busy: false,
            passes: 0,
        }
    }

    fn begin(&mut self) {
        self.busy = true;
        self.passes += 1;
    }
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
        /// Somebody waits for it: the object is new, changed or being deleted. It never queues behind the standing population.
        urgent: bool,
    },
    /// Not before this time has gone by.
    After(Duration),
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Lane<K> {
    /// A lane, and the requests that its wakes make. `share` background passes run at a time.
    pub fn new(share: usize) -> (Self, UnboundedReceiver<ObjectRef<K>>) {
        let (wakes, requests) = unbounded();
        let share = Mutex::new(Share::of(share));
        (
            Self {
                objects: Mutex::default(),
                share,
                noticed: Mutex::default(),
                called: Mutex::default(),
                wakes,
            },
            requests,
        )
    }

    /// Asks for a pass over the object with this name, whatever its backoff. Does nothing for one that is not there.
    pub fn wake(&self, name: &str) {
        if let Some(memory) = self.objects().get_mut(name) {
            memory.woken = true;
        }
        self.request(name);
    }

    /// As [`Self::wake`], and it counts for an object that is not known yet, too: that does not rest then.
    pub fn call(&self, name: &str) {
        if !self.objects().contains_key(name) {
            locked(&self.called).insert(name.to_owned());
        }
        self.wake(name);
    }

    /// Whether `object` is as it was before our own last write.
    fn is_behind(memory: &Memory, object: &K, now: Instant) -> bool {
        matches!(
            (memory.written, version(object)),
            (Some(written), Some(version)) if version < written.version
                && now.saturating_duration_since(written.at) < STALE_LIMIT
        )
    }

    fn request(&self, name: &str) {
        // A lane without a controller is shutting down.
        let _closed = self.wakes.unbounded_send(ObjectRef::new(name));
    }

    /// The watch brought `object`; whether it asks for an urgent pass by that. `handled`: its status speaks of this generation.
    pub fn notice(&self, object: &K, finalizer: Option<&str>, handled: bool, now: Instant) -> bool {
        let name = object.name_any();
        let known = self.objects().get(&name).map(|memory| memory.seen == Fingerprint::of(object, finalizer));
        let urgent = !known.unwrap_or(handled);
        urgent && locked(&self.noticed).insert(name, now).is_none()
    }

    /// Changes that were seen and have had no pass yet.
    pub fn noticed(&self) -> usize {
        locked(&self.noticed).len()
    }

    /// How long the change that an urgent pass begins with has waited.
    pub fn began(&self, name: &str, now: Instant) -> Option<Duration> {
        locked(&self.noticed).remove(name).map(|since| now.saturating_duration_since(since))
    }

    /// A place among the background passes, and how long it was waited for. Without one, the object is woken when there is.
    pub(super) fn background(&self, name: &str, now: Instant) -> Option<(Place<'_, K>, Duration)> {
        match locked(&self.share).ask(name, now) {
            Answer::Run(waited) => Some((Place(self), waited)),
            Answer::Wait => {
                // Its time has come, and the wake that may have told so is used up.
                if let Some(memory) = self.objects().get_mut(name) {
                    (memory.due, memory.busy) = (now, false);
                }
                None
            }
        }
    }

    /// `name` wants no place among the background passes.
    pub(super) fn withdraw(&self, name: &str) {
        let next = locked(&self.share).withdraw(name);
        next.iter().for_each(|next| self.request(next));
    }

    /// Background passes that wait for a place.
    pub fn waiting(&self) -> usize {
        locked(&self.share).waiting()
    }

    /// Whether `object` gets a pass now. `handled`: its status speaks of this generation, as that of a standing object does when
    /// this process sees it first.
    pub fn turn(&self, object: &K, finalizer: Option<&str>, handled: bool, now: Instant) -> Turn {
        let seen = Fingerprint::of(object, finalizer);
        let mut objects = self.objects();
        let Some(memory) = objects.get_mut(&object.name_any()) else {
            // Known from its first pass on, so that a wake while it runs is not lost.
            let mut first = Memory { fresh: !handled, ..Memory::new(seen, now) };
            first.begin();
            objects.insert(object.name_any(), first);
            locked(&self.called).remove(&object.name_any());
            return Turn::Now { failures: 0, urgent: !handled };
        };
        if Self::is_behind(memory, object, now) {
            return Turn::After(STALE_RETRY);
        }
        let (changed, woken) = (memory.seen != seen, std::mem::take(&mut memory.woken));
        if changed || woken || now >= memory.due {
            memory.begin();
            let failures = if changed { 0 } else { memory.failures };
            return Turn::Now { failures, urgent: changed || memory.fresh };
        }
        Turn::After(memory.due.saturating_duration_since(now))
    }

    /// A pass over `object` ended; the next is due at `due`. `fresh`: it has not yet done what a change asked for.
    pub fn passed(&self, object: &K, finalizer: Option<&str>, failures: u32, due: Instant, fresh: bool) {
        let mut objects = self.objects();
        let before = objects.get(&object.name_any()).copied();
        let seen = Fingerprint::of(object, finalizer);
        // Woken while it ran: the pass may have read what was there before.
        let before = before.unwrap_or(Memory::new(seen, due));
        objects.insert(object.name_any(), Memory { seen, due, failures, fresh, busy: false, ..before });
    }

    /// Takes note of an object that needs no pass before `due`; does nothing for one that is known.
    pub fn rests(&self, object: &K, finalizer: Option<&str>, due: Instant) {
        let seen = Fingerprint::of(object, finalizer);
        // The mark stays until its pass: more than one says that it may rest.
        if locked(&self.called).contains(&object.name_any()) {
            return;
        }
        self.objects()
            .entry(object.name_any())
            .or_insert_with(|| Memory { ready: true, ..Memory::new(seen, due) });
    }

    /// The number of passes that `object` had, if none is under way or asked for. While that stays the same, what was read of
    /// the object at two times was read between the same two passes.
    pub fn at_rest(&self, object: &K, finalizer: Option<&str>, now: Instant) -> Option<u64> {
        let objects = self.objects();
        let memory = objects.get(&object.name_any())?;
        let asked_for =
            memory.woken || now >= memory.due || memory.seen != Fingerprint::of(object, finalizer);
        let rests = !memory.busy && !asked_for && !Self::is_behind(memory, object, now);
        rests.then_some(memory.passes)
    }

    /// Our write to `object` made it this version.
    pub fn wrote(&self, object: &K, now: Instant) {
        if let (Some(memory), Some(version)) = (self.objects().get_mut(&object.name_any()), version(object)) {
            memory.written = Some(Written { version, at: now });
        }
    }

    /// `object` is Ready; whether that is the first time in this process.
    pub fn first_ready(&self, object: &K) -> bool {
        self.objects()
            .get_mut(&object.name_any())
            .is_some_and(|memory| !std::mem::replace(&mut memory.ready, true))
    }

    /// The object is gone.
    pub fn forget(&self, name: &str) {
        self.objects().remove(name);
        locked(&self.noticed).remove(name);
        locked(&self.called).remove(name);
        self.withdraw(name);
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        locked(&self.objects)
    }
}

/// A place among the background passes; whoever waits longest gets it next.
#[derive(Debug)]
pub(super) struct Place<'a, K: Resource<DynamicType = ()> + Clone + 'static>(&'a Lane<K>);

impl<K: Resource<DynamicType = ()> + Clone + 'static> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let next = locked(&self.0.share).leave();
        next.iter().for_each(|next| self.0.request(next));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resource versions are integers that can be compared, since Kubernetes 1.35 (KEP-5504).
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tenantry_crds::v1alpha1::Tenant;

    use super::*;

    const MINE: Option<&str> = Some("tenantry.dev/provisioned");
    const MINUTE: Duration = Duration::from_secs(60);

    fn tenant(meta: Value) -> Tenant {
        let mut all = json!({"name": "acme", "uid": "1", "generation": 1, "resourceVersion": "10"});
        all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        serde_json::from_value(
            json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": all, "spec": {}}),
        )
        .unwrap()
    }

    fn failed_once(now: Instant) -> (Lane<Tenant>, UnboundedReceiver<ObjectRef<Tenant>>) {
        let (lane, wakes) = Lane::new(1);
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 0, urgent: false });
        lane.passed(&tenant(json!({})), MINE, 1, now + MINUTE, false);
        (lane, wakes)
    }

    #[test]
    fn our_own_status_write_does_not_cancel_a_backoff() {
        let now = Instant::now();
        let (lane, _wakes) = failed_once(now);
        let status_written = tenant(json!({"resourceVersion": "11"}));
        assert_eq!(lane.turn(&status_written, MINE, true, now), Turn::After(MINUTE));
        assert_eq!(
            lane.turn(&status_written, MINE, true, now + MINUTE),
            Turn::Now { failures: 1, urgent: false }
        );
    }

    #[test]
    fn a_change_clears_the_backoff_and_a_wake_keeps_the_count() {
        let now = Instant::now();
        for change in [
            json!({"generation": 2}),
            json!({"uid": "2"}),
            json!({"labels": {"a": "b"}}),
            json!({"annotations": {"tenantry.dev/reconcile-at": "now"}}),
            json!({"finalizers": MINE.into_iter().collect::<Vec<_>>()}),
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        ] {
            let (lane, _wakes) = failed_once(now);
            let turn = lane.turn(&tenant(change.clone()), MINE, true, now);
            assert_eq!(turn, Turn::Now { failures: 0, urgent: true }, "{change}");
        }
        let (lane, mut wakes) = failed_once(now);
        lane.wake("acme");
        assert!(wakes.try_recv().is_ok());
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 1, urgent: false });
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::After(MINUTE));
    }

    #[test]
    fn a_wake_during_a_pass_is_not_lost() {
        let now = Instant::now();
        let (lane, _wakes) = Lane::new(1);
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 0, urgent: false });
        lane.wake("acme");
        lane.passed(&tenant(json!({})), MINE, 0, now + MINUTE, false);
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 0, urgent: false });
    }

    #[test]
    fn an_object_that_rests_gets_no_pass_until_it_is_due_or_asked_for() {
        let now = Instant::now();
        let (lane, _wakes) = Lane::new(1);
        assert_eq!(lane.at_rest(&tenant(json!({})), MINE, now), None, "not seen yet");
        lane.rests(&tenant(json!({})), MINE, now + MINUTE);
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::After(MINUTE));
        assert_eq!(lane.at_rest(&tenant(json!({})), MINE, now), Some(0));
        assert_eq!(lane.at_rest(&tenant(json!({"generation": 2})), MINE, now), None, "it changed");
        assert_eq!(lane.at_rest(&tenant(json!({})), MINE, now + MINUTE), None, "it is due");
        lane.wake("acme");
        assert_eq!(lane.at_rest(&tenant(json!({})), MINE, now), None, "it is woken");
        lane.rests(&tenant(json!({})), MINE, now + MINUTE);
        assert_eq!(
            lane.turn(&tenant(json!({})), MINE, true, now),
            Turn::Now { failures: 0, urgent: false },
            "the wake counts"
        );
        assert_eq!(lane.at_rest(&tenant(json!({})), MINE, now), None, "a pass is under way");
        lane.passed(&tenant(json!({})), MINE, 0, now + MINUTE, false);
        assert_eq!(lane.at_rest(&tenant(json!({})), MINE, now), Some(1));
    }

    #[test]
    fn a_cache_behind_our_own_write_is_waited_for_but_not_for_ever() {
        let now = Instant::now();
        let (lane, _wakes) = failed_once(now);
        lane.wrote(&tenant(json!({"resourceVersion": "12"})), now);
        let changed = tenant(json!({"generation": 2, "resourceVersion": "11"}));
        assert_eq!(lane.turn(&changed, MINE, true, now), Turn::After(STALE_RETRY));
        assert_eq!(
            lane.turn(&changed, MINE, true, now + STALE_LIMIT),
            Turn::Now { failures: 0, urgent: true }
        );
    }

    #[test]
    fn a_new_object_is_urgent_until_its_change_is_done_and_a_standing_one_is_not() {
        let now = Instant::now();
        let (lane, _wakes) = Lane::new(1);
        let new = tenant(json!({}));
        assert!(lane.notice(&new, MINE, false, now));
        assert_eq!(lane.turn(&new, MINE, false, now), Turn::Now { failures: 0, urgent: true });
        assert_eq!(lane.began("acme", now + MINUTE), Some(MINUTE));
        // A search task is still running.
        lane.passed(&new, MINE, 0, now + MINUTE, true);
        lane.wake("acme");
        assert_eq!(lane.turn(&new, MINE, true, now), Turn::Now { failures: 0, urgent: true });
        lane.passed(&new, MINE, 0, now + MINUTE, false);
        assert!(!lane.notice(&new, MINE, true, now), "our own status write");
        lane.wake("acme");
        assert_eq!(lane.turn(&new, MINE, true, now), Turn::Now { failures: 0, urgent: false });
        let (lane, _wakes) = Lane::new(1);
        assert!(!lane.notice(&new, MINE, true, now), "seen for the first time by this process only");
        assert_eq!(lane.turn(&new, MINE, true, now), Turn::Now { failures: 0, urgent: false });
    }

    #[test]
    fn who_is_called_before_it_is_known_does_not_rest() {
        let now = Instant::now();
        let (lane, _wakes) = Lane::new(1);
        lane.call("acme");
        // The drift scan says so of all, and then the reconcile of this one.
        lane.rests(&tenant(json!({})), MINE, now + MINUTE);
        lane.rests(&tenant(json!({})), MINE, now + MINUTE);
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 0, urgent: false });
        lane.passed(&tenant(json!({})), MINE, 0, now + MINUTE, false);
        lane.call("acme");
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 0, urgent: false });
    }

    #[test]
    fn who_found_no_place_is_woken_and_still_due() {
        let now = Instant::now();
        let (lane, mut wakes) = failed_once(now);
        let (place, _) = lane.background("other", now).unwrap();
        lane.wake("acme");
        assert!(wakes.try_recv().is_ok());
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 1, urgent: false });
        assert!(lane.background("acme", now).is_none());
        drop(place);
        assert_eq!(wakes.try_recv().unwrap(), ObjectRef::new("acme"));
        assert_eq!(lane.turn(&tenant(json!({})), MINE, true, now), Turn::Now { failures: 1, urgent: false });
        assert!(lane.background("acme", now).is_some());
    }
}
