//! Two operators at once, and one that was frozen.

use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::manifests::{customer, shop, uses};
use tenantry_e2e::program::{Program, ProgramOptions, bootstrap};
use tenantry_rig::Stack;
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::world::LIMIT;

const LEASE: [(&str, &str); 2] =
    [("TENANTRY__LEADER__DURATION_SECONDS", "4"), ("TENANTRY__LEADER__RENEW_SECONDS", "1")];

#[tokio::test]
async fn of_two_operators_one_leads_and_a_frozen_one_comes_back_to_nothing() {
    let stack = Stack::private("two operators want to lead").await.unwrap();
    let endpoints = stack.endpoints();
    let settings = LEASE.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    apply_crds(endpoints).await.unwrap();
    bootstrap(endpoints, &options).await.unwrap();
    let first = Program::operator(endpoints, &options).await.unwrap();
    let second = Program::operator(endpoints, &options).await.unwrap();
    assert_eq!((leads(&first).await, leads(&second).await), (true, false));
    let cluster = Cluster::of(endpoints).await;
    cluster.app("pair", shop("1.0.0", customer())).await;
    cluster.tenant("pair-one", uses("pair", "Delete")).await;
    cluster.until_ready("pair-one").await;
    let epoch = "SELECT epoch::text FROM tenantry.leader_epoch";
    assert_eq!(cluster.texts(epoch).await, ["1"], "the standby opened none");

    first.server().pause();
    cluster.tenant("pair-two", uses("pair", "Delete")).await;
    eventually("the second takes over", LIMIT, || async {
        if leads(&second).await { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    cluster.until_ready("pair-two").await;
    assert_eq!(cluster.texts(epoch).await, ["2"]);

    first.server().resume();
    let status = first.process().exited(LIMIT).await.unwrap();
    assert!(!status.success(), "it lost what it had: {status}");
    assert_eq!(cluster.texts(epoch).await, ["2"]);
    assert!(leads(&second).await);

    first.server().start().await.unwrap();
    assert!(!leads(&first).await, "it is the standby now");
    second.server().kill().await.unwrap();
    cluster.tenant("pair-three", uses("pair", "Delete")).await;
    cluster.until_ready("pair-three").await;
    assert_eq!(cluster.texts(epoch).await, ["3"]);
}

async fn leads(operator: &Program) -> bool {
    let url = format!("{}/metrics", operator.metrics_url());
    let text = http_client().unwrap().get(url).send().await.unwrap().text().await.unwrap();
    text.lines().any(|line| line == "tenantry_leader 1")
}
