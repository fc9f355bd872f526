//! Events on failures that were not there before, on their end, and on drift that was repaired. They are an extra: none is
//! waited for, and none can fail a pass.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tenantry_crds::reason::Reason;
use tokio::sync::mpsc;

use crate::error::Error;

/// Events that wait to be sent; more are dropped.
const WAITING: usize = 256;
/// The pause after each, so that a fleet that fails at once does not flood the API server.
const PAUSE: Duration = Duration::from_millis(100);
/// The reason of Events about objects that are well again.
const READY: &str = "Ready";
/// The reason of Events about drift.
const DRIFT_REPAIRED: &str = "DriftRepaired";
const LIMIT: Duration = Duration::from_secs(5);
/// The most bytes that the API server takes in a note.
const NOTE_MAX_BYTES: usize = 1024;

/// Where Events go.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Sends them from a task of its own, in the name of `instance`. The task ends with the last handle.
    pub fn start(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "tenantry-operator".to_owned(), instance: Some(instance) };
        let (sender, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            while let Some((event, regarding)) = waiting.recv().await {
                // A recorder makes one of Events that differ in nothing but their note, and keeps the first note (kube 5.0).
                // What happened is in the note, so each goes through a recorder that knows no other; as they are told on
                // transitions only, there are few of them.
                let recorder = Recorder::new(client.clone(), reporter.clone());
                let published = tokio::time::timeout(LIMIT, recorder.publish(&event, &regarding)).await;
                if !matches!(published, Ok(Ok(()))) {
                    tracing::debug!(object = regarding.name, reason = event.reason, "an Event was not sent");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self(sender)
    }

    /// Something about `object` that no condition will say, since the object goes.
    pub fn told<K: Resource<DynamicType = ()>>(&self, object: &K, reason: Reason, note: &str) {
        let kind = if reason == Reason::Orphaned { EventType::Warning } else { EventType::Normal };
        self.publish(object, kind, reason.as_str(), "Delete", note);
    }

    /// A pass over `object` failed as it did not before.
    pub fn failed<K: Resource<DynamicType = ()>>(&self, object: &K, error: &Error) {
        let deleting = object.meta().deletion_timestamp.is_some();
        let action = if deleting { "Delete" } else { "Reconcile" };
        self.publish(object, EventType::Warning, error.reason().as_str(), action, &error.to_string());
    }

    /// `object` is Ready and was not before.
    pub fn recovered<K: Resource<DynamicType = ()>>(&self, object: &K, note: &str) {
        self.publish(object, EventType::Normal, READY, "Reconcile", note);
    }

    /// Something is in the schema of `object` that nobody declared, and was not there before.
    pub fn found_foreign<K: Resource<DynamicType = ()>>(&self, object: &K, note: &str) {
        self.publish(object, EventType::Warning, Reason::ForeignObjects.as_str(), "Reconcile", note);
    }

    /// Something of `object` was lost or changed and is in place again; a warning where data was `lost` with it.
    pub fn drift_repaired<K: Resource<DynamicType = ()>>(&self, object: &K, note: &str, lost: bool) {
        let kind = if lost { EventType::Warning } else { EventType::Normal };
        self.publish(object, kind, DRIFT_REPAIRED, "Repair", note);
    }

    fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note[..note.floor_char_boundary(NOTE_MAX_BYTES)].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        // Full: the conditions and the log say the same.
        let _dropped = self.0.try_send((event, object.object_ref(&())));
    }
}
