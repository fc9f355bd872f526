//! How a new version of an app reaches the tenants.

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, RolloutStage, Tenant};
use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of};
use tenantry_e2e::manifests::{customer, shop, uses};
use tenantry_e2e::program::{Program, ProgramOptions, bootstrap};
use tenantry_rig::{Stack, eventually};

/// Customers whose region must be unique from 1.1.0 on: tenants with two customers of one region fail there.
fn notes(version: &str, rollout: Value) -> Value {
    let unique = version != "1.0.0";
    let mut fields = customer();
    fields[2] = json!({"name": "region", "type": "String", "unique": unique});
    let mut app = shop(version, fields);
    app["docTypes"][0]["permissions"] = json!([]);
    app["rollout"] = rollout;
    app
}

async fn labelled(cluster: &Cluster, name: &str, metadata: Value, spec: Value) {
    let mut meta = json!({"name": name});
    meta.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    let manifest = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": meta, "spec": spec,
    });
    cluster.apply::<Tenant>(manifest).await;
}

/// Waits until the rollout of `version` is at `stage` with `progress`.
async fn until_rollout(
    cluster: &Cluster,
    app: &str,
    version: &str,
    stage: RolloutStage,
    progress: &str,
) -> App {
    let api: Api<App> = Api::all(cluster.endpoints.kube_client().await.unwrap());
    eventually(&format!("{app} {version} is {stage:?} {progress}"), LIMIT, || async {
        let found = api.get(app).await.map_err(|error| error.to_string())?;
        let rollout = found.status.as_ref().and_then(|status| status.rollout.clone());
        match rollout {
            Some(r) if r.version == version && r.stage == stage && r.progress == progress => Ok(found),
            _ => Err(format!("{:?}", found.status)),
        }
    })
    .await
    .unwrap()
}

/// `tenant version`, of all tenants of the app.
async fn versions(cluster: &Cluster, app: &str) -> Vec<String> {
    let query = format!(
        "SELECT tenant || ' ' || version FROM tenantry.tenant_app WHERE app = '{app}' ORDER BY tenant"
    );
    cluster.texts(&query).await
}

/// Two customers of one region.
async fn breaks_uniqueness(cluster: &Cluster, tenant: &str, app: &str) {
    let table = format!("tenant_{}.{app}_customer", tenant.replace('-', "_"));
    cluster
        .run_sql(&format!(
            "INSERT INTO {table} (id, name, region, created_by, updated_by)
             SELECT gen_random_uuid(), 'Ada', 'north', 'u', 'u' FROM generate_series(1, 2)"
        ))
        .await;
}

async fn mends_uniqueness(cluster: &Cluster, tenant: &str, app: &str) {
    let table = format!("tenant_{}.{app}_customer", tenant.replace('-', "_"));
    cluster.run_sql(&format!("UPDATE {table} SET region = id::text")).await;
    cluster.nudge(tenant).await;
}

fn ready_of(app: &App) -> (String, String, String) {
    let conditions = &app.status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    (ready.status.clone(), ready.reason.clone(), ready.message.clone())
}

#[tokio::test]
async fn a_failed_canary_keeps_the_version_from_the_others_until_it_is_solved() {
    let cluster = Cluster::shared().await;
    let rollout = json!({"canary": {"matchLabels": {"ring": "canary"}}, "maxParallel": 2});
    cluster.app("roll", notes("1.0.0", rollout.clone())).await;
    for n in 0..5 {
        let labels = if n == 3 { json!({"ring": "canary"}) } else { json!({}) };
        labelled(&cluster, &format!("roll-{n}"), json!({"labels": labels}), uses("roll", "Delete")).await;
    }
    for n in 0..5 {
        cluster.until_ready(&format!("roll-{n}")).await;
    }
    let app = until_rollout(&cluster, "roll", "1.0.0", RolloutStage::Complete, "5/5").await;
    assert_eq!(ready_of(&app).0, "True");
    breaks_uniqueness(&cluster, "roll-3", "roll").await;

    cluster.app("roll", notes("1.1.0", rollout)).await;
    let app = until_rollout(&cluster, "roll", "1.1.0", RolloutStage::Paused, "0/5").await;
    let failed = &app.status.as_ref().unwrap().rollout.as_ref().unwrap().failed;
    assert_eq!(failed.iter().map(|f| f.tenant.as_str()).collect::<Vec<_>>(), ["roll-3"]);
    assert!(failed[0].message.contains("roll_customer"), "{failed:?}");
    let (status, reason, message) = ready_of(&app);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "RolloutPaused"));
    assert!(message.contains("roll-3"), "{message}");
    let canary = cluster.until("roll-3", "Stalled", "True", &failed[0].reason).await;
    let installed = &canary.status.as_ref().unwrap().apps;
    let installed = installed.iter().find(|installed| installed.name == "roll").unwrap();
    assert_eq!((installed.version.as_str(), installed.target.as_deref()), ("1.0.0", Some("1.1.0")));

    // The others keep what they have, whatever else they are asked, and a new tenant starts with the new version.
    cluster.nudge("roll-0").await;
    cluster
        .tenant(
            "roll-1",
            json!({"displayName": "One", "apps": [{"name": "roll"}], "deletionPolicy": "Delete"}),
        )
        .await;
    cluster.until_ready("roll-1").await;
    cluster.tenant("roll-new", uses("roll", "Delete")).await;
    cluster.until_ready("roll-new").await;
    let old = (0..5).map(|n| format!("roll-{n} 1.0.0"));
    let expected: Vec<String> = old.chain(["roll-new 1.1.0".to_owned()]).collect();
    assert_eq!(versions(&cluster, "roll").await, expected);

    mends_uniqueness(&cluster, "roll-3", "roll").await;
    let app = until_rollout(&cluster, "roll", "1.1.0", RolloutStage::Complete, "6/6").await;
    assert_eq!(ready_of(&app).0, "True");
    assert!(app.status.unwrap().rollout.unwrap().failed.is_empty());
    assert!(versions(&cluster, "roll").await.iter().all(|row| row.ends_with(" 1.1.0")));
    let canary = cluster.until_ready("roll-3").await;
    assert!(canary.status.unwrap().apps.iter().all(|installed| installed.target.is_none()));
}

#[tokio::test]
async fn pinned_and_paused_tenants_hold_nobody_up_and_an_app_can_go_back() {
    let cluster = Cluster::shared().await;
    let (pinned, plain) = (
        json!({"apps": [{"name": "stay", "version": "1.0.0"}], "deletionPolicy": "Delete"}),
        uses("stay", "Delete"),
    );
    cluster.app("stay", notes("1.0.0", json!({}))).await;
    cluster.tenant("stay-pinned", pinned.clone()).await;
    cluster.tenant("stay-paused", plain.clone()).await;
    cluster.tenant("stay-plain", plain.clone()).await;
    for tenant in ["stay-pinned", "stay-paused", "stay-plain"] {
        cluster.until_ready(tenant).await;
    }
    let paused = |value: &str| json!({"annotations": {"tenantry.dev/paused": value}});
    labelled(&cluster, "stay-paused", paused("true"), plain.clone()).await;
    cluster.until("stay-paused", "Ready", "Unknown", "Paused").await;

    cluster.app("stay", notes("1.1.0", json!({}))).await;
    let app = until_rollout(&cluster, "stay", "1.1.0", RolloutStage::Complete, "1/1").await;
    assert_eq!(ready_of(&app).0, "True");
    assert!(ready_of(&app).2.contains("2 pinned or paused"), "{:?}", ready_of(&app));
    assert_eq!(
        versions(&cluster, "stay").await,
        ["stay-paused 1.0.0", "stay-pinned 1.0.0", "stay-plain 1.1.0"]
    );

    labelled(&cluster, "stay-paused", paused("false"), plain.clone()).await;
    cluster.tenant("stay-pinned", plain).await;
    until_rollout(&cluster, "stay", "1.1.0", RolloutStage::Complete, "3/3").await;

    cluster.app("stay", notes("1.0.0", json!({}))).await;
    until_rollout(&cluster, "stay", "1.0.0", RolloutStage::Complete, "3/3").await;
    assert!(versions(&cluster, "stay").await.iter().all(|row| row.ends_with(" 1.0.0")));
    // The definition of a published version stays what it was.
    let mut other = notes("1.1.0", json!({}));
    other["docTypes"][0]["fields"][0]["index"] = json!(true);
    cluster.app("stay", other).await;
    until_app_stalled(&cluster, "stay", "VersionImmutable").await;
    assert!(versions(&cluster, "stay").await.iter().all(|row| row.ends_with(" 1.0.0")));
}

#[tokio::test]
async fn an_app_waits_for_the_rollout_of_the_one_that_it_needs() {
    let cluster = Cluster::shared().await;
    let canary = json!({"canary": {"matchLabels": {"ring": "canary"}}});
    let needs = |version: &str, min: &str| json!({"version": version, "requires": [{"app": "below", "minVersion": min}]});
    cluster.app("below", notes("1.0.0", canary.clone())).await;
    cluster.app("above", needs("1.0.0", "1.0.0")).await;
    let both = json!({"apps": [{"name": "above"}, {"name": "below"}], "deletionPolicy": "Delete"});
    labelled(&cluster, "needs-canary", json!({"labels": {"ring": "canary"}}), uses("below", "Delete")).await;
    cluster.tenant("needs-both", both.clone()).await;
    for tenant in ["needs-canary", "needs-both"] {
        cluster.until_ready(tenant).await;
    }
    breaks_uniqueness(&cluster, "needs-canary", "below").await;
    cluster.app("below", notes("1.1.0", canary)).await;
    until_rollout(&cluster, "below", "1.1.0", RolloutStage::Paused, "0/2").await;
    cluster.app("above", needs("1.1.0", "1.1.0")).await;
    until_rollout(&cluster, "above", "1.1.0", RolloutStage::Waves, "0/1").await;
    cluster.nudge("needs-both").await;
    cluster.until_ready("needs-both").await;
    assert_eq!(versions(&cluster, "above").await, ["needs-both 1.0.0"]);

    mends_uniqueness(&cluster, "needs-canary", "below").await;
    until_rollout(&cluster, "below", "1.1.0", RolloutStage::Complete, "2/2").await;
    until_rollout(&cluster, "above", "1.1.0", RolloutStage::Complete, "1/1").await;
    cluster.until_ready("needs-both").await;

    // What no rollout will solve is for people: a pin against a requirement, and an app that is not listed.
    let pinned = json!({
        "apps": [{"name": "above"}, {"name": "below", "version": "1.0.0"}], "deletionPolicy": "Delete",
    });
    cluster.tenant("needs-pinned", pinned).await;
    cluster.until("needs-pinned", "Stalled", "True", "DependencyConflict").await;
    cluster.tenant("needs-pinned", uses("above", "Delete")).await;
    cluster.until("needs-pinned", "Stalled", "True", "DependencyMissing").await;
    cluster.tenant("needs-pinned", both).await;
    cluster.until_ready("needs-pinned").await;
}

/// A short lease, so that the next operator leads soon.
const LEASE: [(&str, &str); 2] =
    [("TENANTRY__LEADER__DURATION_SECONDS", "2"), ("TENANTRY__LEADER__RENEW_SECONDS", "1")];

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test plays an older operator")]
async fn the_next_operator_goes_on_where_a_killed_one_was() {
    const TENANTS: usize = 12;
    let stack = Stack::private("its operator is killed").await.unwrap();
    let settings = LEASE.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    apply_crds(stack.endpoints()).await.unwrap();
    bootstrap(stack.endpoints(), &options).await.unwrap();
    let operator = Program::operator(stack.endpoints(), &options).await.unwrap();
    let cluster = Cluster::of(stack.endpoints()).await;
    let slow = json!({"maxParallel": 1});
    cluster.app("kill", notes("1.0.0", slow.clone())).await;
    let names: Vec<String> = (0..TENANTS).map(|n| format!("kill-{n:02}")).collect();
    for name in &names {
        cluster.tenant(name, uses("kill", "Delete")).await;
    }
    for name in &names {
        cluster.until_ready(name).await;
    }
    breaks_uniqueness(&cluster, "kill-06", "kill").await;

    cluster.app("kill", notes("1.1.0", slow)).await;
    eventually("some are updated", LIMIT, || async {
        let updated = versions(&cluster, "kill").await.iter().filter(|row| row.ends_with("1.1.0")).count();
        if updated >= 2 { Ok(()) } else { Err(updated) }
    })
    .await
    .unwrap();
    operator.server().kill().await.unwrap();
    operator.server().start().await.unwrap();
    // One at a time and in order: the first six, and not the one after.
    until_rollout(&cluster, "kill", "1.1.0", RolloutStage::Paused, "6/12").await;
    let expected: Vec<String> =
        names.iter().enumerate().map(|(n, name)| format!("{name} 1.{}.0", u8::from(n < 6))).collect();
    assert_eq!(versions(&cluster, "kill").await, expected);
    let failure = "SELECT tenant || ' ' || failed_version FROM tenantry.tenant_app WHERE failure IS NOT NULL";
    assert_eq!(cluster.texts(failure).await, ["kill-06 1.1.0"]);

    operator.server().kill().await.unwrap();
    // Nobody knows of the pause but the registry: the status is what an older operator may have left.
    let api: Api<App> = Api::all(stack.endpoints().kube_client().await.unwrap());
    let stale = json!({"status": {"rollout": {
        "version": "1.1.0", "stage": "Waves", "updated": 6, "total": 12, "progress": "6/12", "failed": [],
    }}});
    api.patch_status("kill", &PatchParams::default(), &Patch::Merge(stale)).await.unwrap();
    operator.server().start().await.unwrap();
    let app = until_rollout(&cluster, "kill", "1.1.0", RolloutStage::Paused, "6/12").await;
    assert_eq!(app.status.unwrap().rollout.unwrap().failed[0].tenant, "kill-06");
    assert_eq!(versions(&cluster, "kill").await, expected, "still paused");

    mends_uniqueness(&cluster, "kill-06", "kill").await;
    until_rollout(&cluster, "kill", "1.1.0", RolloutStage::Complete, "12/12").await;
    assert_eq!(cluster.texts(failure).await, [""; 0]);
    for name in &names {
        let tenant = cluster.until_ready(name).await;
        assert_eq!(condition_of(&tenant, "DatabaseReady").unwrap().0, "True");
    }
}

async fn until_app_stalled(cluster: &Cluster, app: &str, reason: &str) {
    let api: Api<App> = Api::all(cluster.endpoints.kube_client().await.unwrap());
    eventually(&format!("{app} is Stalled"), LIMIT, || async {
        let found = api.get(app).await.map_err(|error| error.to_string())?;
        if ready_of(&found).1 == reason { Ok(()) } else { Err(format!("{:?}", found.status)) }
    })
    .await
    .unwrap();
}
