use tenantry_crds::v1alpha1::{AppSpec, FieldSpec, FieldType};
use uuid::Uuid;

use super::*;
use crate::{
    backend::postgres::observe::{ObservedSchema, TakenHost},
    tenant::fixtures::{SHARD, crm, desired, in_place, uid},
};

const SERVED: Around = Around { streams_in_place: true, absent_indexes: Vec::new() };

/// The plan for a tenant with `app` where a tenant with the crm of the samples is in place.
fn upgrade(app: &AppSpec) -> Result<Changes, Error> {
    let observed = in_place(&desired(Some(&crm())));
    plan(&desired(Some(app)), &observed, SHARD, &SERVED)
}

fn field<'a>(app: &'a mut AppSpec, name: &str) -> &'a mut FieldSpec {
    app.doc_types[0].fields.iter_mut().find(|field| field.name == name).unwrap()
}

/// The crm at another version, changed.
fn changed(change: impl FnOnce(&mut AppSpec)) -> AppSpec {
    let mut app = crm();
    app.version = "1.1.0".into();
    change(&mut app);
    app
}

fn added(text: serde_json::Value) -> AppSpec {
    changed(|app| app.doc_types[0].fields.push(serde_json::from_value(text).unwrap()))
}

fn blocked(outcome: Result<Changes, Error>) -> (Reason, String) {
    match outcome {
        Err(Error::Blocked { reason, message }) => (reason, message),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn texts(changes: &Changes) -> Vec<String> {
    changes
        .objects
        .iter()
        .map(|change| {
            let text = format!("{change:?}");
            text.split('(').next().unwrap_or_default().to_owned()
        })
        .collect()
}

#[test]
fn a_new_tenant_gets_everything() {
    let desired = desired(Some(&crm()));
    let around = Around { absent_indexes: vec!["acme_crm_customer".into()], ..SERVED };
    let changes = plan(&desired, &Observed::default(), SHARD, &around).unwrap();
    assert_eq!(
        changes.roles,
        [
            RoleChange::CreateOwner,
            RoleChange::CreateRole,
            RoleChange::OpenJournals,
            RoleChange::AllowTraffic(SHARD),
            RoleChange::AllowProvisioner,
            RoleChange::CreateSchema,
        ]
    );
    let tables = changes.objects.iter().filter(|c| matches!(c, ObjectChange::CreateTable(_))).count();
    assert_eq!(tables, 7);
    assert!(matches!(changes.objects.last(), Some(ObjectChange::AddForeignKey(..))));
    assert!(matches!(&changes.rows[0], RowChange::PutTenant(row) if row.ready));
    assert!(changes.rows.iter().any(|row| matches!(row, RowChange::PutSearch(_))));
}

#[test]
fn nothing_changes_where_all_is_in_place() {
    let desired = desired(Some(&crm()));
    assert!(plan(&desired, &in_place(&desired), SHARD, &SERVED).unwrap().is_empty());
}

#[test]
fn a_tenant_that_is_served_stays_so_without_redis_and_a_new_one_waits() {
    let desired = desired(Some(&crm()));
    assert!(plan(&desired, &in_place(&desired), SHARD, &Around::default()).unwrap().is_empty());
    let fresh = plan(&desired, &Observed::default(), SHARD, &Around::default()).unwrap();
    assert!(matches!(&fresh.rows[0], RowChange::PutTenant(row) if !row.ready));
}

#[test]
fn an_index_that_the_engine_may_have_already_is_not_claimed() {
    let changes = plan(&desired(Some(&crm())), &Observed::default(), SHARD, &SERVED).unwrap();
    assert!(!changes.rows.iter().any(|row| matches!(row, RowChange::PutSearch(_))));
}

#[test]
fn an_added_field_becomes_a_column_that_may_be_empty() {
    let app = added(serde_json::json!({"name": "phone", "type": "String", "required": true, "index": true}));
    let changes = upgrade(&app).unwrap();
    // The default of `status` is set anew with every version.
    assert_eq!(texts(&changes), ["SetDefault", "AddColumn", "CreateIndex"]);
    assert!(changes.rows.iter().any(|row| matches!(row, RowChange::InstallApp(_, v) if v == "1.1.0")));
}

#[test]
fn an_added_index_a_unique_one_and_a_reference_are_made_on_the_table_that_is_there() {
    let mut app = changed(|app| {
        field(app, "name").index = true;
        field(app, "credit").unique = true;
    });
    app.doc_types[0].fields.push(FieldSpec {
        to: Some("order".into()),
        ..serde_json::from_value(serde_json::json!({"name": "last_order", "type": "Reference"})).unwrap()
    });
    let made = texts(&upgrade(&app).unwrap());
    assert_eq!(
        made,
        ["SetDefault", "AddColumn", "CreateIndex", "CreateIndex", "CreateIndex", "AddForeignKey"]
    );
}

#[test]
fn an_enum_is_widened_and_a_field_that_is_none_any_more_takes_any_text() {
    let wider = changed(|app| field(app, "status").values.push("lost".into()));
    assert_eq!(texts(&upgrade(&wider).unwrap()), ["SetDefault", "ReplaceCheck"]);
    let free = changed(|app| {
        let field = field(app, "status");
        (field.field_type, field.values) = (FieldType::String, vec![]);
    });
    assert_eq!(texts(&upgrade(&free).unwrap()), ["SetDefault", "DropCheck"]);
}

#[test]
fn what_a_definition_does_not_ask_for_any_more_refuses_no_row() {
    let relaxed = changed(|app| {
        field(app, "name").required = false;
        field(app, "email").unique = false;
    });
    assert_eq!(texts(&upgrade(&relaxed).unwrap()), ["DropNotNull", "SetDefault", "DropIndex"]);
    let without = changed(|app| app.doc_types[0].fields.retain(|field| field.name != "name"));
    assert_eq!(texts(&upgrade(&without).unwrap()), ["SetDefault", "DropNotNull"], "the column stays");
}

#[test]
fn another_type_is_refused_and_named() {
    let app = changed(|app| field(app, "credit").field_type = FieldType::Integer);
    let (reason, message) = blocked(upgrade(&app));
    assert_eq!(reason, Reason::DestructiveChangeBlocked);
    assert!(
        message.contains("crm_customer.credit is numeric(18,2)") && message.contains("integer"),
        "{message}"
    );
}

#[test]
fn what_someone_took_away_is_made_again() {
    let desired = desired(Some(&crm()));
    let plan_without = |take: &dyn Fn(&mut Observed)| {
        let mut observed = in_place(&desired);
        take(&mut observed);
        plan(&desired, &observed, SHARD, &SERVED).unwrap()
    };
    let table = |observed: &mut Observed| observed.tables.remove("crm_order").map(|_| ()).unwrap();
    assert_eq!(texts(&plan_without(&table)), ["CreateTable", "CreateIndex", "AddForeignKey"]);
    let of_customer = |change: &dyn Fn(&mut crate::backend::postgres::observe::ObservedTable)| {
        texts(&plan_without(&|observed| change(observed.tables.get_mut("crm_customer").unwrap())))
    };
    assert_eq!(of_customer(&|table| table.granted = false), ["GrantTable"]);
    assert_eq!(of_customer(&|table| table.primary_key = false), ["AddPrimaryKey"]);
    assert_eq!(of_customer(&|table| table.indexes.clear()), ["CreateIndex", "CreateIndex"]);
    assert_eq!(of_customer(&|table| table.constraints.clear()), ["AddCheck"]);
    assert_eq!(of_customer(&|table| drop(table.columns.remove("credit"))), ["AddColumn"]);
    assert_eq!(texts(&plan_without(&|observed| observed.sequences.clear())), ["CreateSequence"]);
    let no_grants = plan_without(&|observed| {
        let role = observed.role.as_mut().unwrap();
        role.members.retain(|member| member.admin);
        role.groups.clear();
    });
    assert_eq!(no_grants.roles, [RoleChange::OpenJournals, RoleChange::AllowTraffic(SHARD)]);
}

#[test]
fn a_lost_registry_is_made_again_on_the_shard_that_holds_the_roles() {
    let desired = desired(Some(&crm()));
    let observed =
        Observed { record: None, apps: vec![], streams: vec![], searches: vec![], ..in_place(&desired) };
    assert_eq!(observed.shard(), Some(SHARD));
    let changes = plan(&desired, &observed, SHARD, &SERVED).unwrap();
    assert!(changes.roles.is_empty());
    assert!(matches!(&changes.rows[0], RowChange::PutTenant(row) if row.shard == SHARD));
}

#[test]
fn a_tenant_never_adopts_a_foreign_schema_or_role() {
    let desired = desired(None);
    let schema = ObservedSchema { comment: Some("sales reports".into()), ..ObservedSchema::default() };
    let observed = Observed { schema: Some(schema), ..Observed::default() };
    let (reason, message) = blocked(plan(&desired, &observed, SHARD, &SERVED));
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.starts_with("schema tenant_acme exists and is not Tenantry's"), "{message}");

    let observed = Observed { role: Some(ObservedRole::default()), ..Observed::default() };
    let (reason, message) = blocked(plan(&desired, &observed, SHARD, &SERVED));
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.starts_with("role tenant_acme exists"), "{message}");
}

#[test]
fn a_tenant_never_adopts_what_another_uid_left() {
    let desired = desired(None);
    let other = Uuid::from_u128(8);
    let mut standing = in_place(&desired);
    standing.record.as_mut().unwrap().uid = other;
    let (reason, message) = blocked(plan(&desired, &standing, SHARD, &SERVED));
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("belongs to another Tenant"), "{message}");

    let mut retained = Observed { record: None, ..in_place(&desired) };
    retained.schema.as_mut().unwrap().comment =
        Some(OwnershipMark { uid: other, retained: true }.to_string());
    let (reason, message) = blocked(plan(&desired, &retained, SHARD, &SERVED));
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("retained data of a deleted Tenant"), "{message}");
}

#[test]
fn a_mark_that_anyone_could_have_written_is_not_enough() {
    let desired = desired(None);
    let mut observed = in_place(&desired);
    observed.owner.as_mut().unwrap().members.clear();
    assert_eq!(blocked(plan(&desired, &observed, SHARD, &SERVED)).0, Reason::NameConflict);
    let mut observed = in_place(&desired);
    observed.schema.as_mut().unwrap().owner = "somebody".into();
    assert_eq!(blocked(plan(&desired, &observed, SHARD, &SERVED)).0, Reason::NameConflict);
}

#[test]
fn a_host_of_another_tenant_is_refused_with_both_names() {
    let taken = TakenHost { host: "acme.example.com".into(), tenant: "globex".into() };
    let observed = Observed { taken_hosts: vec![taken], ..Observed::default() };
    let (reason, message) = blocked(plan(&desired(None), &observed, SHARD, &SERVED));
    assert_eq!(reason, Reason::HostConflict);
    assert!(message.contains("acme.example.com") && message.contains("globex"), "{message}");
}

#[test]
fn a_removed_app_keeps_its_tables_and_streams_and_loses_its_search() {
    let observed = in_place(&desired(Some(&crm())));
    let changes = plan(&desired(None), &observed, SHARD, &SERVED).unwrap();
    assert!(changes.objects.is_empty() && changes.roles.is_empty());
    assert_eq!(changes.rows.len(), 2, "{:?}", changes.rows);
    assert_eq!(changes.rows[0], RowChange::RemoveApp("crm".into()));
    assert!(matches!(&changes.rows[1], RowChange::StopSearch(key) if key.index == "acme_crm_customer"));
}

#[test]
fn a_tenant_is_suspended_whatever_else_is_wrong() {
    let mut observed = in_place(&desired(None));
    let active = TenantSpec::default();
    let suspended = TenantSpec {
        state: TenantState::Suspended,
        suspended_message: Some("Unpaid".into()),
        ..TenantSpec::default()
    };
    assert_eq!(state(&active, &observed), None);
    assert_eq!(state(&suspended, &observed), Some(RowChange::PutState(true, Some("Unpaid".into()))));
    assert_eq!(state(&suspended, &Observed::default()), None, "it is not there yet");
    observed.record.as_mut().unwrap().state = "Suspended".into();
    assert_eq!(state(&active, &observed), Some(RowChange::PutState(false, None)));
}

#[test]
fn hosts_come_and_go_and_a_suspended_tenant_says_so() {
    let mut wanted = desired(None);
    let observed = in_place(&wanted);
    wanted.hosts = ["new.example.com".to_owned()].into();
    wanted.suspended = true;
    let rows = plan(&wanted, &observed, SHARD, &SERVED).unwrap().rows;
    assert!(matches!(&rows[0], RowChange::PutTenant(row) if row.suspended));
    assert_eq!(
        rows[1..],
        [RowChange::AddHost("new.example.com".into()), RowChange::RemoveHost("acme.example.com".into())]
    );
    assert_eq!(wanted.tenant.uid, uid());
}
