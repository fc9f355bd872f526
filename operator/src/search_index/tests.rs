use std::sync::Arc;

use serde_json::{Value, json};
use tenantry_crds::{
    names::AppName,
    reason::Reason,
    v1alpha1::{SearchIndex, Tenant},
};

use super::{
    effective_for,
    fields::settings,
    reconcile::{older_rivals, yields_to},
};
use crate::{catalog::PublishedApp, error::Class};

fn crm() -> Arc<PublishedApp> {
    let spec = serde_json::from_value(json!({
        "version": "1.0.0",
        "docTypes": [{
            "name": "customer",
            "fields": [
                {"name": "name", "type": "String"}, {"name": "status", "type": "String"},
                {"name": "token", "type": "Secret"}, {"name": "data", "type": "Json"},
            ],
            "permissions": [{"role": "owner", "allow": ["Read"]}],
        }],
    }))
    .unwrap();
    Arc::new(PublishedApp::compile(&AppName::new("crm").unwrap(), &spec).unwrap())
}

fn index(name: &str, second: u8, spec: Value) -> Arc<SearchIndex> {
    let mut all = json!({"app": "crm", "docType": "customer", "searchable": ["name"]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "SearchIndex",
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": all,
        }))
        .unwrap(),
    )
}

fn tenant(name: &str, labels: Value) -> Tenant {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name, "labels": labels}, "spec": {"apps": [{"name": "crm"}]},
    }))
    .unwrap()
}

fn refused(spec: Value) -> (Class, Reason, String) {
    let error = settings(&index("one", 0, spec).spec, &crm().definition).unwrap_err();
    (error.class(), error.reason(), error.to_string())
}

#[test]
fn what_does_not_exist_blocks_and_what_cannot_be_shown_is_invalid() {
    let (class, reason, message) = refused(json!({"searchable": ["nobody"]}));
    assert_eq!((class, reason), (Class::Blocked, Reason::ReferenceNotFound));
    assert!(message.contains("spec.searchable") && message.contains("nobody"), "{message}");
    assert_eq!(refused(json!({"docType": "nothing"})).1, Reason::ReferenceNotFound);
    assert_eq!(refused(json!({"searchable": ["token"]})).0, Class::Invalid);
    assert_eq!(refused(json!({"sortable": ["data"]})).0, Class::Invalid);
    assert_eq!(refused(json!({"searchable": ["created_at"]})).1, Reason::ReferenceNotFound);
}

#[test]
fn columns_of_row_rules_become_filterable() {
    let spec = json!({"filterable": ["status"], "sortable": ["created_at"]});
    let found = settings(&index("one", 0, spec).spec, &crm().definition).unwrap();
    assert_eq!(found.filterable, ["created_by", "status"]);
    assert_eq!(found.sortable, ["created_at"]);
}

#[test]
fn the_oldest_that_fits_applies() {
    let broken = index("broken", 0, json!({"searchable": ["nobody"]}));
    let old = index("old", 1, json!({"tenants": {"matchLabels": {"ring": "canary"}}}));
    let young = index("young", 2, json!({"searchable": ["status"]}));
    let all = [young.clone(), old.clone(), broken];
    let from = |tenant: &Tenant| {
        let found = effective_for(tenant, &[crm()], &all);
        assert_eq!(found.len(), 1);
        found[0].from.clone()
    };
    assert_eq!(from(&tenant("acme", json!({"ring": "canary"}))), "old");
    assert_eq!(from(&tenant("globex", json!({}))), "young");
    assert!(effective_for(&tenant("acme", json!({})), &[], &all).is_empty());

    let rivals = older_rivals(&young, &all[..2]);
    assert_eq!(rivals.len(), 1);
    assert!(yields_to(&young, &rivals, &[Arc::new(tenant("globex", json!({})))]).is_ok());
    let both = [Arc::new(tenant("acme", json!({"ring": "canary"})))];
    assert_eq!(yields_to(&young, &rivals, &both).unwrap_err().reason(), Reason::NameConflict);
    assert!(older_rivals(&old, &all[..2]).is_empty());
}

#[test]
fn made_in_the_same_second_the_name_decides() {
    let (a, b) = (index("a", 0, json!({})), index("b", 0, json!({})));
    let found = effective_for(&tenant("acme", json!({})), &[crm()], &[b, a]);
    assert_eq!(found[0].from, "a");
}
