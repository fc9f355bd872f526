use secrecy::SecretString;
use tenantry_crds::{
    names::{AccessName, AccessRole, Slot, TenantName},
    v1alpha1::{AccessBackend, AccessLevel},
};
use tenantry_migrations::logins;
use uuid::Uuid;

use super::{
    change::{AccessChange, RowKey, script},
    grants::{Verifier, login_in_place, role_in_place},
    look::{Group, ObservedAccessRole, ObservedRights},
};
use crate::backend::postgres::change::{Identity, OrphanRow};

fn acme() -> Identity {
    Identity::new(TenantName::new("acme").unwrap(), Uuid::from_u128(7))
}

fn access() -> AccessName {
    AccessName::new("reporting").unwrap()
}

fn role() -> AccessRole {
    AccessRole::of(&acme().name, &access())
}

#[test]
fn a_login_is_made_with_a_verifier_and_marked() {
    let password = SecretString::from("hunter2");
    let changes = [AccessChange::Login {
        role: role(),
        slot: Slot::A,
        access: access(),
        level: AccessLevel::Read,
        exists: false,
        verifier: Some(Verifier::of(&password)),
    }];
    let sql = script(&acme(), 3, &changes);
    assert!(sql.starts_with("SELECT tenantry.fence(3);\n"));
    assert!(sql.contains("LOGIN INHERIT CONNECTION LIMIT 20 PASSWORD 'SCRAM-SHA-256$4096:"), "{sql}");
    assert!(sql.contains("tenantry.dev/access 00000000-0000-0000-0000-000000000007 acme/reporting"), "{sql}");
    assert!(!sql.contains("hunter2") && !format!("{changes:?}").contains("SCRAM"));
}

#[test]
fn rights_are_taken_before_they_are_given() {
    let change = |level, owns| {
        let change = AccessChange::Role { role: role(), access: access(), level, exists: true, owns };
        script(&acme(), 3, &[change])
    };
    let read = change(AccessLevel::Read, true);
    let at = |what: &str| read.find(what).unwrap_or_else(|| panic!("{what} in {read}"));
    assert!(at("REVOKE ALL ON ALL TABLES") < at("GRANT SELECT ON ALL TABLES"));
    assert!(at("REVOKE \"tenant_acme_owner\"") < at("SET LOCAL ROLE"));
    assert!(!read.contains("INSERT") && !read.contains("CREATE ROLE"));
    let owner = change(AccessLevel::Owner, false);
    assert!(owner.contains("GRANT \"tenant_acme_owner\"") && !owner.contains("SELECT ON"));
}

#[test]
fn a_login_that_goes_is_put_out_first() {
    let key = RowKey { access: access(), backend: AccessBackend::Postgres };
    let sql =
        script(&acme(), 3, &[AccessChange::DropLogin(role().login(Slot::B)), AccessChange::Retired(key)]);
    let at = |what: &str| sql.find(what).unwrap();
    assert!(at("pg_terminate_backend") < at("DROP OWNED") && at("DROP OWNED") < at("DROP ROLE"));
    assert!(sql.contains("access = 'reporting' AND backend = 'Postgres'"));
}

/// The row is all that knows of what is left: the record of that is in the same transaction, or a crash loses both.
#[test]
fn what_is_left_behind_is_recorded_where_its_row_goes() {
    let key = RowKey { access: access(), backend: AccessBackend::Redis };
    let what = serde_json::json!({"users": ["access_1_a"]});
    let left = OrphanRow { backend: "redis", what, by: "ada".into() };
    let sql = script(&acme(), 3, &[AccessChange::Forget(key), AccessChange::Leave(left)]);
    assert!(
        sql.contains("DELETE FROM tenantry.access") && sql.contains("INSERT INTO tenantry.orphan"),
        "{sql}"
    );
}

#[test]
fn a_role_is_in_place_with_its_rights_and_no_others() {
    let groups = vec![Group { name: logins::ACCESS.into(), inherit: true, set: false }];
    let role = ObservedAccessRole { groups, ..ObservedAccessRole::default() };
    let read = ObservedRights {
        schema: "USAGE".into(),
        tables: vec!["SELECT".into()],
        sequences: vec![String::new()],
        new_tables: "SELECT".into(),
        new_sequences: String::new(),
    };
    let in_place =
        |rights: &ObservedRights| role_in_place(&acme(), AccessLevel::Read, Some(&role), Some(rights));
    assert!(in_place(&read));
    assert!(in_place(&ObservedRights { tables: vec![], ..read.clone() }), "there is no table yet");
    for tables in [vec!["SELECT".into(), String::new()], vec!["INSERT, SELECT".into()]] {
        assert!(!in_place(&ObservedRights { tables, ..read.clone() }));
    }
    assert!(!role_in_place(&acme(), AccessLevel::Owner, Some(&role), Some(&read)));
}

#[test]
fn a_login_with_a_setting_more_or_less_is_not_in_place() {
    let group = Group { name: role().to_string(), inherit: true, set: true };
    let settings = ["search_path=tenant_acme", "statement_timeout=5min", "lock_timeout=5s"];
    let mut login = ObservedAccessRole {
        can_login: true,
        connection_limit: 20,
        settings: settings.map(str::to_owned).to_vec(),
        groups: vec![group],
        ..ObservedAccessRole::default()
    };
    let in_place =
        |login: &ObservedAccessRole| login_in_place(&acme(), AccessLevel::Write, &role(), Some(login));
    assert!(!in_place(&login));
    login.settings.push("idle_in_transaction_session_timeout=1min".into());
    assert!(in_place(&login));
    assert!(
        !login_in_place(&acme(), AccessLevel::Owner, &role(), Some(&login)),
        "it does not become the owner"
    );
    login.settings.push("role=tenant_other_owner".into());
    assert!(!in_place(&login));
}
