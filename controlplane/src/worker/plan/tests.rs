use std::sync::Arc;

use serde_json::json;
use tenantry_crds::{
    definition::AppDefinition,
    names::{AppName, DocTypeName, InstanceName, SchemaName, TenantName, TenantRole},
};
use tenantry_migrations::{logins::LoginShard, registry::SearchSettings};
use uuid::Uuid;

use super::*;
use crate::registry::InstalledApps;

fn app() -> Arc<AppDefinition> {
    let spec = json!({"version": "1.0.0", "docTypes": [{"name": "customer"}, {"name": "order"}]});
    let name = AppName::new("crm").unwrap();
    Arc::new(AppDefinition::compile(&name, &serde_json::from_value(spec).unwrap()).unwrap())
}

fn tenant(availability: Availability, live: bool) -> Snapshot {
    let name = TenantName::new("acme").unwrap();
    let settings = SearchSettings { searchable: vec![], filterable: vec![], sortable: vec![] };
    let key = (AppName::new("crm").unwrap(), DocTypeName::new("customer").unwrap());
    let binding = SearchBinding { index_uid: "acme_crm_customer".into(), settings, live };
    Snapshot::new([TenantEntry {
        uid: Uuid::from_u128(1),
        origin: Uuid::from_u128(1),
        schema: SchemaName::of(&name),
        role: TenantRole::of(&name),
        login_shard: LoginShard::new(0),
        connections: Default::default(),
        home: Default::default(),
        availability,
        auth: Default::default(),
        quotas: Default::default(),
        cors: Default::default(),
        hosts: vec![],
        apps: Arc::new(InstalledApps::new([app()])),
        search: [(key, binding)].into(),
        streams: Default::default(),
        name,
    }])
}

fn event(id: i64, doc: &str, operation: &str) -> EventRow {
    EventRow {
        role: "tenant_acme".into(),
        id,
        app: "crm".into(),
        doc_type: "customer".into(),
        doc_id: doc.into(),
        operation: operation.into(),
        body: (operation == "Put").then(|| json!({"id": doc, "n": id}).to_string()),
        age: 0.0,
    }
}

fn fate_of(event: EventRow, snapshot: &Snapshot) -> Fate {
    groups(vec![event], snapshot, &InstanceName::default(), |_| true).remove(0).fate
}

#[test]
fn events_go_where_the_registry_says() {
    let live = tenant(Availability::Serving, true);
    assert!(
        matches!(fate_of(event(1, "a", "Put"), &live), Fate::Index(t) if t.index_uid == "acme_crm_customer")
    );
    let other = EventRow { doc_type: "order".into(), ..event(1, "a", "Put") };
    assert_eq!(fate_of(other, &live), Fate::Unwanted);
    assert_eq!(fate_of(event(1, "a", "Put"), &tenant(Availability::Serving, false)), Fate::Wait);
    assert_eq!(fate_of(event(1, "a", "Put"), &tenant(Availability::Retained, true)), Fate::Unwanted);
    // A suspended tenant's documents may still be indexed: the index must be right when it is back.
    assert!(matches!(
        fate_of(event(1, "a", "Put"), &tenant(Availability::Suspended(None), true)),
        Fate::Index(_)
    ));
    assert_eq!(
        groups(vec![event(1, "a", "Put")], &live, &InstanceName::default(), |_| false).remove(0).fate,
        Fate::Wait
    );
}

#[test]
fn an_event_of_an_unknown_tenant_waits_before_it_is_dropped() {
    let nobody = Snapshot::new([]);
    assert_eq!(fate_of(event(1, "a", "Put"), &nobody), Fate::Wait);
    assert_eq!(fate_of(EventRow { age: 61.0, ..event(1, "a", "Put") }, &nobody), Fate::Unwanted);
}

#[test]
fn of_many_events_of_a_document_the_last_counts_and_all_are_done() {
    let app = app();
    let events = vec![
        event(4, "a", "Put"),
        event(1, "a", "Put"),
        event(2, "b", "Put"),
        event(3, "b", "Delete"),
        event(5, "c", "Delete"),
        event(6, "c", "Put"),
    ];
    let change = coalesce(events, &app.doc_types[0]);
    let put: Vec<_> = change.put.iter().map(|(document, ids)| (document["n"].clone(), ids.len())).collect();
    assert_eq!(put, [(json!(4), 2), (json!(6), 2)]);
    assert_eq!(change.delete, [indexed::key("b")]);
    assert_eq!(change.deletions.len(), 2);
    assert!(change.unfit.is_empty());
}

#[test]
fn an_event_without_a_document_is_unfit_and_keeps_nothing_out() {
    let app = app();
    let broken = EventRow { body: Some("[]".into()), ..event(1, "a", "Put") };
    let change = coalesce(vec![broken, event(2, "b", "Put")], &app.doc_types[0]);
    assert_eq!((change.put.len(), change.unfit.len()), (1, 1));
}
