//! What is there of a tenant's direct access, in one round trip.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use sqlx::{PgPool, types::Json};
use tenantry_crds::{
    names::{AccessRole, Slot},
    v1alpha1::{AccessBackend, AccessLevel},
};

use super::{super::change::Identity, change::Issued};
use crate::error::Error;

const QUERY: &str = include_str!("look.sql");

/// What is there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ObservedAccess {
    /// The database's clock, by which everything here is due.
    pub now: Time,
    /// The database's name.
    pub database: String,
    /// The tenant's schema is there.
    pub schema: bool,
    /// Who administers the tenant's owner role: its shard's provisioner.
    pub administrators: Vec<String>,
    /// The registry's rows.
    pub rows: Vec<AccessRecord>,
    /// Those of the asked Secrets that belong to another tenant.
    pub taken: Vec<TakenSecret>,
    /// Those of the asked roles that exist, ours or not.
    pub roles: BTreeMap<String, ObservedAccessRole>,
    /// What the access roles may do in the tenant's schema.
    pub rights: BTreeMap<String, ObservedRights>,
}

/// A row of `tenantry.access`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AccessRecord {
    /// The access.
    pub access: String,
    /// The backend.
    pub backend: AccessBackend,
    /// The level that was applied last.
    pub level: AccessLevel,
    /// The namespace of the Secret.
    pub secret_namespace: Option<String>,
    /// The name of the Secret.
    pub secret_name: Option<String>,
    /// Which credentials these are.
    pub serial: i64,
    /// SHA-256 of the password.
    pub digest: String,
    /// How far they are.
    pub state: Issued,
    /// The annotation that was acted on last.
    pub handled_rotate: Option<String>,
    /// When the password was made.
    pub rotated_at: Time,
    /// Until when the credentials before these work.
    pub previous_until: Option<Time>,
}

/// A Secret that belongs to another tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TakenSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The tenant.
    pub tenant: String,
    /// The tenant's access.
    pub access: String,
}

/// An access role or a login of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ObservedAccessRole {
    /// Its comment.
    pub comment: Option<String>,
    /// It can log in.
    pub can_login: bool,
    /// Connections at the same time.
    pub connection_limit: i32,
    /// Settings of its sessions, as `name=value`.
    pub settings: Vec<String>,
    /// Roles that it is a member of.
    pub groups: Vec<Group>,
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// The role.
    pub name: String,
    /// Its rights are had.
    pub inherit: bool,
    /// It can be become.
    pub set: bool,
}

/// What a role may do, each as a sorted list of privileges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ObservedRights {
    /// On the schema.
    pub schema: String,
    /// On tables: each list that some table has.
    pub tables: Vec<String>,
    /// On sequences, likewise.
    pub sequences: Vec<String>,
    /// On tables that are made from now on.
    pub new_tables: String,
    /// On sequences that are made from now on.
    pub new_sequences: String,
}

/// Looks at all rows of a tenant, at the roles of these accesses and those with rows, and at who has these Secrets.
///
/// # Errors
/// When Postgres does not answer.
pub async fn look(
    database: &PgPool,
    tenant: &Identity,
    roles: &[AccessRole],
    secrets: &[(String, String)],
) -> Result<ObservedAccess, Error> {
    let names: Vec<&str> = roles.iter().map(AccessRole::as_str).collect();
    let logins = roles.iter().flat_map(|role| Slot::ALL.map(|slot| role.login(slot).to_string()));
    let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).chain(logins).collect();
    let (namespaces, secrets): (Vec<&str>, Vec<&str>) =
        secrets.iter().map(|(namespace, name)| (namespace.as_str(), name.as_str())).unzip();
    let Json(observed): Json<ObservedAccess> = sqlx::query_scalar(QUERY)
        .bind(tenant.name.as_str())
        .bind(tenant.schema.as_str())
        .bind(names)
        .bind(all)
        .bind(namespaces)
        .bind(secrets)
        .bind(tenant.owner.as_str())
        .fetch_one(database)
        .await
        .map_err(Error::database("looking at direct access"))?;
    Ok(observed)
}
