//! Which apps a tenant is made of, in the order in which their tables can refer to each other.

use std::{collections::BTreeMap, sync::Arc};

use tenantry_crds::{core_app, names::AppName, reason::Reason};

use super::{Catalog, PublishedApp, Version};
use crate::error::Error;

/// The version of each app that a tenant lists; `None` for the one that tenants are to have.
pub type Versions = BTreeMap<AppName, Option<Version>>;

type Chosen = BTreeMap<AppName, Arc<PublishedApp>>;

impl Catalog {
    /// The apps of `versions` with `core`, each after the ones that it requires.
    ///
    /// An app that another one requires must be listed too: what a tenant has is what its manifest says.
    ///
    /// # Errors
    /// When an app is unknown or not published yet, a requirement is not met, or a reference meets no document type.
    pub fn composition(&self, versions: &Versions) -> Result<Vec<Arc<PublishedApp>>, Error> {
        let mut chosen = Chosen::new();
        chosen.insert(core_app::name(), self.resolve(&core_app::name(), None)?);
        for (app, version) in versions {
            chosen.insert(app.clone(), self.resolve(app, version.as_ref())?);
        }
        requirements_are_met(&chosen)?;
        let ordered = in_order(&chosen)?;
        for app in &ordered {
            references_resolve(app, |name| chosen.get(name).cloned())?;
        }
        Ok(ordered)
    }
}

fn requirements_are_met(chosen: &Chosen) -> Result<(), Error> {
    for app in chosen.values() {
        for required in &app.definition.requires {
            let Some(found) = chosen.get(&required.app) else {
                return Err(Error::blocked(
                    Reason::DependencyMissing,
                    format!("app {} requires app {}; add it to spec.apps", app.name, required.app),
                ));
            };
            satisfies(&app.name, &required.app, required.min_version.as_deref(), &found.version)?;
        }
    }
    Ok(())
}

/// Whether `found` is new enough for what `app` requires.
///
/// # Errors
/// [`Reason::DependencyConflict`] when it is not.
pub fn satisfies(app: &AppName, required: &AppName, min: Option<&str>, found: &Version) -> Result<(), Error> {
    match min.map(Version::new) {
        Some(min) if *found < min => Err(Error::blocked(
            Reason::DependencyConflict,
            format!("app {app} requires {required} {min} or newer, but it is at {found}"),
        )),
        _ => Ok(()),
    }
}

/// Whether every reference of `app` meets a document type among the apps that `known` tells.
///
/// # Errors
/// [`Reason::ReferenceNotFound`], with all that are wrong.
pub fn references_resolve(
    app: &PublishedApp,
    known: impl Fn(&AppName) -> Option<Arc<PublishedApp>>,
) -> Result<(), Error> {
    let wrong: Vec<String> = app
        .definition
        .references()
        .filter(|(_, target)| target.app != app.name)
        .filter(|(_, target)| {
            known(&target.app).is_none_or(|other| other.definition.doc_type(&target.doc_type).is_none())
        })
        .map(|(path, target)| {
            format!("app {}: {path}: {} has no document type {}", app.name, target.app, target.doc_type)
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::blocked(Reason::ReferenceNotFound, wrong.join("; "))) }
}

/// Each app after the ones it requires; `core` first, the rest by name where nothing else decides.
fn in_order(chosen: &Chosen) -> Result<Vec<Arc<PublishedApp>>, Error> {
    let mut ordered: Vec<Arc<PublishedApp>> = Vec::with_capacity(chosen.len());
    let mut left: Vec<&Arc<PublishedApp>> = chosen.values().collect();
    left.sort_by_key(|app| (app.name != core_app::name(), app.name.clone()));
    while !left.is_empty() {
        let placed = |name: &AppName| ordered.iter().any(|app| app.name == *name);
        let next = left.iter().position(|app| app.definition.requires.iter().all(|r| placed(&r.app)));
        let Some(next) = next else {
            let names: Vec<_> = left.iter().map(|app| app.name.as_str()).collect();
            return Err(Error::blocked(
                Reason::DependencyCycle,
                format!("apps {} require each other in a cycle", names.join(", ")),
            ));
        };
        ordered.push(left.remove(next).clone());
    }
    Ok(ordered)
}
