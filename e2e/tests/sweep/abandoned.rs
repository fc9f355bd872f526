//! A Tenant that goes before anything but its streams is there, while no operator runs.

use std::time::Duration;

use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_e2e::program::{ProgramOptions, bootstrap, mortal_operator};
use tenantry_rig::process::Sandbox;
use tenantry_rig::{Stack, eventually};

use super::dump::{Dump, dump};
use super::scenario::{Scenario, remove};

const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "abandoned";

#[tokio::test]
#[ignore = "needs the kill points; make sweep"]
async fn streams_that_no_registry_tells_of_go_with_their_tenant() {
    let stack =
        Stack::private("its operator dies, and no other one may finish the work in its place").await.unwrap();
    apply_crds(stack.endpoints()).await.unwrap();
    bootstrap(stack.endpoints(), &ProgramOptions::default()).await.unwrap();
    let cluster = Cluster::of(stack.endpoints()).await;
    let sandbox = Sandbox::create(NAME, None).unwrap();
    cluster.app(NAME, shop("1.0.0", customer())).await;
    cluster.search_index(NAME, search_of(NAME)).await;
    // It says nothing of where it is to be: the only instances there are.
    cluster.tenant(NAME, uses(NAME, "Delete")).await;

    let death = [("TENANTRY_KILL_POINT", "redis.streams.after")];
    let dying = mortal_operator(&sandbox, stack.endpoints(), NAME, &death).unwrap();
    assert!(!dying.exited(LIMIT).await.unwrap().success());
    assert!(!cluster.keys(NAME).await.is_empty(), "it died before it made a stream");
    remove(&cluster, NAME).await;

    let operator = mortal_operator(&sandbox, stack.endpoints(), NAME, &[]).unwrap();
    eventually("it is gone", LIMIT, || Scenario::Delete.is_done(&cluster, NAME)).await.unwrap();
    assert_eq!(dump(&cluster, NAME).await, Dump::new());
    operator.kill().await.unwrap();
}
