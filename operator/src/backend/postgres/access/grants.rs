//! What a level may do, and whether a role has exactly that.

use std::fmt;

use secrecy::SecretString;
use tenantry_crds::{names::AccessRole, v1alpha1::AccessLevel};
use tenantry_migrations::{logins, mark::AccessMark};

use super::{
    super::{change::Identity, logins::verifier_of},
    look::{Group, ObservedAccessRole, ObservedRights},
};

/// Sessions of one login at the same time.
pub(super) const CONNECTION_LIMIT: i32 = 20;

/// What Postgres keeps of a password. Nobody can log in with it, so it may stand in SQL.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier(String);

impl Verifier {
    /// Of `password`, with a new salt each time.
    pub fn of(password: &SecretString) -> Self {
        Self(verifier_of(password))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// Privileges by what they are on, each as Postgres sorts them; empty for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) schema: &'static str,
    pub(super) tables: &'static str,
    pub(super) sequences: &'static str,
}

impl Rights {
    /// An owner has none of its own: it becomes the owner role, so that what it makes belongs to that role, too.
    pub(super) const fn of(level: AccessLevel) -> Self {
        match level {
            AccessLevel::Read => Self { schema: "USAGE", tables: "SELECT", sequences: "" },
            AccessLevel::Write => {
                Self { schema: "USAGE", tables: "DELETE, INSERT, SELECT, UPDATE", sequences: "USAGE" }
            }
            AccessLevel::Owner => Self { schema: "", tables: "", sequences: "" },
        }
    }
}

/// Settings of a session, which the login may change for itself.
pub(super) fn settings(tenant: &Identity, level: AccessLevel) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("search_path", tenant.schema.to_string()),
        ("statement_timeout", "5min".to_owned()),
        // A longer wait would queue the tenant's requests behind it.
        ("lock_timeout", "5s".to_owned()),
        ("idle_in_transaction_session_timeout", "1min".to_owned()),
    ];
    if level == AccessLevel::Owner {
        settings.push(("role", tenant.owner.to_string()));
    }
    settings
}

/// The mark of the roles of an access.
pub(super) fn mark(tenant: &Identity, access: &str) -> String {
    AccessMark { uid: tenant.uid, tenant: tenant.name.as_str(), access }.to_string()
}

/// Whether the access role is exactly what the level asks for.
pub fn role_in_place(
    tenant: &Identity,
    level: AccessLevel,
    role: Option<&ObservedAccessRole>,
    rights: Option<&ObservedRights>,
) -> bool {
    let (Some(role), Some(found)) = (role, rights) else { return false };
    let wanted = Rights::of(level);
    let uniform = |found: &[String], wanted: &str| found.iter().all(|one| one == wanted);
    let mut groups = vec![Group { name: logins::ACCESS.to_owned(), inherit: true, set: false }];
    if level == AccessLevel::Owner {
        groups.push(Group { name: tenant.owner.to_string(), inherit: false, set: true });
    }
    !role.can_login
        && same_groups(&role.groups, &groups)
        && found.schema == wanted.schema
        && uniform(&found.tables, wanted.tables)
        && uniform(&found.sequences, wanted.sequences)
        && found.new_tables == wanted.tables
        && found.new_sequences == wanted.sequences
}

/// Whether a login is exactly what the level asks for, but for its password, which nobody can see.
pub fn login_in_place(
    tenant: &Identity,
    level: AccessLevel,
    role: &AccessRole,
    login: Option<&ObservedAccessRole>,
) -> bool {
    let Some(login) = login else { return false };
    let wanted = settings(tenant, level);
    let has = |(name, value): &(&str, String)| {
        login.settings.iter().any(|found| found.split_once('=') == Some((name, value)))
    };
    let groups = [Group { name: role.to_string(), inherit: true, set: true }];
    login.can_login
        && login.connection_limit == CONNECTION_LIMIT
        && login.settings.len() == wanted.len()
        && wanted.iter().all(has)
        && same_groups(&login.groups, &groups)
}

fn same_groups(found: &[Group], wanted: &[Group]) -> bool {
    found.len() == wanted.len() && wanted.iter().all(|group| found.contains(group))
}
