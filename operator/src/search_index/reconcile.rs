//! The SearchIndex reconcile. It changes nothing but its status: the tenants' passes make and drop the indexes.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tenantry_crds::{
    names::AppName,
    reason::Reason,
    v1alpha1::{SearchEngine, SearchIndex, SearchIndexSpec, SearchIndexStatus, Tenant},
};

use super::{
    effective::{age, selects},
    fields,
};
use crate::{
    context::Context,
    driver::{Cleanup, Kind, Lane, Pass, Progress},
    error::Error,
};

impl Kind for SearchIndex {
    const NAME: &'static str = "searchindex";
    const FINALIZER: Option<&'static str> = None;
    type Status = SearchIndexStatus;

    fn status(&self) -> Option<&SearchIndexStatus> {
        self.status.as_ref()
    }

    fn conditions(status: &SearchIndexStatus) -> &[Condition] {
        &status.conditions
    }

    fn settle(status: &mut SearchIndexStatus, generation: i64, conditions: Vec<Condition>) {
        status.observed_generation = Some(generation);
        status.conditions = conditions;
    }

    fn lane(ctx: &Context) -> &Lane<Self> {
        &ctx.lanes.search_indexes
    }

    async fn converge(&self, ctx: &Context, pass: &mut Pass<SearchIndexStatus>) -> Result<Progress, Error> {
        pass.status.not_supported = not_supported(&self.spec);
        let app = ctx.catalog.resolve(&AppName::new(&self.spec.app)?, None)?;
        fields::settings(&self.spec, &app.definition)?;
        let older = older_rivals(self, &ctx.stores.search_indexes.state());
        if !older.is_empty() {
            let users = ctx.tenants_of(&self.spec.app);
            yields_to(self, &older, &users)?;
        }
        Ok(Progress::Ready(format!("applies to tenants of app {} {}", app.name, app.version)))
    }

    async fn cleanup(&self, _: &Context, _: &mut Pass<SearchIndexStatus>) -> Result<Cleanup, Error> {
        Ok(Cleanup::Done)
    }
}

pub(super) fn not_supported(spec: &SearchIndexSpec) -> Vec<String> {
    match spec.engine {
        SearchEngine::Auto => vec!["spec.engine: Auto is always Meilisearch in this release".to_owned()],
        SearchEngine::Postgres | SearchEngine::Meilisearch => Vec::new(),
    }
}

/// SearchIndexes for the same document type that go before `index`.
pub(super) fn older_rivals(index: &SearchIndex, all: &[Arc<SearchIndex>]) -> Vec<Arc<SearchIndex>> {
    let mut rivals: Vec<_> = all
        .iter()
        .filter(|other| other.name_any() != index.name_any())
        .filter(|other| other.spec.app == index.spec.app && other.spec.doc_type == index.spec.doc_type)
        .filter(|other| other.metadata.deletion_timestamp.is_none() && age(other, index).is_lt())
        .cloned()
        .collect();
    rivals.sort_by(|a, b| age(a, b));
    rivals
}

/// Fails when an older SearchIndex applies to a tenant that `index` selects too.
pub(super) fn yields_to(
    index: &SearchIndex,
    older: &[Arc<SearchIndex>],
    users: &[Arc<Tenant>],
) -> Result<(), Error> {
    for rival in older {
        let mut both: Vec<_> = users
            .iter()
            .filter(|tenant| selects(index, tenant) && selects(rival, tenant))
            .map(|tenant| tenant.name_any())
            .collect();
        if both.is_empty() {
            continue;
        }
        both.sort();
        return Err(Error::blocked(
            Reason::NameConflict,
            format!(
                "SearchIndex {} is older, covers the same document type and selects {} of the same tenants, as {}; \
                 it applies there. Narrow spec.tenants of one of them",
                rival.name_any(),
                both.len(),
                both[0],
            ),
        ));
    }
    Ok(())
}
