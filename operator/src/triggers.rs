//! Who is woken when an object changes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tenantry_crds::{
    labels::{PAUSED_ANNOTATION, PLAN_ANNOTATION},
    v1alpha1::{App, SearchIndex, Tenant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, uses},
    driver::Change,
};

/// Apps whose tenants changed. Kept back for a while, so that an App that 500 new tenants list gets a pass a second, and not
/// 500.
#[derive(Debug, Default)]
pub struct Touched {
    apps: Mutex<Apps>,
    any: Notify,
}

#[derive(Debug, Default)]
struct Apps {
    /// Who lists them changed, or how.
    listed: BTreeSet<String>,
    /// Their rollout went on.
    moved: BTreeSet<String>,
}

/// The least time between two passes that count tenants.
const KEPT_BACK: Duration = Duration::from_secs(1);

impl Touched {
    fn listed(&self, apps: BTreeSet<String>) {
        if !apps.is_empty() {
            self.apps.lock().unwrap_or_else(PoisonError::into_inner).listed.extend(apps);
            self.any.notify_one();
        }
    }

    /// The rollouts of these apps went on.
    pub fn moved(&self, apps: impl Iterator<Item = String>) {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).moved.extend(apps);
        self.any.notify_one();
    }

    /// Wakes touched Apps, and SearchIndexes that may have met a rival on a new tenant, until `shutdown`.
    pub async fn wake(&self, ctx: &Context, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = self.any.notified() => {}
                () = shutdown.cancelled() => return,
            }
            tokio::time::sleep(KEPT_BACK).await;
            let Apps { listed, moved } =
                std::mem::take(&mut *self.apps.lock().unwrap_or_else(PoisonError::into_inner));
            for app in &listed | &moved {
                ctx.lanes.apps.wake(&app);
            }
            for index in ctx.stores.search_indexes.state_filter(|index| listed.contains(&index.spec.app)) {
                ctx.lanes.search_indexes.wake(&index.name_any());
            }
        }
    }
}

/// A Tenant changed: its apps count their tenants again, and their rollouts may go on with it or without it.
pub fn on_tenant(ctx: Arc<Context>) -> impl FnMut(Change<Tenant>) + Send + 'static {
    move |change| {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        ctx.rollouts.observe_tenant(before, after);
        ctx.touched.listed(apps_touched(before, after));
    }
}

/// An App came, changed or went. Whoever names it learns when it comes, goes or acknowledges other changes; its own pass tells of
/// new versions.
pub fn on_app(ctx: Arc<Context>) -> impl FnMut(Change<App>) + Send + 'static {
    move |change| {
        // Before its pass: who goes first has to be known before anybody goes.
        if let Some(app) = change.after.as_ref().or(change.before.as_ref()) {
            ctx.rollouts.observe_app(&app.name_any(), change.after.as_deref());
        }
        match (&change.before, &change.after) {
            (Some(app), None) | (None, Some(app)) => ctx.wake_users_of(&app.name_any()),
            (Some(before), Some(after)) if before.spec.allow_destructive != after.spec.allow_destructive => {
                ctx.wake_users_of(&after.name_any());
            }
            _ => {}
        }
    }
}

/// A SearchIndex came, went or changed: the tenants it selects or selected, and those that may take its place.
pub fn on_search_index(ctx: Arc<Context>) -> impl FnMut(Change<SearchIndex>) + Send + 'static {
    move |change| {
        let sides: Vec<&SearchIndex> =
            [&change.before, &change.after].into_iter().filter_map(Option::as_deref).collect();
        if !is_news(change.before.as_deref(), change.after.as_deref()) {
            return;
        }
        for tenant in ctx.stores.tenants.state_filter(|tenant| concerns(&sides, tenant)) {
            ctx.lanes.tenants.wake(&tenant.name_any());
        }
        let rival = |other: &SearchIndex| {
            sides.iter().any(|side| {
                other.name_any() != side.name_any()
                    && (&other.spec.app, &other.spec.doc_type) == (&side.spec.app, &side.spec.doc_type)
            })
        };
        for other in ctx.stores.search_indexes.state_filter(rival) {
            ctx.lanes.search_indexes.wake(&other.name_any());
        }
    }
}

/// The apps for which it matters that the tenant changed so: what it lists in which version, whether it is there and acted
/// upon, its labels.
fn apps_touched(before: Option<&Tenant>, after: Option<&Tenant>) -> BTreeSet<String> {
    let apps = |side: Option<&Tenant>| -> BTreeSet<(String, Option<String>)> {
        let listed = side.into_iter().flat_map(|tenant| &tenant.spec.apps);
        listed.map(|app| (app.name.clone(), app.version.clone())).collect()
    };
    let (old, new) = (apps(before), apps(after));
    let about = |tenant: &Tenant| {
        (
            tenant.labels().clone(),
            [PAUSED_ANNOTATION, PLAN_ANNOTATION].map(|key| tenant.annotations().get(key).cloned()),
            tenant.metadata.deletion_timestamp.is_some(),
        )
    };
    let other = before.zip(after).is_some_and(|(before, after)| about(before) != about(after));
    let touched = if other { &old | &new } else { &old ^ &new };
    touched.into_iter().map(|(app, _)| app).collect()
}

/// Whether more than the status of a SearchIndex changed.
fn is_news(before: Option<&SearchIndex>, after: Option<&SearchIndex>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before.spec != after.spec
                || before.uid() != after.uid()
                || before.metadata.deletion_timestamp.is_some() != after.metadata.deletion_timestamp.is_some()
        }
        _ => true,
    }
}

/// Whether `tenant` has or may get an index by one of the `sides` of a change.
fn concerns(sides: &[&SearchIndex], tenant: &Tenant) -> bool {
    sides.iter().any(|index| {
        uses(tenant, &index.spec.app) && index.spec.tenants.selects(&tenant.name_any(), tenant.labels())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tenant(apps: &[&str], labels: Value) -> Tenant {
        let apps: Vec<_> = apps.iter().map(|app| json!({"name": app})).collect();
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "acme", "labels": labels}, "spec": {"apps": apps},
        }))
        .unwrap()
    }

    fn index(tenants: Value) -> SearchIndex {
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "SearchIndex", "metadata": {"name": "one"},
            "spec": {"app": "crm", "docType": "customer", "searchable": ["name"], "tenants": tenants},
        }))
        .unwrap()
    }

    fn touched(before: Option<&Tenant>, after: Option<&Tenant>) -> Vec<String> {
        apps_touched(before, after).into_iter().collect()
    }

    #[test]
    fn only_apps_whose_tenants_differ_are_touched() {
        let (one, two) = (tenant(&["a", "b"], json!({})), tenant(&["b", "c"], json!({})));
        assert_eq!(touched(None, Some(&one)), ["a", "b"]);
        assert_eq!(touched(Some(&one), None), ["a", "b"]);
        assert_eq!(touched(Some(&one), Some(&two)), ["a", "c"]);
        assert!(touched(Some(&one), Some(&one)).is_empty());
        let relabelled = tenant(&["b", "c"], json!({"ring": "canary"}));
        assert_eq!(touched(Some(&two), Some(&relabelled)), ["b", "c"]);
    }

    #[test]
    fn a_search_index_concerns_those_it_selected_and_those_it_selects() {
        let (was, is) = (index(json!({"names": ["acme"]})), index(json!({"names": ["globex"]})));
        let acme = tenant(&["crm"], json!({}));
        assert!(concerns(&[&was, &is], &acme));
        assert!(!concerns(&[&is], &acme));
        assert!(!concerns(&[&was], &tenant(&[], json!({}))));
        assert!(is_news(Some(&was), Some(&is)));
        assert!(is_news(None, Some(&is)));
        let mut reported = is.clone();
        reported.status = Some(Default::default());
        assert!(!is_news(Some(&is), Some(&reported)));
    }
}
