//! Which objects the last pass left in place, as far as they tell themselves.

use kube::ResourceExt;
use tenantry_crds::{
    conditions::ConditionType,
    labels::{GROUP, PAUSED_ANNOTATION},
};

use super::kind::Kind;

/// Whether `object` says that everything it declares is in place: Ready at its newest generation, under our finalizer, and
/// neither going nor paused.
pub fn stands<K: Kind>(object: &K) -> bool {
    let meta = object.meta();
    let ready = |status: &K::Status| {
        K::conditions(status).iter().any(|condition| {
            condition.type_ == ConditionType::Ready.as_str()
                && condition.status == "True"
                && condition.observed_generation == meta.generation
        })
    };
    meta.deletion_timestamp.is_none()
        && K::FINALIZER.is_none_or(|ours| object.finalizers().iter().any(|finalizer| finalizer == ours))
        && !object.annotations().contains_key(PAUSED_ANNOTATION)
        && object.status().is_some_and(ready)
}

/// Whether `object`, seen for the first time, can wait for the drift scan: it stands, and nobody asked for anything by an
/// annotation of ours while no operator ran, nor time.
pub fn may_rest<K: Kind>(object: &K) -> bool {
    let asks = |key: &String| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    K::SCANNED && !object.is_timed() && stands(object) && !object.annotations().keys().any(asks)
}
