//! What a tenant should be: its manifest, its apps and the search indexes that select it, as one value.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tenantry_crds::{
    definition::{AppDefinition, Destructive, Queue},
    names::{AppName, DocTypeName, IndexUid, RedisKey, TableName, TenantName},
    reason::Reason,
    v1alpha1::{
        AccessBackend, AccessLevel, AccessSpec, QueueClass, TenantConnections, TenantSpec, TenantState,
    },
};
use tenantry_migrations::{
    layout::{Composition, TableLayout},
    registry::Placement,
};

use crate::{
    backend::postgres::{
        change::{Identity, SearchRow, StreamRow},
        observe::Observed,
    },
    catalog::PublishedApp,
    error::Error,
    search_index::EffectiveIndex,
};

/// What a tenant should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Whose.
    pub tenant: Identity,
    /// The generation of the manifest.
    pub generation: i64,
    /// Answered with 503.
    pub suspended: bool,
    /// What callers of a suspended tenant read.
    pub suspended_message: Option<String>,
    /// Host names.
    pub hosts: BTreeSet<String>,
    /// The backend instances.
    pub placement: Value,
    /// Limits.
    pub quotas: Value,
    /// Who may sign in.
    pub auth: Value,
    /// Origins whose pages may call the tenant.
    pub cors: Value,
    /// The manifest asks for connections of the tenant's own.
    pub dedicated: bool,
    /// An access may become the tenant's owner.
    pub owner_access: bool,
    /// The apps, each after the ones that it builds on.
    pub apps: Vec<DesiredApp>,
    /// Queues of the apps.
    pub streams: Vec<StreamRow>,
    /// Search indexes.
    pub searches: Vec<SearchRow>,
}

/// An app of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredApp {
    /// The app.
    pub name: AppName,
    /// The version.
    pub version: String,
    /// The tables of its document types, with those beside them.
    pub tables: Vec<TableLayout>,
    /// What the tables were made of.
    pub definition: Arc<AppDefinition>,
    /// Changes that lose data and were acknowledged.
    pub allowed: BTreeSet<Destructive>,
}

/// What of a Tenant object decides what the tenant should be.
#[derive(Debug, Clone, Copy)]
pub struct Manifest<'a> {
    /// Whose.
    pub tenant: &'a Identity,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec`.
    pub spec: &'a TenantSpec,
    /// Its instances.
    pub placement: &'a Placement,
}

impl Desired {
    /// Composes the tenant.
    ///
    /// # Errors
    /// When a reference meets no document type, or the manifest says what it cannot.
    pub fn of(
        manifest: Manifest<'_>,
        apps: &[Arc<PublishedApp>],
        indexes: &[EffectiveIndex],
    ) -> Result<Self, Error> {
        let definitions: Vec<Arc<AppDefinition>> = apps.iter().map(|app| app.definition.clone()).collect();
        let Manifest { tenant, generation, spec, placement } = manifest;
        Ok(Self {
            tenant: tenant.clone(),
            generation,
            suspended: spec.state == TenantState::Suspended,
            suspended_message: spec.suspended_message.clone(),
            hosts: spec.hosts.iter().cloned().collect(),
            placement: serde_json::to_value(placement).map_err(Error::data("writing the placement"))?,
            quotas: object(spec.quotas.as_ref())?,
            auth: auth(spec)?,
            cors: object(spec.cors.as_ref())?,
            dedicated: spec.placement.connections == Some(TenantConnections::Dedicated),
            owner_access: spec.access.iter().any(owns),
            apps: apps.iter().map(|app| DesiredApp::of(app, &definitions)).collect::<Result<_, _>>()?,
            streams: definitions
                .iter()
                .flat_map(|app| app.queues.iter().map(|queue| stream(&tenant.name, &app.name, queue)))
                .collect(),
            searches: indexes.iter().map(|index| search(&tenant.name, index)).collect(),
        })
    }

    /// All tables.
    pub fn tables(&self) -> impl Iterator<Item = &TableLayout> {
        self.apps.iter().flat_map(|app| &app.tables)
    }
}

impl DesiredApp {
    fn of(published: &PublishedApp, all: &[Arc<AppDefinition>]) -> Result<Self, Error> {
        let app = &published.definition;
        let composition = Composition(all);
        let tables = composition
            .tables_of(app)
            .map_err(|dangling| Error::blocked(Reason::ReferenceNotFound, dangling.to_string()))?;
        Ok(Self {
            name: app.name.clone(),
            version: published.version.to_string(),
            tables,
            definition: app.clone(),
            allowed: BTreeSet::new(),
        })
    }

    /// Whether the tables are at this version. A definition changes only with its version.
    pub fn is_installed(&self, observed: &Observed) -> bool {
        observed.apps.iter().any(|row| row.app == self.name.as_str() && row.version == self.version)
    }

    /// The document type whose table this is.
    pub fn doc_type_of(&self, table: &TableName) -> Option<DocTypeName> {
        let types = self.definition.doc_types.iter().map(|doc_type| &doc_type.name);
        types.into_iter().find(|name| TableName::of(&self.name, name) == *table).cloned()
    }
}

fn owns(access: &AccessSpec) -> bool {
    access.level == AccessLevel::Owner && access.backends.contains(&AccessBackend::Postgres)
}

/// A part of the manifest as the registry has it; empty when it is not there.
fn object<T: serde::Serialize>(part: Option<&T>) -> Result<Value, Error> {
    part.map_or_else(|| Ok(json!({})), serde_json::to_value)
        .map_err(Error::data("writing a part of the manifest"))
}

/// `{}` for a tenant that says nothing, so that rows from before there was anything to say stay as they are.
fn auth(spec: &TenantSpec) -> Result<Value, Error> {
    if let Some(problem) = spec.auth.problem() {
        return Err(Error::Invalid(problem));
    }
    if spec.auth.is_default() {
        return Ok(json!({}));
    }
    serde_json::to_value(&spec.auth).map_err(Error::data("writing spec.auth"))
}

fn stream(tenant: &TenantName, app: &AppName, queue: &Queue) -> StreamRow {
    // The CRD bounds all three far below this.
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    StreamRow {
        app: app.clone(),
        queue: queue.name.clone(),
        class: match queue.class {
            QueueClass::Durable => "Durable",
            QueueClass::Fast => "Fast",
        },
        key: RedisKey::queue(tenant, app, &queue.name),
        max_attempts: number(queue.max_attempts),
        lease_seconds: number(queue.lease_seconds),
        max_length: number(queue.max_length),
    }
}

fn search(tenant: &TenantName, index: &EffectiveIndex) -> SearchRow {
    let mut settings = index.settings.clone();
    // What the control plane itself filters by.
    let always = ["id", "created_by"].map(str::to_owned);
    settings.filterable =
        settings.filterable.into_iter().chain(always).collect::<BTreeSet<_>>().into_iter().collect();
    let text = json!([settings.searchable, settings.filterable, settings.sortable]).to_string();
    SearchRow {
        app: index.app.clone(),
        doc_type: index.doc_type.clone(),
        index: IndexUid::of(tenant, &index.app, &index.doc_type),
        digest: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        settings,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_would_be_taken_for_the_platforms_own_is_refused_and_named() {
        let tenant = Identity::new(TenantName::new("acme").unwrap(), Uuid::from_u128(7));
        let placement = Placement::default();
        let of = |auth: Value| {
            let spec: TenantSpec = serde_json::from_value(json!({"auth": auth})).unwrap();
            let manifest = Manifest { tenant: &tenant, generation: 1, spec: &spec, placement: &placement };
            Desired::of(manifest, &[], &[])
        };
        let issuer = json!({"name": "key", "issuer": "https://id.example.com", "audience": "crm"});
        for (auth, named) in [
            (json!({"oidcIssuers": [issuer]}), "spec.auth.oidcIssuers: key"),
            (json!({"audiences": ["tenantry"]}), "spec.auth.audiences: tenantry"),
        ] {
            let refused = of(auth).unwrap_err();
            assert!(matches!(&refused, Error::Invalid(problem) if problem.starts_with(named)), "{refused}");
        }
        assert!(of(json!({"audiences": ["chat"]})).is_ok());
    }
}
