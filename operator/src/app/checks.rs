//! What an App can be told about before any tenant installs it.

use std::collections::{BTreeMap, BTreeSet};

use tenantry_crds::{
    reason::Reason,
    v1alpha1::{AppSpec, QueueClass},
};

use crate::{
    catalog::{Catalog, PublishedApp, references_resolve, satisfies},
    error::Error,
};

/// Whether everything that `app` builds on is published and new enough.
pub(super) fn builds_on(app: &PublishedApp, catalog: &Catalog) -> Result<(), Error> {
    for required in &app.definition.requires {
        if !catalog.declares(&required.app) {
            return Err(Error::blocked(
                Reason::DependencyMissing,
                format!("spec.requires: there is no App {}", required.app),
            ));
        }
        let target = catalog.resolve(&required.app, None)?;
        satisfies(&app.name, &required.app, required.min_version.as_deref(), &target.version)?;
    }
    references_resolve(app, |name| catalog.target(name))
}

/// A way from `start` along `requires` back to `start`. Looks at the Apps as they are declared: those of a cycle can never be
/// published.
pub(super) fn cycle(start: &str, requires: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start.to_owned()]];
    while let Some(way) = ways.pop() {
        let next = way.last().and_then(|app| requires.get(app)).into_iter().flatten();
        for app in next {
            let mut longer = way.clone();
            longer.push(app.clone());
            if app == start {
                return Some(longer);
            }
            if seen.insert(app.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

/// Fields that this release accepts but does not act on.
pub(super) fn not_supported(spec: &AppSpec) -> Vec<String> {
    let mut fields = Vec::new();
    let mut note = |given: bool, text: &str| {
        if given {
            fields.push(text.to_owned());
        }
    };
    note(!spec.schedules.is_empty(), "spec.schedules: no job is enqueued yet");
    note(
        spec.queues.iter().any(|queue| queue.class == QueueClass::Durable),
        "spec.queues[].class: Durable queues are kept in Redis only",
    );
    fields
}
