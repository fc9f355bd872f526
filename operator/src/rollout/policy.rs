//! What an App says about its rollouts, and what that means for a tenant. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt;
use tenantry_crds::{
    conditions::ConditionType,
    labels::PAUSED_ANNOTATION,
    names::AppName,
    v1alpha1::{RolloutSpec, Tenant},
};

use super::member::Standing;
use crate::tenant::asks_for_plan;

/// `spec.rollout` of an App.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Policy {
    /// How fast.
    pub pace: Pace,
    /// The labels of the tenants that go first; without any, everybody is in the waves.
    canary: Option<BTreeMap<String, String>>,
}

/// How fast a rollout may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Tenants that change at the same time.
    pub max_parallel: usize,
    /// One failure stops the admission of others.
    pub pause_on_failure: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { max_parallel: 20, pause_on_failure: true }
    }
}

impl Policy {
    pub(super) fn of(spec: Option<&RolloutSpec>) -> Self {
        let Some(spec) = spec else { return Self::default() };
        Self {
            pace: Pace {
                max_parallel: usize::try_from(spec.max_parallel).unwrap_or(usize::MAX).max(1),
                pause_on_failure: spec.pause_on_failure,
            },
            canary: spec.canary.as_ref().map(|canary| canary.match_labels.clone()),
        }
    }

    /// What `tenant` says about `app`; `None` when it does not list it.
    pub(super) fn standing(&self, tenant: &Tenant, app: &AppName) -> Option<Standing> {
        let listed = tenant.spec.apps.iter().find(|listed| listed.name == app.as_str())?;
        let has = |(key, value): (&String, &String)| tenant.labels().get(key) == Some(value);
        let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
        Some(Standing {
            canary: self.canary.as_ref().is_some_and(|labels| labels.iter().all(has)),
            aside: listed.version.is_some()
                || tenant.metadata.deletion_timestamp.is_some()
                || tenant.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| value == "true")
                || asks_for_plan(tenant),
            stalled: conditions
                .into_iter()
                .any(|found| found.type_ == ConditionType::Stalled.as_str() && found.status == "True"),
        })
    }
}
