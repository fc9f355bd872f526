//! The API server.

use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::LIMIT;
use tenantry_e2e::manifests::uses;
use tenantry_rig::eventually;
use tenantry_rig::proxy::{Answer, Fault, Mode};

use super::servers::SLOW;
use super::world::World;

/// Requests that a fault may cost.
const REQUESTS_AT_MOST: usize = 60;

#[tokio::test]
async fn writes_that_are_refused_are_tried_again_and_nothing_is_made_without_the_finalizer() {
    let world = World::new().await;
    let requests = &world.proxies.kubernetes_requests;
    for (name, code, retry_after) in
        [("conflict", 409, None), ("throttled", 429, Some(1)), ("failing", 500, None)]
    {
        let answer = Answer::Status { code, retry_after };
        requests.set(Some(Fault { answer, path: "/tenantry.dev/".to_owned(), writes_only: true }));
        let before = requests.requests().len();
        world.cluster.tenant(name, uses("shop", "Delete")).await;
        let patch = format!("PATCH /apis/tenantry.dev/v1alpha1/tenants/{name}");
        let asked = || requests.requests()[before..].iter().filter(|line| line.starts_with(&patch)).count();
        eventually("it is tried again", LIMIT, async || match asked() {
            0..3 => Err("not yet"),
            _ => Ok(()),
        })
        .await
        .unwrap();
        assert_eq!(world.cluster.traces(name).await, [""; 0], "made before the finalizer was there");
        assert!(asked() < REQUESTS_AT_MOST, "{} requests while it answers {code}", asked());
        world.proxies.heal();
        world.until_healed(name).await;
    }
}

#[tokio::test]
async fn an_api_server_that_goes_and_comes_back() {
    let world = World::new().await;
    for (name, mode) in
        [("refused", Mode::Refuse), ("cut", Mode::Reset { after: 200 }), ("hanging", Mode::Hang)]
    {
        world.proxies.kubernetes.set(mode);
        world.cluster.tenant(name, uses("shop", "Delete")).await;
        if mode == Mode::Hang {
            // Until after the lease: a leader that cannot renew it must not go on.
            let status = world.operator.process().exited(LIMIT).await.unwrap();
            assert!(!status.success(), "{status}");
            world.proxies.heal();
            world.operator.server().start().await.unwrap();
        } else {
            let before = world.proxies.kubernetes.accepted();
            eventually("it is tried again", LIMIT, async || {
                // Nobody listens in the one case, so there is nothing to count.
                let tried = world.proxies.kubernetes.accepted() - before;
                if tried >= 2 || mode == Mode::Refuse { Ok(()) } else { Err("not yet") }
            })
            .await
            .unwrap();
            let tried = world.proxies.kubernetes.accepted() - before;
            assert!(tried < REQUESTS_AT_MOST, "{tried} connections");
            world.proxies.heal();
        }
        world.until_healed(name).await;
    }
}

#[tokio::test]
async fn an_api_server_that_is_slow_only_costs_time() {
    let world = World::new().await;
    world.proxies.kubernetes.set(SLOW);
    world.cluster.tenant("slow", uses("shop", "Delete")).await;
    world.until_healed("slow").await;
    world.cluster.delete::<Tenant>("slow").await;
    assert_eq!(world.cluster.traces("slow").await, [""; 0]);
    world.proxies.heal();
}

#[tokio::test]
async fn a_cache_that_is_kept_in_the_past_does_no_harm() {
    let world = World::new().await;
    let api: Api<Tenant> = Api::all(world.stack.endpoints().kube_client().await.unwrap());
    for name in ["keeps", "goes", "again"] {
        world.cluster.tenant(name, uses("shop", "Delete")).await;
        world.until_healed(name).await;
    }
    let version = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let fault =
        Fault { answer: Answer::StaleAt(version), path: "/tenantry.dev/".to_owned(), writes_only: false };
    world.proxies.kubernetes_requests.set(Some(fault));

    let mut changed = uses("shop", "Delete");
    changed["hosts"] = json!(["past.example.com"]);
    world.cluster.tenant("keeps", changed).await;
    api.delete("goes", &DeleteParams::default()).await.unwrap();
    world.cluster.tenant("fresh", uses("shop", "Delete")).await;
    // A pass over what it sees of the past.
    world.cluster.nudge("again").await;
    let hosts = "SELECT tenant FROM tenantry.tenant_host WHERE host = 'past.example.com'";
    assert_eq!(world.cluster.texts(hosts).await, [""; 0]);
    assert_eq!(world.cluster.traces("fresh").await, [""; 0]);
    assert_eq!(world.cluster.traces("goes").await.len(), 4, "nothing goes by hearsay");

    world.proxies.heal();
    for name in ["keeps", "fresh", "again"] {
        world.until_healed(name).await;
    }
    assert_eq!(world.cluster.texts(hosts).await, ["keeps"]);
    eventually("the deleted one is gone", LIMIT, || async {
        let left = world.cluster.traces("goes").await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
    .unwrap();
}
