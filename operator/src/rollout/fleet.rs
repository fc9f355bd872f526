//! The rollouts of all apps over all tenants, in memory: what the registry and the Tenant objects say, and who may go.
//!
//! Nothing here outlives the process and nothing has to: the registry says which tenants are done and which failed, so
//! the next leader goes on exactly there.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
};

use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use tenantry_crds::{
    core_app,
    names::AppName,
    reason::Reason,
    v1alpha1::{App, InstalledApp, Tenant, TenantApp, TenantSpec},
};
use tenantry_migrations::{logins::LoginShard, registry::TenantAppRecord};

use super::{journal::Installed, machine::Rollout, member::Failure, policy::Policy, progress::Progress};
use crate::{
    catalog::{Catalog, PublishedApp, Version, Versions},
    context::uses,
    error::{Class, Error},
};

/// The rollouts of all apps but `core`, which comes with the operator.
#[derive(Debug)]
pub struct Rollouts {
    catalog: Arc<Catalog>,
    tenants: Store<Tenant>,
    state: Mutex<State>,
    stocked: Once,
}

#[derive(Debug, Default)]
struct State {
    apps: BTreeMap<AppName, Rollout>,
    /// Of the Apps that were seen. Without its policy nobody may go: who goes first is not known.
    policies: BTreeMap<AppName, Policy>,
    /// The versions that the pass under way over a tenant aims at.
    aims: HashMap<String, BTreeMap<AppName, Version>>,
}

/// What the end of a pass changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// What the registry is to have.
    pub verdicts: Vec<Verdict>,
    /// The apps whose rollout is further or failed.
    pub moved: Vec<AppName>,
    /// All apps of the tenant: one that moved may have held up another.
    pub apps: Vec<AppName>,
}

/// What the registry is to have of a tenant and an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The app.
    pub app: AppName,
    /// The version that the pass aimed at.
    pub version: Version,
    /// Why it was not reached; `None` takes away what the registry has.
    pub failure: Option<Failure>,
}

impl Rollouts {
    /// Of the apps in `catalog` over `tenants`.
    pub fn new(catalog: Arc<Catalog>, tenants: Store<Tenant>) -> Self {
        Self { catalog, tenants, state: Mutex::default(), stocked: Once::new() }
    }

    /// Takes note of all objects of the first list, once; the caches are complete. Nobody goes before this: half of the fleet
    /// may lack its canaries.
    pub fn take_stock(&self, apps: &Store<App>) {
        self.stocked.call_once(|| {
            apps.state().iter().for_each(|app| self.observe_app(&app.name_any(), Some(app)));
            self.tenants.state().iter().for_each(|tenant| self.observe_tenant(None, Some(tenant)));
        });
    }

    /// Takes what the registry has, before the first pass.
    pub fn load(&self, installed: Vec<Installed>) {
        let mut state = self.state();
        for Installed { tenant, app, version, failure, shard } in installed {
            let Some(rollout) = self.rollout(&mut state, &app) else { continue };
            rollout.learn(&tenant, Some(version));
            rollout.bound(&tenant, shard);
            if let Some(failure) = failure.filter(|failure| failure.version == *rollout.target()) {
                rollout.failed(&tenant, failure);
            }
        }
    }

    /// An App came, changed or went.
    pub fn observe_app(&self, name: &str, after: Option<&App>) {
        let Ok(app) = AppName::new(name) else { return };
        let mut state = self.state();
        let Some(after) = after else {
            state.policies.remove(&app);
            return;
        };
        let policy = Policy::of(after.spec.rollout.as_ref());
        if state.policies.get(&app) == Some(&policy) {
            return;
        }
        state.policies.insert(app.clone(), policy.clone());
        if let Some(rollout) = state.apps.get_mut(&app) {
            rollout.pace(policy.pace);
            self.observe_all(rollout, &app, &policy);
        }
    }

    /// A Tenant came, changed or went.
    pub fn observe_tenant(&self, before: Option<&Tenant>, after: Option<&Tenant>) {
        let mut state = self.state();
        for app in before.into_iter().chain(after).flat_map(|tenant| &tenant.spec.apps) {
            let Ok(app) = AppName::new(&app.name) else { continue };
            let policy = state.policies.get(&app).cloned().unwrap_or_default();
            if let Some(rollout) = self.rollout(&mut state, &app)
                && let Some(tenant) = after.or(before)
            {
                rollout.observe(&tenant.name_any(), after.and_then(|tenant| policy.standing(tenant, &app)));
            }
        }
        if let (Some(gone), None) = (before, after) {
            state.aims.remove(&gone.name_any());
        }
    }

    /// What the registry has of a tenant, as the pass over it has just read it. The apps whose rollout that moved: a restored
    /// tenant may come in behind the target.
    pub fn learn(&self, tenant: &str, spec: &TenantSpec, installed: &[TenantAppRecord]) -> Vec<AppName> {
        let mut installed: BTreeMap<&str, &str> =
            installed.iter().map(|row| (row.app.as_str(), row.version.as_str())).collect();
        let (mut state, mut moved) = (self.state(), Vec::new());
        for (app, rollout) in &mut state.apps {
            if rollout.learn(tenant, installed.remove(app.as_str()).map(Version::new)) {
                moved.push(app.clone());
            }
        }
        for (app, version) in installed {
            let Ok(app) = AppName::new(app) else { continue };
            if let Some(rollout) = self.rollout(&mut state, &app)
                && rollout.learn(tenant, Some(Version::new(version)))
            {
                moved.push(app);
            }
        }
        self.aim(&mut state, tenant, spec);
        moved
    }

    /// The tenant is in this shard.
    pub fn bound(&self, tenant: &str, shard: LoginShard) {
        for rollout in self.state().apps.values_mut() {
            rollout.bound(tenant, shard);
        }
    }

    /// The target of `app` is the catalog's from now on. The tenants that were on the way to another one are given back.
    pub fn retarget(&self, app: &AppName) -> Vec<Arc<str>> {
        let Some(target) = self.catalog.target(app) else { return Vec::new() };
        let mut state = self.state();
        let Some(rollout) = self.rollout(&mut state, app) else { return Vec::new() };
        let left = rollout.retarget(target.version.clone());
        // Who had to wait for another app may have waited for this one.
        for rollout in state.apps.values_mut() {
            for tenant in rollout.waiting() {
                rollout.reconsider(&tenant);
            }
        }
        left
    }

    /// The app is not published any more.
    pub fn withdraw(&self, app: &AppName) {
        if self.catalog.target(app).is_none() {
            self.state().apps.remove(app);
        }
    }

    /// The versions that a pass over a tenant aims at, in the order of installation: a pin; the target where the tenant is
    /// new to the app or admitted; else what it has.
    ///
    /// # Errors
    /// As [`Catalog::composition`]. When another rollout is what is missing, it is waited for.
    pub fn compose(&self, tenant: &str, spec: &TenantSpec) -> Result<Vec<Arc<PublishedApp>>, Error> {
        let state = self.state();
        let versions = choose(spec, |name, app| state.wanted(tenant, name, app))?;
        self.catalog.composition(&versions).map_err(|error| {
            let is_obstacle = matches!(error.class(), Class::Blocked);
            if is_obstacle && self.targets_fit(spec) {
                let message = format!("waiting for the rollout of another app to reach this tenant: {error}");
                Error::waiting(Reason::DependencyNotReady, message)
            } else {
                error
            }
        })
    }

    /// The versions that a tenant has once all rollouts are complete, for a plan.
    ///
    /// # Errors
    /// As [`Catalog::composition`].
    pub fn compose_complete(&self, spec: &TenantSpec) -> Result<Vec<Arc<PublishedApp>>, Error> {
        self.catalog.composition(&choose(spec, |_, app| app.version.as_deref().map(Version::new))?)
    }

    /// A pass over a tenant begins. [`Self::ended`] takes up what it aims at.
    pub fn begin(&self, tenant: &str, spec: &TenantSpec) {
        self.aim(&mut self.state(), tenant, spec);
    }

    /// The versions that the pass under way over a tenant aims at.
    pub fn aims(&self, tenant: &str) -> BTreeMap<AppName, Version> {
        self.state().aims.get(tenant).cloned().unwrap_or_default()
    }

    /// The pass over a tenant ended. Only what a person has to solve is a failure: anything else is tried again, and the
    /// tenant stays in flight.
    pub fn ended(&self, tenant: &str, end: Result<&[InstalledApp], &Error>) -> Ended {
        let mut state = self.state();
        let mut ended = Ended::default();
        let Some(aims) = state.aims.remove(tenant) else { return ended };
        for (app, version) in aims {
            let Some(rollout) = state.apps.get_mut(&app) else { continue };
            ended.apps.push(app.clone());
            match end {
                // Work goes on elsewhere, as a restore: a later pass gets there.
                Ok(installed) if !is_at(installed, &app, &version) => {}
                // A failure leaves memory once it has left the registry.
                Ok(_) if rollout.has_failed(tenant) => {
                    ended.verdicts.push(Verdict { app, version, failure: None });
                }
                Ok(_) => {
                    if rollout.reached(tenant, version) {
                        ended.moved.push(app);
                    }
                }
                Err(error) if is_for_people(error) && rollout.is_moving_to(tenant, &version) => {
                    let failure = Failure::new(version.clone(), error.reason(), error.to_string());
                    rollout.failed(tenant, failure.clone());
                    ended.moved.push(app.clone());
                    ended.verdicts.push(Verdict { app, version, failure: Some(failure) });
                }
                Err(_) => {}
            }
        }
        if !ended.moved.is_empty() {
            state.reconsider(tenant);
        }
        ended
    }

    /// The registry has what `verdict` says; whether a rollout is further.
    pub fn settled(&self, tenant: &str, verdict: &Verdict) -> bool {
        let mut state = self.state();
        let Some(rollout) = state.apps.get_mut(&verdict.app) else { return false };
        let moved = verdict.failure.is_none() && rollout.reached(tenant, verdict.version.clone());
        state.reconsider(tenant);
        moved
    }

    /// Admits all tenants that may go on with `app` now.
    pub fn advance(&self, app: &AppName) -> Vec<Arc<str>> {
        let mut state = self.state();
        if !state.policies.contains_key(app) {
            return Vec::new();
        }
        let Some(mut rollout) = state.apps.remove(app) else { return Vec::new() };
        let target = rollout.target().clone();
        let admitted = rollout.next(|tenant| self.may_go(&state, app, &target, tenant));
        state.apps.insert(app.clone(), rollout);
        admitted
    }

    /// Whether `tenant` has any version of `app`.
    pub fn has(&self, app: &AppName, tenant: &str) -> bool {
        self.state().apps.get(app).is_some_and(|rollout| rollout.has_version(tenant))
    }

    /// How far `app` is; `None` when nothing of it is published.
    pub fn progress(&self, app: &AppName) -> Option<Progress> {
        Some(self.state().apps.get(app)?.progress())
    }

    fn aim(&self, state: &mut State, tenant: &str, spec: &TenantSpec) {
        let aims = spec.apps.iter().filter_map(|app| {
            let name = AppName::new(&app.name).ok()?;
            let version = state.wanted(tenant, &name, app);
            let version = version.or_else(|| Some(self.catalog.target(&name)?.version.clone()))?;
            Some((name, version))
        });
        let aims = aims.collect();
        state.aims.insert(tenant.to_owned(), aims);
    }

    /// Whether the other apps of a tenant let `app` go to `target`. They hold it up only while their own rollouts will
    /// change that: else it goes, fails and says why.
    fn may_go(&self, state: &State, app: &AppName, target: &Version, tenant: &str) -> bool {
        let Some(tenant) = self.tenants.get(&ObjectRef::new(tenant)) else { return false };
        let alone = choose(&tenant.spec, |name, listed| {
            if name == app { Some(target.clone()) } else { state.wanted(&tenant.name_any(), name, listed) }
        });
        let fits = alone.and_then(|versions| self.catalog.composition(&versions)).is_ok();
        fits || !self.targets_fit(&tenant.spec)
    }

    /// Whether the apps fit together once all rollouts are complete.
    fn targets_fit(&self, spec: &TenantSpec) -> bool {
        self.compose_complete(spec).is_ok()
    }

    fn rollout<'a>(&self, state: &'a mut State, app: &AppName) -> Option<&'a mut Rollout> {
        if *app == core_app::name() {
            return None;
        }
        match state.apps.entry(app.clone()) {
            Entry::Occupied(there) => Some(there.into_mut()),
            Entry::Vacant(free) => {
                let policy = state.policies.get(app).cloned().unwrap_or_default();
                let mut rollout = Rollout::to(self.catalog.target(app)?.version.clone());
                rollout.pace(policy.pace);
                self.observe_all(&mut rollout, app, &policy);
                Some(free.insert(rollout))
            }
        }
    }

    fn observe_all(&self, rollout: &mut Rollout, app: &AppName, policy: &Policy) {
        for tenant in self.tenants.state_filter(|tenant| uses(tenant, app.as_str())) {
            rollout.observe(&tenant.name_any(), policy.standing(&tenant, app));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wanted(&self, tenant: &str, name: &AppName, app: &TenantApp) -> Option<Version> {
        let pin = app.version.as_deref().map(Version::new);
        pin.or_else(|| self.apps.get(name)?.wanted(tenant).cloned())
    }

    fn reconsider(&mut self, tenant: &str) {
        for rollout in self.apps.values_mut() {
            rollout.reconsider(tenant);
        }
    }
}

fn choose(
    spec: &TenantSpec,
    version: impl Fn(&AppName, &TenantApp) -> Option<Version>,
) -> Result<Versions, Error> {
    spec.apps
        .iter()
        .map(|app| {
            let name = AppName::new(&app.name)?;
            let version = version(&name, app);
            Ok((name, version))
        })
        .collect()
}

fn is_at(installed: &[InstalledApp], app: &AppName, version: &Version) -> bool {
    installed.iter().any(|there| there.name == app.as_str() && there.version == version.as_str())
}

fn is_for_people(error: &Error) -> bool {
    matches!(error.class(), Class::Blocked | Class::Invalid | Class::Fatal)
}
