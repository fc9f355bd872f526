//! Values for the tests of this module: the crm of the samples, and what Postgres shows of it once it is in place.

use std::sync::Arc;

use serde_json::json;
use tenantry_crds::{
    core_app,
    names::{AppName, RelationKind, RelationName, TenantName},
    v1alpha1::{App, AppSpec, SearchIndex, Tenant, TenantSpec},
};
use tenantry_migrations::{
    layout::{DefaultValue, TableLayout},
    logins::{self, LoginShard},
    mark::OwnershipMark,
    registry::{Placement, SearchBindingRecord, StreamBindingRecord, TenantAppRecord, TenantRecord},
};
use uuid::Uuid;

use super::desired::{Desired, Manifest};
use crate::{
    backend::postgres::{
        change::Identity,
        observe::{Member, Observed, ObservedColumn, ObservedRole, ObservedSchema, ObservedTable},
    },
    catalog::PublishedApp,
    search_index::effective_for,
};

pub const SHARD: LoginShard = LoginShard::new(0);

pub fn uid() -> Uuid {
    Uuid::from_u128(7)
}

pub fn crm() -> AppSpec {
    let sample: App = serde_yaml::from_str(include_str!("../../../config/samples/app-crm.yaml")).unwrap();
    sample.spec
}

/// Tenant `acme` with `core` and with `crm`, where there is one, and the search index of the samples.
pub fn desired(crm: Option<&AppSpec>) -> Desired {
    let published =
        |name: &str, spec| Arc::new(PublishedApp::compile(&AppName::new(name).unwrap(), spec).unwrap());
    let mut apps = vec![published("core", core_app::spec())];
    apps.extend(crm.map(|spec| published("crm", spec)));
    let index: SearchIndex =
        serde_yaml::from_str(include_str!("../../../config/samples/searchindex-crm-customers.yaml")).unwrap();
    let spec = TenantSpec { hosts: vec!["acme.example.com".into()], ..TenantSpec::default() };
    let object = Tenant::new("acme", spec);
    let tenant = Identity::new(TenantName::new("acme").unwrap(), uid());
    let manifest =
        Manifest { tenant: &tenant, generation: 1, spec: &object.spec, placement: &Placement::default() };
    Desired::of(manifest, &apps, &effective_for(&object, &apps, &[Arc::new(index)])).unwrap()
}

/// What is there when `desired` is in place.
pub fn in_place(desired: &Desired) -> Observed {
    let tenant = &desired.tenant;
    let name = || tenant.name.as_str().to_owned();
    let role = |members: Vec<Member>, groups: Vec<String>| ObservedRole {
        comment: Some(OwnershipMark::of(tenant.uid).to_string()),
        members,
        groups,
    };
    let provisioner = |set| Member { name: SHARD.provisioner().to_string(), admin: true, set };
    let traffic = Member { name: SHARD.traffic().to_string(), admin: false, set: true };
    Observed {
        record: Some(TenantRecord {
            name: name(),
            uid: tenant.uid,
            origin: tenant.uid,
            state: "Active".into(),
            suspended_message: None,
            schema_name: tenant.schema.to_string(),
            tenant_role: tenant.role.to_string(),
            login_shard: SHARD.number(),
            placement: desired.placement.clone(),
            quotas: json!({}),
            auth: desired.auth.clone(),
            cors: json!({}),
            generation: desired.generation,
            ready: true,
            connections: "Shared".into(),
            revision: 1,
            hosts: desired.hosts.iter().cloned().collect(),
        }),
        apps: desired
            .apps
            .iter()
            .map(|app| TenantAppRecord {
                tenant: name(),
                app: app.name.to_string(),
                version: app.version.clone(),
                state: "Installed".into(),
            })
            .collect(),
        migrations: vec![],
        streams: desired
            .streams
            .iter()
            .map(|stream| StreamBindingRecord {
                tenant: name(),
                app: stream.app.to_string(),
                queue: stream.queue.to_string(),
                class: stream.class.into(),
                stream_key: stream.key.to_string(),
                max_attempts: stream.max_attempts,
                lease_seconds: stream.lease_seconds,
                max_length: stream.max_length,
            })
            .collect(),
        searches: desired
            .searches
            .iter()
            .map(|search| SearchBindingRecord {
                tenant: name(),
                app: search.app.to_string(),
                doc_type: search.doc_type.to_string(),
                engine: "Meilisearch".into(),
                isolation: "Dedicated".into(),
                index_uid: search.index.to_string(),
                building_uid: None,
                settings: serde_json::to_value(&search.settings).unwrap(),
                settings_digest: search.digest.clone(),
                live: true,
            })
            .collect(),
        restored: None,
        snapshot: None,
        accesses: vec![],
        taken_hosts: vec![],
        owner: Some(role(vec![provisioner(true)], vec![])),
        role: Some(role(vec![provisioner(false), traffic], vec![logins::TENANTS.into()])),
        migrator: None,
        traffic: None,
        foreign: vec![],
        schema: Some(ObservedSchema {
            comment: Some(OwnershipMark::of(tenant.uid).to_string()),
            owner: tenant.owner.to_string(),
            granted: true,
            default_table_grants: true,
            default_sequence_grants: true,
        }),
        tables: desired.tables().map(|layout| (layout.table.to_string(), table(layout))).collect(),
        sequences: desired
            .tables()
            .filter_map(|layout| layout.series.as_ref())
            .map(|series| (series.to_string(), true))
            .collect(),
    }
}

fn table(layout: &TableLayout) -> ObservedTable {
    let columns = layout.columns.iter().map(|column| {
        let observed = ObservedColumn {
            sql_type: column.sql_type.to_string(),
            not_null: column.not_null,
            default: column.default.as_ref().map(|value| match value {
                DefaultValue::Literal(text) => text.clone(),
                DefaultValue::Now => "now()".to_owned(),
            }),
        };
        (column.name.clone(), observed)
    });
    let checks = layout.columns.iter().filter_map(|column| {
        let values = column.one_of.as_ref()?;
        let values: Vec<_> = values.iter().map(|value| format!("'{value}'::text")).collect();
        let name = RelationName::of(&layout.table, &column.name, RelationKind::Check);
        Some((name.to_string(), format!("CHECK (({} = ANY (ARRAY[{}])))", column.name, values.join(", "))))
    });
    let keys = layout.foreign_keys.iter().map(|key| (key.name.to_string(), "FOREIGN KEY".to_owned()));
    ObservedTable {
        granted: true,
        primary_key: true,
        columns: columns.collect(),
        indexes: layout.indexes.iter().map(|index| (index.name.to_string(), index.unique)).collect(),
        invalid_indexes: vec![],
        constraints: checks.chain(keys).collect(),
    }
}
