//! `tenantry.dev/plan: "true"`: what would be changed is told, and nothing is.

use kube::{
    ResourceExt,
    api::{Api, Patch, PatchParams},
};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{PlanStatus, Tenant};
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of};
use tenantry_e2e::manifests::{customer, shop, uses};
use tenantry_rig::eventually;

use super::evolution::{until_installed, with};

async fn tenants(cluster: &Cluster) -> Api<Tenant> {
    Api::all(cluster.endpoints.kube_client().await.unwrap())
}

/// Sets the annotation, or takes it away.
async fn ask_for_plan(cluster: &Cluster, tenant: &str, value: Option<&str>) {
    let patch = json!({"metadata": {"annotations": {"tenantry.dev/plan": value}}});
    tenants(cluster).await.patch(tenant, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn until_planned(cluster: &Cluster, tenant: &str, text: &str) -> (Tenant, PlanStatus) {
    let api = tenants(cluster).await;
    eventually(&format!("{tenant} plans {text}"), LIMIT, || async {
        let found = api.get(tenant).await.map_err(|error| error.to_string())?;
        let plan = found.status.clone().and_then(|status| status.plan);
        match plan {
            Some(plan) if format!("{plan:?}").contains(text) => Ok((found, plan)),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap()
}

fn planned(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "spec": spec,
           "metadata": {"name": name, "annotations": {"tenantry.dev/plan": "true"}}})
}

#[tokio::test]
async fn a_new_tenant_is_planned_and_made_when_the_annotation_goes() {
    let cluster = Cluster::shared().await;
    cluster.app("dry", shop("1.0.0", customer())).await;
    cluster.apply::<Tenant>(planned("dry-one", uses("dry", "Delete"))).await;
    let (tenant, plan) = until_planned(&cluster, "dry-one", "dry_customer").await;
    assert!(plan.sql.iter().any(|sql| sql.starts_with("CREATE SCHEMA \"tenant_dry_one\"")), "{plan:?}");
    assert!(plan.others.iter().any(|other| other.starts_with("make the stream")), "{plan:?}");
    assert_eq!(condition_of(&tenant, "Ready").unwrap().0, "Unknown");
    assert_eq!(condition_of(&tenant, "Ready").unwrap().1, "PlanOnly");
    assert!(tenant.finalizers().is_empty());
    assert!(cluster.traces("dry-one").await.is_empty());
    assert!(cluster.keys("dry-one").await.is_empty());

    ask_for_plan(&cluster, "dry-one", None).await;
    let tenant = cluster.until_ready("dry-one").await;
    assert_eq!(tenant.status.unwrap().plan, None);
}

#[tokio::test]
async fn a_standing_tenant_stays_as_it_is_and_says_so() {
    let cluster = Cluster::shared().await;
    cluster.app("drier", shop("1.0.0", customer())).await;
    cluster.tenant("drier-one", uses("drier", "Delete")).await;
    cluster.until_ready("drier-one").await;
    cluster.add_customer("drier", "drier-one").await;
    ask_for_plan(&cluster, "drier-one", Some("true")).await;
    let mut spec = shop(
        "1.1.0",
        with(customer(), |fields| {
            fields[2] = json!({"name": "region", "type": "String", "unique": true});
            fields.push(json!({"name": "phone", "type": "String"}));
        }),
    );
    spec["migrations"] = json!([{"name": "one", "sql": "UPDATE drier_customer SET phone = 'secret'"}]);
    cluster.app("drier", spec).await;
    let (tenant, plan) = until_planned(&cluster, "drier-one", "migration drier/one").await;
    assert_eq!(condition_of(&tenant, "Ready").unwrap().0, "True");
    let text = plan.sql.join("\n");
    assert!(
        text.contains("ADD COLUMN \"phone\"") && text.contains("CREATE UNIQUE INDEX CONCURRENTLY"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(cluster.columns("tenant_drier_one", "drier_customer").await.len(), 12);

    // What cannot be done is told as well.
    let narrower = with(customer(), |fields| fields[3]["values"] = json!(["lead"]));
    cluster.app("drier", shop("1.2.0", narrower)).await;
    let (_, plan) = until_planned(&cluster, "drier-one", "narrow customer.status").await;
    assert!(plan.problem.unwrap().contains("narrow customer.status"));

    cluster.app("drier", shop("1.3.0", customer())).await;
    ask_for_plan(&cluster, "drier-one", None).await;
    until_installed(&cluster, "drier-one", "drier 1.3.0").await;
}
