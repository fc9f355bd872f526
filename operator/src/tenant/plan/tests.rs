use tenantry_crds::v1alpha1::{AppSpec, FieldSpec, FieldType};
use uuid::Uuid;

use super::*;
use crate::{
    backend::postgres::observe::{ObservedSchema, TakenHost},
    tenant::fixtures::{SHARD, crm, desired, in_place, uid},
};

const SERVED: Around = Around {
    streams_in_place: true,
    absent_indexes: Vec::new(),
    empty_tables: Vec::new(),
    own_door_closed: false,
};

/// The plan for a tenant with `app` where a tenant with the crm of the samples is in place, without a row.
fn upgrade(app: &AppSpec) -> Result<Changes, Error> {
    let tables = ["crm_customer", "crm_order"].map(str::to_owned).into();
    evolve(app, &[], &Around { empty_tables: tables, ..SERVED }).map(|plan| {
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        plan.changes
    })
}

/// The same where the tables hold rows, and these changes are acknowledged.
fn upgrade_filled(app: &AppSpec, allowed: &[&str]) -> Result<Plan, Error> {
    evolve(app, allowed, &SERVED)
}

fn evolve(app: &AppSpec, allowed: &[&str], around: &Around) -> Result<Plan, Error> {
    let observed = in_place(&desired(Some(&crm())));
    plan(&acknowledging(desired(Some(app)), allowed), &observed, SHARD, around)
}

fn acknowledging(mut desired: Desired, allowed: &[&str]) -> Desired {
    for app in &mut desired.apps {
        app.allowed = allowed.iter().map(|entry| entry.parse().unwrap()).collect();
    }
    desired
}

fn installs(changes: &Changes) -> bool {
    changes.rows.iter().any(|row| matches!(row, RowChange::InstallApp(..)))
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(Step::to_string).collect()
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

fn blocked<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (Reason, String) {
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
    let Plan { changes, steps, .. } = plan(&desired, &Observed::default(), SHARD, &around).unwrap();
    assert!(steps.is_empty());
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
    assert!(matches!(&fresh.changes.rows[0], RowChange::PutTenant(row) if !row.ready));
}

#[test]
fn an_index_that_the_engine_may_have_already_is_not_claimed() {
    let changes = plan(&desired(Some(&crm())), &Observed::default(), SHARD, &SERVED).unwrap().changes;
    assert!(!changes.rows.iter().any(|row| matches!(row, RowChange::PutSearch(_))));
}

#[test]
fn an_added_field_becomes_a_column_that_may_not_be_empty_where_there_is_no_row() {
    let app = added(serde_json::json!({"name": "phone", "type": "String", "required": true, "index": true}));
    let changes = upgrade(&app).unwrap();
    // The default of `status` is set anew with every version.
    assert_eq!(texts(&changes), ["SetDefault", "AddColumn", "SetNotNull", "CreateIndex"]);
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
    let app = changed(|app| field(app, "credit").field_type = FieldType::Boolean);
    let (reason, message) = blocked(upgrade(&app));
    assert_eq!(reason, Reason::DestructiveChangeBlocked);
    assert!(
        message.contains("crm_customer.credit is numeric(18,2)") && message.contains("boolean"),
        "{message}"
    );
}

#[test]
fn what_someone_took_away_is_made_again() {
    let desired = desired(Some(&crm()));
    let plan_without = |take: &dyn Fn(&mut Observed)| {
        let mut observed = in_place(&desired);
        take(&mut observed);
        let tables = observed.tables.keys().cloned().collect();
        let around = Around { empty_tables: tables, ..SERVED };
        plan(&desired, &observed, SHARD, &around).unwrap().changes
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
    assert_eq!(texts(&plan_without(&|observed| observed.sequences.clear())), ["ContinueSequence"]);
    let no_grants = plan_without(&|observed| {
        let role = observed.role.as_mut().unwrap();
        role.members.retain(|member| member.admin);
        role.groups.clear();
    });
    // The right of the shard's login comes back once it is sure that nothing there is code: see `connections`.
    assert_eq!(no_grants.roles, [RoleChange::OpenJournals]);
}

#[test]
fn a_lost_registry_is_made_again_on_the_shard_that_holds_the_roles() {
    let desired = desired(Some(&crm()));
    let observed =
        Observed { record: None, apps: vec![], streams: vec![], searches: vec![], ..in_place(&desired) };
    assert_eq!(observed.shard(), Some(SHARD));
    let changes = plan(&desired, &observed, SHARD, &SERVED).unwrap().changes;
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
    let changes = plan(&desired(None), &observed, SHARD, &SERVED).unwrap().changes;
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
    let rows = plan(&wanted, &observed, SHARD, &SERVED).unwrap().changes.rows;
    assert!(matches!(&rows[0], RowChange::PutTenant(row) if row.suspended));
    assert_eq!(
        rows[1..],
        [RowChange::AddHost("new.example.com".into()), RowChange::RemoveHost("acme.example.com".into())]
    );
    assert_eq!(wanted.tenant.uid, uid());
}

#[test]
fn what_asks_something_of_rows_comes_in_steps_and_the_app_waits_for_them() {
    let mut app = changed(|app| {
        field(app, "name").index = true;
        field(app, "credit").unique = true;
        field(app, "credit").required = true;
        field(app, "status").values.push("lost".into());
    });
    app.migrations =
        serde_json::from_value(serde_json::json!([{"name": "fill", "sql": "SELECT 1"}])).unwrap();
    app.doc_types[0].fields.push(
        serde_json::from_value(serde_json::json!({"name": "last_order", "type": "Reference", "to": "order"}))
            .unwrap(),
    );
    let plan = upgrade_filled(&app, &[]).unwrap();
    assert_eq!(texts(&plan.changes), ["AddColumn"]);
    assert_eq!(
        steps(&plan),
        [
            "migration crm/fill",
            "index crm_customer-name-idx",
            "index crm_customer-credit-key",
            "index crm_customer-last_order-idx",
            "the values of crm_customer.status",
            "the references of crm_customer.last_order",
            "crm_customer.credit becomes required",
        ]
    );
    assert!(!installs(&plan.changes), "{:?}", plan.changes.rows);
}

#[test]
fn a_type_that_takes_more_needs_no_word_and_one_that_takes_less_does() {
    let precise = changed(|app| field(app, "credit").precision = Some(20));
    let plan = upgrade_filled(&precise, &[]).unwrap();
    assert!(matches!(&plan.steps[..], [Step::Widen(change)] if !change.rewrites), "{:?}", plan.steps);

    let short = changed(|app| field(app, "credit").precision = Some(10));
    let (reason, message) = blocked(upgrade_filled(&short, &[]));
    assert_eq!(reason, Reason::DestructiveChangeBlocked);
    assert!(
        message.contains("add 'narrow customer.credit' to spec.allowDestructive of App crm"),
        "{message}"
    );
    assert_eq!(blocked(upgrade_filled(&short, &["narrow customer.status"])).1, message);
    let plan = upgrade_filled(&short, &["narrow customer.credit"]).unwrap();
    assert!(matches!(&plan.steps[..], [Step::Narrow(_)]), "{:?}", plan.steps);
}

#[test]
fn a_value_that_is_taken_out_is_named_with_the_entry_that_allows_it() {
    let fewer = changed(|app| field(app, "status").values.retain(|value| value != "churned"));
    let (reason, message) = blocked(upgrade_filled(&fewer, &[]));
    assert_eq!(reason, Reason::DestructiveChangeBlocked);
    assert!(
        message.contains("does not take churned any more") && message.contains("'narrow customer.status'")
    );
    assert_eq!(
        steps(&upgrade_filled(&fewer, &["narrow customer.status"]).unwrap()),
        ["the values of crm_customer.status"]
    );
}

#[test]
fn all_that_stands_in_the_way_is_told_at_once() {
    let app = changed(|app| {
        field(app, "credit").precision = Some(10);
        field(app, "status").values.retain(|value| value != "churned");
    });
    let (_, message) = blocked(upgrade_filled(&app, &[]));
    assert!(
        message.contains("narrow customer.credit") && message.contains("narrow customer.status"),
        "{message}"
    );
}

#[test]
fn what_nobody_wants_any_more_stays_until_somebody_says_so_and_goes_last() {
    let without = changed(|app| {
        app.doc_types[0].fields.retain(|field| field.name != "credit");
        app.doc_types.remove(1);
    });
    let kept = upgrade_filled(&without, &[]).unwrap();
    assert!(!kept.drops_follow && texts(&kept.changes) == ["SetDefault"], "{:?}", kept.changes.objects);

    let allowed = ["drop-field customer.credit", "drop-doc-type order"];
    let first = upgrade_filled(&without, &allowed).unwrap();
    assert!(first.drops_follow && installs(&first.changes));
    assert_eq!(texts(&first.changes), ["SetDefault"], "the version before is served still");

    let mut observed = in_place(&desired(Some(&crm())));
    let row = observed.apps.iter_mut().find(|row| row.app == "crm").unwrap();
    row.version = "1.1.0".into();
    let then = plan(&acknowledging(desired(Some(&without)), &allowed), &observed, SHARD, &SERVED).unwrap();
    assert!(!then.drops_follow);
    assert_eq!(texts(&then.changes), ["DropColumn", "DropTable", "DropSequence"]);
    let has_them = plan(&acknowledging(desired(Some(&crm())), &allowed), &observed, SHARD, &SERVED).unwrap();
    assert!(
        has_them
            .changes
            .objects
            .iter()
            .all(|c| !matches!(c, ObjectChange::DropColumn(..) | ObjectChange::DropTable(_)))
    );
}

#[test]
fn what_a_crash_left_half_done_is_taken_up() {
    let mut observed = in_place(&desired(Some(&crm())));
    let table = observed.tables.get_mut("crm_customer").unwrap();
    table.indexes.remove("crm_customer-email-key");
    table.invalid_indexes.push("crm_customer-email-key".into());
    let check = table.constraints.get_mut("crm_customer-status-check").unwrap();
    check.push_str(" NOT VALID");
    let wanted = desired(Some(&crm()));
    let plan_of = |observed: &Observed| plan(&wanted, observed, SHARD, &SERVED).unwrap();
    let plan = plan_of(&observed);
    assert!(
        matches!(&plan.steps[..], [Step::BuildIndex { leftover: true, .. }, Step::Check(..)]),
        "{:?}",
        plan.steps
    );

    let mut observed = in_place(&wanted);
    observed.migrator = observed.owner.clone();
    let plan = plan_of(&observed);
    assert_eq!(plan.changes.roles, [RoleChange::DropMigrator]);
    observed.migrator.as_mut().unwrap().comment = None;
    let refused = super::plan(&wanted, &observed, SHARD, &SERVED);
    assert_eq!(blocked(refused).0, Reason::NameConflict);
}

#[test]
fn a_migration_runs_once_and_never_changes() {
    let migrating = |sql: &str| {
        changed(|app| {
            app.migrations =
                serde_json::from_value(serde_json::json!([{"name": "fill", "sql": sql}])).unwrap();
        })
    };
    let app = migrating("SELECT 1");
    let wanted = desired(Some(&app));
    let checksum = wanted.apps[1].definition.migrations[0].checksum.clone();
    let mut observed = in_place(&desired(Some(&crm())));
    observed.migrations.push(tenantry_migrations::registry::MigrationRecord {
        app: "crm".into(),
        name: "fill".into(),
        checksum,
        ran: true,
        ended: true,
        transaction: None,
    });
    let plan_of = |app: &AppSpec, observed: &Observed| plan(&desired(Some(app)), observed, SHARD, &SERVED);
    assert!(plan_of(&app, &observed).unwrap().steps.is_empty());
    let (reason, message) = blocked(plan_of(&migrating("SELECT 2"), &observed));
    assert_eq!(reason, Reason::MigrationFailed);
    assert!(message.contains("crm/fill"), "{message}");
    observed.migrations[0].ended = false;
    let end = RowChange::EndMigration(tenantry_crds::names::AppName::new("crm").unwrap(), "fill".into());
    let ends = plan_of(&app, &observed).unwrap();
    assert!(ends.steps.is_empty() && ends.changes.rows.contains(&end), "that it ran is written down");
    observed.migrations[0].ran = false;
    assert_eq!(steps(&plan_of(&migrating("SELECT 2"), &observed).unwrap()), ["migration crm/fill"]);

    // Tables without a registry are what the migrations left.
    let lost = Observed { record: None, apps: vec![], migrations: vec![], ..observed };
    let plan = plan_of(&app, &lost).unwrap();
    assert!(plan.steps.is_empty());
    assert!(plan.changes.rows.iter().any(|row| matches!(row, RowChange::TakeMigrationAsRun(..))));
}
