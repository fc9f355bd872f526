use tenantry_crds::names::TenantName;
use uuid::Uuid;

use super::plan::*;
use crate::{
    backend::postgres::{
        change::{Identity, ObjectChange, RoleChange, RowChange},
        observe::{Observed, ObservedTable},
    },
    tenant::fixtures::{SHARD, crm, desired, in_place},
};

fn observed() -> Observed {
    in_place(&desired(Some(&crm())))
}

fn acme() -> Identity {
    desired(None).tenant
}

#[test]
fn delete_stops_the_tenant_then_drops_its_data_and_keeps_the_ledger_for_last() {
    let plan = plan(&acme(), Policy::Delete, &observed());
    assert_eq!(plan.data[0].rows, [RowChange::StopServing]);
    let drop = &plan.data[1];
    assert_eq!(drop.objects, [ObjectChange::DropSchema]);
    assert_eq!(drop.roles, [RoleChange::DropRoles]);
    assert!(plan.purge, "once nobody can write to them any more");
    assert_eq!(plan.data.len(), 2);
    assert_eq!(plan.searches.len(), 1);
    assert_eq!(plan.last.rows, [RowChange::RemoveTenant]);
    assert!(plan.owns_name && plan.frees_roles);
}

#[test]
fn retain_drops_nothing() {
    let plan = plan(&acme(), Policy::Retain, &observed());
    let [marks] = plan.data.as_slice() else { panic!("one transaction, found {:?}", plan.data) };
    assert_eq!(marks.roles, [RoleChange::RefuseTraffic(SHARD), RoleChange::MarkRetained]);
    assert_eq!(marks.objects, [ObjectChange::MarkSchema { retained: true }]);
    assert_eq!(marks.rows[0], RowChange::Retain);
    assert_eq!(plan.searches.len(), 1, "an index can be made again");
    assert!(plan.last.is_empty() && !plan.frees_roles && !plan.purge);
}

#[test]
fn nothing_of_another_uid_is_touched() {
    let stranger = Identity::new(TenantName::new("acme").unwrap(), Uuid::from_u128(9));
    for policy in [Policy::Retain, Policy::Delete] {
        let plan = plan(&stranger, policy, &observed());
        assert_eq!(plan, CleanupPlan::default(), "{policy:?}");
    }
}

#[test]
fn a_foreign_schema_outlives_the_tenant_that_met_it() {
    let mut observed = Observed { record: None, owner: None, role: None, ..observed() };
    observed.schema.as_mut().unwrap().comment = None;
    let plan = plan(&acme(), Policy::Delete, &observed);
    assert_eq!(plan, CleanupPlan::default());
}

#[test]
fn a_pass_after_a_crash_goes_on_where_the_last_one_ended() {
    let dropped = Observed { owner: None, role: None, schema: None, tables: [].into(), ..observed() };
    let stopped = |mut observed: Observed| {
        observed.record.as_mut().unwrap().ready = false;
        observed
    };
    let plan = plan(&acme(), Policy::Delete, &stopped(dropped));
    assert!(plan.data.is_empty());
    assert_eq!(plan.last.rows, [RowChange::RemoveTenant]);
    let nothing = super::plan::plan(&acme(), Policy::Delete, &Observed::default());
    assert_eq!(nothing, CleanupPlan { owns_name: true, ..CleanupPlan::default() });
}

#[test]
fn many_tables_go_in_several_transactions() {
    let mut observed = observed();
    observed.tables.extend((0..120).map(|n| (format!("crm_t{n}"), ObservedTable::default())));
    let plan = plan(&acme(), Policy::Delete, &observed);
    let dropped: usize = plan
        .data
        .iter()
        .flat_map(|changes| &changes.objects)
        .map(|change| match change {
            ObjectChange::DropTables(tables) => tables.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(dropped, observed.tables.len());
    assert_eq!(plan.data.last().unwrap().objects, [ObjectChange::DropSchema]);
}
