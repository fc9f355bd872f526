//! An old leader that was frozen in the middle of its work wakes up when another one leads.

use std::time::Duration;

use serde_json::json;
use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::program::{ProgramOptions, bootstrap, mortal_operator};
use tenantry_rig::process::{Sandbox, Signal, tail};
use tenantry_rig::{Stack, eventually};

use super::dump::dump;
use super::scenario::{Scenario, create, spec_of};

const LIMIT: Duration = Duration::from_secs(60);
/// One Lease for both of them.
const LEASE: &str = "frozen";

#[tokio::test]
#[ignore = "needs the kill points; make sweep"]
async fn the_fence_refuses_what_an_old_leader_still_had_in_its_hands() {
    let stack =
        Stack::private("an operator of another test would lead where this one is frozen").await.unwrap();
    apply_crds(stack.endpoints()).await.unwrap();
    bootstrap(stack.endpoints(), &ProgramOptions::default()).await.unwrap();
    let cluster = Cluster::of(stack.endpoints()).await;
    let sandbox = Sandbox::create("frozen", None).unwrap();
    create(&cluster, "frozen", "Delete").await;

    let freeze = [
        ("TENANTRY_KILL_POINT", "postgres.transaction.before"),
        ("TENANTRY_KILL_SIGNAL", "STOP"),
        // The new one takes over when the Lease has run out.
        ("TENANTRY__LEADER__DURATION_SECONDS", "3"),
        // The old one ends when it cannot renew it. By then its transaction has to be at Postgres.
        ("TENANTRY__LEADER__RENEW_SECONDS", "20"),
    ];
    let old = mortal_operator(&sandbox, stack.endpoints(), LEASE, &freeze).unwrap();
    eventually("it is frozen", LIMIT, async || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", old.pid())).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim().chars().next();
        if state == Some('T') { Ok(()) } else { Err(format!("{state:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(cluster.traces("frozen").await, [""; 0]);

    let new = mortal_operator(&sandbox, stack.endpoints(), LEASE, &[]).unwrap();
    let done = |scenario: Scenario| {
        let cluster = &cluster;
        async move {
            eventually("the new leader is done", LIMIT, || scenario.is_done(cluster, "frozen"))
                .await
                .unwrap();
        }
    };
    done(Scenario::Create).await;
    let mut spec = spec_of("frozen", "Delete");
    spec["hosts"] = json!(["frozen.example.com"]);
    cluster.tenant("frozen", spec).await;
    done(Scenario::Create).await;
    let epoch = "SELECT epoch::text FROM tenantry.leader_epoch";
    let before = (cluster.texts(epoch).await, dump(&cluster, "frozen").await);

    old.signal(Signal::CONT);
    let status = old.exited(LIMIT).await.unwrap();
    assert!(!status.success(), "{status}");
    let log = tail(old.log(), 40);
    assert!(log.contains("lease"), "{log}");
    assert_eq!(
        (cluster.texts(epoch).await, dump(&cluster, "frozen").await),
        before,
        "the old one changed it"
    );
    assert!(new.exit_status().is_none(), "the new one leads on");
    // PostgreSQL itself said no, and not only the old leader's clock.
    let refusals = std::fs::read_to_string(stack.folder().unwrap().join("logs/postgres.log")).unwrap();
    assert!(refusals.contains("is not the newest any more"), "PostgreSQL was not asked");
    new.kill().await.unwrap();
}
