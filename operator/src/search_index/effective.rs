//! Which SearchIndexes apply to a tenant.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use kube::ResourceExt;
use tenantry_crds::{
    names::{AppName, DocTypeName},
    v1alpha1::{SearchIndex, Tenant},
};
use tenantry_migrations::registry::SearchSettings;

use super::fields;
use crate::catalog::PublishedApp;

/// A search index that a tenant should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveIndex {
    /// The SearchIndex that asks for it.
    pub from: String,
    /// The app.
    pub app: AppName,
    /// The document type.
    pub doc_type: DocTypeName,
    /// What the engine is configured with; filterable holds what row rules need, too.
    pub settings: SearchSettings,
}

/// The search indexes of `tenant`, which is composed of `apps`: at most one for each document type, in their order.
///
/// Where several SearchIndexes ask for one, the oldest applies. One that does not fit the version of the app that the tenant
/// is at is passed over; its own status says why.
pub fn effective_for(
    tenant: &Tenant,
    apps: &[Arc<PublishedApp>],
    indexes: &[Arc<SearchIndex>],
) -> Vec<EffectiveIndex> {
    let mut by_age: Vec<&Arc<SearchIndex>> = indexes.iter().filter(|index| selects(index, tenant)).collect();
    by_age.sort_by(|a, b| age(a, b));
    let mut chosen = BTreeMap::new();
    for index in by_age {
        let Some(app) = apps.iter().find(|app| app.name.as_str() == index.spec.app) else { continue };
        let (Ok(doc_type), Ok(settings)) =
            (DocTypeName::new(&index.spec.doc_type), fields::settings(&index.spec, &app.definition))
        else {
            continue;
        };
        chosen.entry((app.name.clone(), doc_type.clone())).or_insert_with(|| EffectiveIndex {
            from: index.name_any(),
            app: app.name.clone(),
            doc_type,
            settings,
        });
    }
    chosen.into_values().collect()
}

/// Whether `index` stands and selects `tenant`.
pub(super) fn selects(index: &SearchIndex, tenant: &Tenant) -> bool {
    index.metadata.deletion_timestamp.is_none()
        && index.spec.tenants.selects(&tenant.name_any(), tenant.labels())
}

/// The older first; by name where they were made in the same second.
pub(super) fn age(a: &SearchIndex, b: &SearchIndex) -> Ordering {
    let created = |index: &SearchIndex| index.metadata.creation_timestamp.clone().map(|time| time.0);
    created(a).cmp(&created(b)).then_with(|| a.name_any().cmp(&b.name_any()))
}
