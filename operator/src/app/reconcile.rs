//! The App reconcile.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tenantry_crds::{
    definition::AppDefinition,
    labels::APP_FINALIZER,
    names::AppName,
    reason::Reason,
    v1alpha1::{App, AppStatus},
};

use super::{
    checks::{builds_on, cycle, not_supported},
    publish::{self, Publication, changed, publication},
    status, target,
};
use crate::{
    catalog::{PublishedApp, Version},
    context::Context,
    driver::{Cleanup, Kind, Lane, Pass, Progress},
    error::{Class, Error},
    rollout,
    tenant::asks_for_plan,
};

/// A tenant that goes wakes the App, so this only bounds what a lost wake costs.
const DEPENDENTS_RECHECK: Duration = Duration::from_secs(60);

/// Names in a message; the rest is a number.
const SAMPLE: usize = 5;

impl Kind for App {
    const NAME: &'static str = "app";
    const FINALIZER: Option<&'static str> = Some(APP_FINALIZER);
    type Status = AppStatus;

    fn status(&self) -> Option<&AppStatus> {
        self.status.as_ref()
    }

    fn conditions(status: &AppStatus) -> &[Condition] {
        &status.conditions
    }

    fn settle(status: &mut AppStatus, generation: i64, conditions: Vec<Condition>) {
        status.observed_generation = Some(generation);
        status.conditions = conditions;
    }

    fn lane(ctx: &Context) -> &Lane<Self> {
        &ctx.lanes.apps
    }

    async fn converge(&self, ctx: &Context, pass: &mut Pass<AppStatus>) -> Result<Progress, Error> {
        let name = AppName::new(&self.name_any())?;
        pass.status.not_supported = not_supported(&self.spec);
        pass.status.tenants = i64::try_from(ctx.tenants_of(name.as_str()).len()).ok();
        let done = ensure_published(self, &name, ctx).await;
        // Of an App that failed too: its tenants go on with what is published.
        let target = ctx.catalog.target(&name);
        pass.status.published_version = target.as_ref().map(|app| app.version.to_string());
        pass.status.published_digest = target.as_ref().map(|app| app.digest.clone());
        rollout::admit(ctx, &name);
        let rollout = ctx.rollouts.progress(&name);
        if let Some(rollout) = &rollout {
            ctx.metrics.rollouts.show(name.as_str(), rollout);
        }
        pass.status.rollout = rollout.as_ref().map(status::rollout);
        done?;
        status::progress(rollout.as_ref())
    }

    async fn cleanup(&self, ctx: &Context, pass: &mut Pass<AppStatus>) -> Result<Cleanup, Error> {
        let name = AppName::new(&self.name_any())?;
        let users: Vec<_> = ctx.tenants_of(name.as_str()).iter().map(|tenant| tenant.name_any()).collect();
        pass.status.tenants = i64::try_from(users.len()).ok();
        if !users.is_empty() {
            return Ok(Cleanup::Waiting {
                reason: Reason::DependentsExist,
                message: dependents(users),
                after: DEPENDENTS_RECHECK,
            });
        }
        for cell in ctx.backends.cells() {
            publish::withdraw(cell, &name).await?;
        }
        for app in ctx.catalog.versions(&name) {
            // What a retained tenant's tables are at stays.
            if ctx.backends.cells().all(|cell| cell.published(&name, &app.version).is_none()) {
                ctx.catalog.withdraw(&name, &app.version);
            }
        }
        ctx.rollouts.withdraw(&name);
        ctx.metrics.rollouts.forget(name.as_str());
        Ok(Cleanup::Done)
    }
}

/// Makes sure that the version of the spec is published and what tenants are to have.
async fn ensure_published(app: &App, name: &AppName, ctx: &Context) -> Result<(), Error> {
    let published = ctx.catalog.version(name, &Version::new(&app.spec.version));
    // The digest is cheap and compiling is not; most passes only count tenants.
    let aimed_at = ctx.catalog.aimed_at(name);
    match publication(published.as_deref(), aimed_at.as_ref(), &AppDefinition::digest(&app.spec)) {
        Publication::InPlace => {
            // What is acknowledged is no part of the version, so it can be wrong beside one that is published.
            if !app.spec.allow_destructive.is_empty() {
                PublishedApp::compile(name, &app.spec)?;
            }
            let Some(published) = published else { return Ok(()) };
            let mut failures = publish::publish_everywhere(&ctx.backends, &published).await?;
            failures.extend(target::spread(ctx, name).await);
            return everywhere(failures);
        }
        Publication::Changed => {
            PublishedApp::compile(name, &app.spec)?;
            return Err(changed(name, &Version::new(&app.spec.version)));
        }
        Publication::New => {}
    }
    let compiled = PublishedApp::compile(name, &app.spec)?;
    if let Some(way) = cycle(name.as_str(), &requirements(ctx)) {
        return Err(Error::blocked(
            Reason::DependencyCycle,
            format!("spec.requires: the apps require each other in a cycle: {}", way.join(" -> ")),
        ));
    }
    builds_on(&compiled, &ctx.catalog)?;
    let failures = publish::publish_everywhere(&ctx.backends, &compiled).await?;
    tracing::info!(app = %name, version = %compiled.version, "published");
    let version = compiled.version.clone();
    ctx.catalog.publish(compiled);
    target::aim(ctx, name, &version).await?;
    wake_waiting(name, &version, ctx);
    everywhere(failures)
}

/// Tenants of the other instances go on; the App says what is missing.
fn everywhere(failures: Vec<Error>) -> Result<(), Error> {
    let Some(first) = failures.into_iter().next() else { return Ok(()) };
    let message = format!("{first}; tenants of that instance get the version once it is published there");
    Err(match first.class() {
        Class::Transient => Error::waiting(first.reason(), message),
        _ => Error::blocked(first.reason(), message),
    })
}

/// Wakes who waited for this version: tenants that are new to the app, pinned to it, or ask what it would change. The others
/// follow in the rollout.
fn wake_waiting(name: &AppName, version: &Version, ctx: &Context) {
    for tenant in ctx.tenants_of(name.as_str()) {
        let pinned_to_it = tenant
            .spec
            .apps
            .iter()
            .any(|app| app.name == name.as_str() && app.version.as_deref() == Some(version.as_str()));
        if pinned_to_it || asks_for_plan(&tenant) || !ctx.rollouts.has(name, &tenant.name_any()) {
            ctx.lanes.tenants.wake(&tenant.name_any());
        }
    }
    ctx.wake_definitions_on(name.as_str());
}

fn requirements(ctx: &Context) -> BTreeMap<String, Vec<String>> {
    let apps = ctx.stores.apps.state();
    apps.iter()
        .map(|app| (app.name_any(), app.spec.requires.iter().map(|required| required.app.clone()).collect()))
        .collect()
}

pub(super) fn dependents(mut names: Vec<String>) -> String {
    names.sort();
    let count = names.len();
    names.truncate(SAMPLE);
    let more = if count > SAMPLE { ", ..." } else { "" };
    let who = if count == 1 { "1 tenant uses".to_owned() } else { format!("{count} tenants use") };
    format!("{who} the app: {}{more}; take it out of spec.apps there first", names.join(", "))
}
