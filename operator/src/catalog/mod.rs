//! The published app definitions, in memory. Loaded when leadership is won, kept by the App reconcile.

mod composition;
#[cfg(test)]
mod tests;
mod version;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::runtime::reflector::{ObjectRef, Store};
use tenantry_crds::{
    core_app,
    definition::{AppDefinition, Destructive},
    names::AppName,
    reason::Reason,
    v1alpha1::{App, AppSpec},
};
use tenantry_migrations::registry::AppVersionRecord;

pub use composition::{Versions, references_resolve, satisfies};
pub use version::Version;

use crate::error::Error;

/// A published version of an app. Tenants at one version share it.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedApp {
    /// The app.
    pub name: AppName,
    /// The version.
    pub version: Version,
    /// [`AppDefinition::digest`].
    pub digest: String,
    /// The compiled definition.
    pub definition: Arc<AppDefinition>,
    /// What it was compiled from, for the registries that do not have it yet.
    pub spec: Arc<AppSpec>,
}

impl PublishedApp {
    /// Compiles a spec as it would be published.
    ///
    /// # Errors
    /// When the definition is wrong.
    pub fn compile(name: &AppName, spec: &AppSpec) -> Result<Self, Error> {
        Ok(Self {
            name: name.clone(),
            version: Version::new(&spec.version),
            digest: AppDefinition::digest(spec),
            definition: Arc::new(AppDefinition::compile(name, spec)?),
            spec: Arc::new(spec.clone()),
        })
    }

    /// Reads a row of `tenantry.app_version`.
    ///
    /// # Errors
    /// When this release cannot read the definition.
    pub fn read(record: AppVersionRecord) -> Result<Self, Error> {
        let doing = "reading a published definition";
        let name = AppName::new(&record.app).map_err(Error::data(doing))?;
        let spec: AppSpec = serde_json::from_value(record.definition).map_err(Error::data(doing))?;
        let definition = AppDefinition::compile(&name, &spec).map_err(Error::data(doing))?;
        Ok(Self {
            name,
            version: Version::new(&record.version),
            digest: record.digest,
            definition: Arc::new(definition),
            spec: Arc::new(spec),
        })
    }
}

/// Everything that is published.
#[derive(Debug, Default)]
struct Published {
    versions: BTreeMap<AppName, BTreeMap<Version, Arc<PublishedApp>>>,
    targets: BTreeMap<AppName, (Version, i64)>,
}

/// The published versions of every app, which of them tenants are to have, and a view of the Apps that exist.
#[derive(Debug)]
pub struct Catalog {
    published: RwLock<Published>,
    apps: Store<App>,
}

impl Catalog {
    /// An empty catalog; `apps` tells which Apps exist, published or not.
    pub fn new(apps: Store<App>) -> Self {
        Self { published: RwLock::default(), apps }
    }

    /// Adds a published version.
    pub fn publish(&self, app: PublishedApp) {
        let mut published = self.write();
        published.versions.entry(app.name.clone()).or_default().insert(app.version.clone(), Arc::new(app));
    }

    /// Tenants are to have `version` of `app`, unless a higher revision says another one.
    pub fn aim(&self, app: &AppName, version: &Version, revision: i64) {
        let mut published = self.write();
        if published.targets.get(app).is_none_or(|(_, known)| *known < revision) {
            published.targets.insert(app.clone(), (version.clone(), revision));
        }
    }

    /// The version that the App named last.
    pub fn aimed_at(&self, app: &AppName) -> Option<Version> {
        self.read().targets.get(app).map(|(version, _)| version.clone())
    }

    /// Counts how often `app` was aimed at another version.
    pub fn revision(&self, app: &AppName) -> i64 {
        self.read().targets.get(app).map_or(0, |(_, revision)| *revision)
    }

    /// Takes out a version that nobody uses any more.
    pub fn withdraw(&self, app: &AppName, version: &Version) {
        let mut published = self.write();
        if let Some(versions) = published.versions.get_mut(app) {
            versions.remove(version);
            if versions.is_empty() {
                published.versions.remove(app);
            }
        }
        if published.targets.get(app).is_some_and(|(target, _)| target == version) {
            published.targets.remove(app);
        }
    }

    /// Whether an App with this name exists. The built-in app always does.
    pub fn declares(&self, app: &AppName) -> bool {
        *app == core_app::name() || self.apps.get(&ObjectRef::new(app.as_str())).is_some()
    }

    /// The destructive changes that the App acknowledges, whatever version a tenant is at. They are no part of a version: who
    /// reads that a change is blocked adds the entry, and the tenants go on.
    pub fn acknowledged(&self, app: &AppName) -> BTreeSet<Destructive> {
        let declared = self.apps.get(&ObjectRef::new(app.as_str()));
        let entries = declared.iter().flat_map(|app| &app.spec.allow_destructive);
        entries.filter_map(|entry| entry.parse().ok()).collect()
    }

    /// The highest version of `app`.
    pub fn newest(&self, app: &AppName) -> Option<Arc<PublishedApp>> {
        self.read().versions.get(app)?.last_key_value().map(|(_, published)| published.clone())
    }

    /// The version of `app` that tenants are to have: the one that its App named last, which need not be the highest; the
    /// highest where it never named one.
    pub fn target(&self, app: &AppName) -> Option<Arc<PublishedApp>> {
        let published = self.read();
        let versions = published.versions.get(app)?;
        let named = published.targets.get(app).and_then(|(version, _)| versions.get(version));
        named.or_else(|| versions.last_key_value().map(|(_, highest)| highest)).cloned()
    }

    /// This version of `app`.
    pub fn version(&self, app: &AppName, version: &Version) -> Option<Arc<PublishedApp>> {
        self.read().versions.get(app)?.get(version).cloned()
    }

    /// Every published version of `app`, oldest first.
    pub fn versions(&self, app: &AppName) -> Vec<Arc<PublishedApp>> {
        self.read().versions.get(app).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    /// What a tenant that names `app` gets: `version`, else the one that tenants are to have.
    ///
    /// # Errors
    /// AppNotFound and AppVersionNotFound when a person must act; DependencyNotReady, which passes, while an App that
    /// exists is not published yet.
    pub fn resolve(&self, app: &AppName, version: Option<&Version>) -> Result<Arc<PublishedApp>, Error> {
        if !self.declares(app) {
            return Err(Error::blocked(Reason::AppNotFound, format!("there is no App {app}")));
        }
        let Some(target) = self.target(app) else {
            return Err(Error::waiting(
                Reason::DependencyNotReady,
                format!("App {app} is not published yet; its status says why"),
            ));
        };
        let Some(version) = version else { return Ok(target) };
        self.version(app, version).ok_or_else(|| {
            let known: Vec<_> = self.versions(app).iter().map(|v| v.version.to_string()).collect();
            Error::blocked(
                Reason::AppVersionNotFound,
                format!("App {app} has no published version {version}; published are {}", known.join(", ")),
            )
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }
}
