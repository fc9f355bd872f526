use std::path::Path;

use tenantry_migrations::{logins::LoginShard, registry::Connections};

use super::*;
use crate::{
    backend::postgres::{change::RowChange, observe::Observed},
    tenant::{fixtures, new_tenant_changes},
};

/// Compares with a file beside this one; UPDATE_GOLDENS=1 writes it anew.
fn assert_golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/postgres/goldens").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert!(text == golden, "{name} differs; if that is right, run with UPDATE_GOLDENS=1\n{text}");
}

fn no_login() -> String {
    panic!("no login is made")
}

#[test]
fn the_script_of_a_tenant_that_gets_connections_of_its_own() {
    let tenant = fixtures::desired(None).tenant;
    let changes = Changes {
        roles: vec![RoleChange::Dedicate { shard: LoginShard::new(2), exists: false, opens: true }],
        objects: vec![],
        rows: vec![RowChange::PutConnections(Connections::Dedicated)],
    };
    assert_golden("dedicated_tenant.sql", &script(&tenant, 3, &changes, || "SCRAM-SHA-256$".to_owned()));
}

#[test]
fn the_script_of_a_new_crm_tenant() {
    let desired = fixtures::desired(Some(&fixtures::crm()));
    let changes = new_tenant_changes(&desired, &Observed::default());
    assert_golden("new_crm_tenant.sql", &script(&desired.tenant, 3, &changes, no_login));
}

#[test]
fn the_script_of_a_deletion() {
    let tenant = fixtures::desired(None).tenant;
    let changes = Changes {
        roles: vec![RoleChange::DropRoles],
        objects: vec![ObjectChange::DropSchema],
        rows: vec![RowChange::RemoveTenant],
    };
    assert_golden("deleted_tenant.sql", &script(&tenant, 3, &changes, no_login));
}

#[test]
fn the_script_of_a_purge() {
    assert_golden("purged_journals.sql", &purge_script(&fixtures::desired(None).tenant, 3));
}

#[test]
fn the_script_of_a_retention() {
    let tenant = fixtures::desired(None).tenant;
    let changes = Changes {
        roles: vec![RoleChange::RefuseTraffic(LoginShard::new(2)), RoleChange::MarkRetained],
        objects: vec![ObjectChange::MarkSchema { retained: true }],
        rows: vec![RowChange::Retain],
    };
    assert_golden("retained_tenant.sql", &script(&tenant, 3, &changes, no_login));
}
