//! What clients meet beside validation: defaults, columns, immutability, discovery.

use serde_json::{Value, json};
use tenantry_crds::labels::PAUSED_ANNOTATION;
use tenantry_rig::Stack;

use super::api::{KINDS, Kind, client, send, try_create, with};

const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// An object that exists, with a name of its own, and that no operator touches.
async fn create(client: &kube::Client, kind: Kind, spec: Value) -> String {
    let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..16]);
    let object = json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": format!("{kind:?}"),
        "metadata": {"name": name, "annotations": {PAUSED_ANNOTATION: "true"}},
        "spec": spec,
    });
    send(client, "POST", &kind.path(), &object, JSON).await.unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    name
}

fn smallest(kind: Kind) -> Value {
    match kind {
        Kind::Tenant => json!({}),
        Kind::App => json!({"version": "1.0.0"}),
        Kind::SearchIndex => json!({"app": "crm", "docType": "customer", "searchable": ["name"]}),
    }
}

async fn delete(client: &kube::Client, kind: Kind, name: &str) {
    let path = format!("{}/{name}", kind.path());
    // An operator that shares the stack may have put a finalizer on.
    send(client, "PATCH", &path, &json!({"metadata": {"finalizers": null}}), JSON).await.unwrap();
    send(client, "DELETE", &path, &Value::Null, JSON).await.unwrap();
}

#[tokio::test]
async fn what_a_manifest_leaves_out_gets_its_default() {
    let client = client().await;
    for (kind, expected) in [
        (
            Kind::Tenant,
            json!({
                "state": "Active", "deletionPolicy": "Retain", "deletionProtection": false, "adoptRetained": false,
            }),
        ),
        (
            Kind::App,
            json!({
                "version": "1.0.0", "requires": [], "roles": [], "docTypes": [], "queues": [], "schedules": [],
                "migrations": [],
            }),
        ),
        (
            Kind::SearchIndex,
            json!({
                "app": "crm", "docType": "customer", "searchable": ["name"], "tenants": {}, "engine": "Auto",
                "isolation": "Dedicated",
            }),
        ),
    ] {
        let object = with(kind.full(), &[("/spec", smallest(kind))]);
        let stored = try_create(&client, kind, &object).await.unwrap();
        assert_eq!(stored["spec"], expected, "{kind:?}");
        // Without it, kstatus takes an object that nobody has looked at for current.
        assert_eq!(stored["status"], json!({"observedGeneration": -1}), "{kind:?}");
    }
    let queue = with(Kind::App.full(), &[("/spec/queues", json!([{"name": "default"}]))]);
    let stored = try_create(&client, Kind::App, &queue).await.unwrap();
    assert_eq!(
        stored["spec"]["queues"][0],
        json!({"name": "default", "class": "Durable", "maxAttempts": 5, "leaseSeconds": 30, "maxLength": 10_000}),
    );
}

#[tokio::test]
async fn a_null_is_the_same_as_nothing() {
    let client = client().await;
    let mut object = Kind::Tenant.full();
    object["spec"] = json!({"displayName": null, "hosts": null, "quotas": null, "apps": [{"name": "crm", "version": null}]});
    let stored = try_create(&client, Kind::Tenant, &object).await.unwrap();
    assert_eq!(stored["spec"]["apps"], json!([{"name": "crm"}]));
    for absent in ["displayName", "hosts", "quotas"] {
        assert!(stored["spec"].get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn what_a_search_index_is_about_cannot_change_but_the_rest_can() {
    let client = client().await;
    let kind = Kind::SearchIndex;
    let name = create(&client, kind, smallest(kind)).await;
    let path = format!("{}/{name}?dryRun=All", kind.path());
    for (field, value, message) in [
        ("app", "erp", "spec.app is immutable; create another SearchIndex"),
        ("docType", "order", "spec.docType is immutable; create another SearchIndex"),
    ] {
        let patch = json!({"spec": {field: value}});
        let refusal = send(&client, "PATCH", &path, &patch, JSON).await.unwrap_err();
        assert_eq!(refusal.code, 422);
        assert!(refusal.message.contains(message), "{refusal}");
    }
    let patch = json!({"spec": {"app": "crm", "searchable": ["name", "email"]}});
    send(&client, "PATCH", &path, &patch, JSON).await.unwrap();
    delete(&client, kind, &name).await;
}

#[tokio::test]
async fn what_a_tenant_was_made_of_cannot_change() {
    let client = client().await;
    let kind = Kind::Tenant;
    let of = |n: u32| json!({"snapshot": format!("acme/00000000-0000-0000-0000-00000000000{n}")});
    let restored = create(&client, kind, json!({"restoreFrom": of(1)})).await;
    let plain = create(&client, kind, json!({})).await;
    for (name, value, message) in [
        (&restored, of(2), "spec.restoreFrom: cannot be changed"),
        (&restored, Value::Null, "spec.restoreFrom: cannot be added or removed"),
        (&plain, of(1), "spec.restoreFrom: cannot be added or removed"),
    ] {
        let path = format!("{}/{name}?dryRun=All", kind.path());
        let patch = json!({"spec": {"restoreFrom": value}});
        let refusal = send(&client, "PATCH", &path, &patch, JSON).await.unwrap_err();
        assert!(refusal.code == 422 && refusal.message.contains(message), "{refusal}");
    }
    delete(&client, kind, &restored).await;
    delete(&client, kind, &plain).await;
}

#[tokio::test]
async fn where_a_tenant_is_can_be_said_later_and_then_stays() {
    let client = client().await;
    let kind = Kind::Tenant;
    let name = create(&client, kind, json!({"placement": {"postgres": "east"}})).await;
    let path = format!("{}/{name}?dryRun=All", kind.path());
    let stays = "spec.placement: a tenant cannot be moved in this release, so what is set stays";
    for (placement, message) in [
        (json!({"postgres": "west"}), "spec.placement.postgres: a tenant cannot be moved in this release"),
        (json!({"postgres": null}), stays),
        (Value::Null, stays),
    ] {
        let patch = json!({"spec": {"placement": placement}});
        let refusal = send(&client, "PATCH", &path, &patch, JSON).await.unwrap_err();
        assert!(refusal.code == 422 && refusal.message.contains(message), "{refusal}");
    }
    let patch = json!({"spec": {"placement": {"redis": "west", "search": "west"}}});
    let stored = send(&client, "PATCH", &path, &patch, JSON).await.unwrap();
    let placement = json!({"postgres": "east", "redis": "west", "search": "west"});
    assert_eq!(stored["spec"]["placement"], placement);
    delete(&client, kind, &name).await;
}

#[tokio::test]
async fn kubectl_get_shows_what_matters() {
    let client = client().await;
    let condition = json!({
        "type": "Ready", "status": "False", "reason": "AppNotFound", "message": "there is none", "lastTransitionTime":
        "2026-01-01T00:00:00Z",
    });
    for (kind, status, columns, shown) in [
        (
            Kind::Tenant,
            json!({"conditions": [condition], "appsInstalled": "crm@1.0.0"}),
            &["Name", "Ready", "Apps", "Reason", "Message", "Age"][..],
            vec![json!("False"), json!("crm@1.0.0"), json!("AppNotFound"), json!("there is none")],
        ),
        (
            Kind::App,
            json!({"conditions": [condition], "publishedVersion": "1.0.0", "tenants": 3, "rollout":
                {"version": "1.0.0", "stage": "Waves", "updated": 2, "total": 3, "progress": "2/3"}}),
            &["Name", "Ready", "Version", "Updated", "Tenants", "Reason", "Message", "Age"],
            vec![
                json!("False"),
                json!("1.0.0"),
                json!("2/3"),
                json!(3),
                json!("AppNotFound"),
                json!("there is none"),
            ],
        ),
        (
            Kind::SearchIndex,
            json!({"conditions": [condition]}),
            &["Name", "Ready", "App", "DocType", "Reason", "Message", "Age"],
            vec![
                json!("False"),
                json!("crm"),
                json!("customer"),
                json!("AppNotFound"),
                json!("there is none"),
            ],
        ),
    ] {
        let name = create(&client, kind, smallest(kind)).await;
        let path = format!("{}/{name}/status?dryRun=All", kind.path());
        let table = send(&client, "PATCH", &path, &json!({"status": status}), TABLE).await.unwrap();
        let names: Vec<_> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].clone())
            .collect();
        assert_eq!(json!(names), json!(columns), "{kind:?}");
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(cells[0], json!(name));
        assert_eq!(cells[1..cells.len() - 1], shown, "{kind:?}");
        delete(&client, kind, &name).await;
    }
}

#[tokio::test]
async fn a_spec_write_does_not_touch_the_status_nor_the_other_way_round() {
    let client = client().await;
    let name = create(&client, Kind::Tenant, json!({})).await;
    let both = json!({"spec": {"displayName": "New"}, "status": {"appsInstalled": "x"}});
    let path = format!("{}/{name}", Kind::Tenant.path());
    let after = send(&client, "PATCH", &format!("{path}?dryRun=All"), &both, JSON).await.unwrap();
    assert!(after["status"].get("appsInstalled").is_none());
    assert_eq!(after["metadata"]["generation"], 2);
    let after = send(&client, "PATCH", &format!("{path}/status?dryRun=All"), &both, JSON).await.unwrap();
    assert!(after["spec"].get("displayName").is_none());
    assert_eq!(after["metadata"]["generation"], 1);
    delete(&client, Kind::Tenant, &name).await;
}

#[tokio::test]
async fn the_kinds_are_discovered_with_their_short_names() {
    let client = client().await;
    let list = send(&client, "GET", "/apis/tenantry.dev/v1alpha1", &Value::Null, JSON).await.unwrap();
    let resource = |name: &str| {
        list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == name)
            .unwrap_or_else(|| panic!("{name}"))
            .clone()
    };
    for kind in KINDS {
        let found = resource(kind.plural());
        assert_eq!(
            (&found["namespaced"], &found["categories"]),
            (&json!(false), &json!(["tenantry"])),
            "{kind:?}"
        );
        assert_eq!(resource(&format!("{}/status", kind.plural()))["kind"], json!(format!("{kind:?}")));
    }
    assert_eq!(resource("tenants")["shortNames"], json!(["ten"]));
    assert_eq!(resource("searchindexes")["shortNames"], json!(["si"]));
}

#[tokio::test]
async fn the_definitions_are_sound_and_applying_them_warns_of_nothing() {
    let client = client().await;
    let endpoints = Stack::shared().await.unwrap().endpoints();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/generated");
    endpoints
        .kubectl(&["apply", "--server-side", "--force-conflicts", "--warnings-as-errors", "-f", folder])
        .await
        .unwrap();
    for kind in KINDS {
        let path =
            format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}.tenantry.dev", kind.plural());
        let crd = send(&client, "GET", &path, &Value::Null, JSON).await.unwrap();
        let conditions: Vec<_> = crd["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| format!("{}={}", c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
            .collect();
        assert_eq!(conditions, ["NamesAccepted=True", "Established=True"], "{kind:?}");
    }
}
