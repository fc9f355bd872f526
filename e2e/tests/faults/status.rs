//! That the observer of status sees what it should: otherwise its silence in all other tests says nothing.

use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::{Cluster, LIMIT};
use tenantry_rig::kstatus::Observer;
use tenantry_rig::{Stack, eventually};

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test plays an operator with a fault")]
async fn a_status_that_breaks_a_rule_is_seen_and_fails_the_test() {
    let stack = Stack::private("a status is written by hand, which fails whoever watches").await.unwrap();
    apply_crds(stack.endpoints()).await.unwrap();
    let observer = Observer::start(stack.endpoints()).unwrap();
    let cluster = Cluster::of(stack.endpoints()).await;
    cluster.tenant("liar", json!({})).await;
    let api: Api<Tenant> = Api::all(stack.endpoints().kube_client().await.unwrap());
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "Because", "message": "so", "observedGeneration": 1,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let status = json!({"observedGeneration": 1, "conditions": [condition("Ready"), condition("Stalled")]});
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status("liar", &PatchParams::default(), &patch).await.unwrap();
    let seen = eventually("it is seen", LIMIT, async || match observer.violations() {
        seen if seen.len() >= 3 => Ok(seen),
        seen => Err(format!("{seen:?} of {} versions", observer.versions())),
    })
    .await
    .unwrap()
    .join("\n");
    assert!(
        seen.contains("closed set") && seen.contains("Ready while Stalled")
            || seen.contains("Ready while Ready"),
        "{seen}"
    );
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(observer)));
    assert!(failed.is_err(), "the end of the observer fails the test that has it");
}
