//! The rollout of one app as a state machine. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tenantry_crds::v1alpha1::RolloutStage;
use tenantry_migrations::logins::LoginShard;

use super::{
    member::{Failure, Member, Place, Ring, Standing},
    policy::Pace,
    progress::Progress,
};
use crate::catalog::Version;

/// The order within a ring: who is Stalled already goes last, so that it holds up nobody else. Else shard by shard: tenants of
/// one share the connections of a provisioner, and a fleet in another order opens one for each tenant.
type Rank = (bool, Option<LoginShard>, Arc<str>);

/// The rollout of one app. Every tenant is in one place; an event moves it, and [`Rollout::next`] admits more.
#[derive(Debug)]
pub(super) struct Rollout {
    target: Version,
    pace: Pace,
    members: BTreeMap<Arc<str>, Member>,
    places: BTreeMap<(Ring, Place), BTreeSet<Rank>>,
}

impl Rollout {
    pub(super) fn to(target: Version) -> Self {
        Self { target, pace: Pace::default(), members: BTreeMap::new(), places: BTreeMap::new() }
    }

    pub(super) const fn target(&self) -> &Version {
        &self.target
    }

    pub(super) const fn pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Another version is to be reached. What failed on the way to the one before says nothing about it. The tenants that
    /// were failing are given back: they may go back to what they have.
    pub(super) fn retarget(&mut self, target: Version) -> Vec<Arc<str>> {
        if target == self.target {
            return Vec::new();
        }
        let left = self.names(Place::Failed).chain(self.names(Place::InFlight)).cloned().collect();
        self.target = target;
        self.places.clear();
        for (name, member) in &mut self.members {
            (member.admitted, member.waits, member.failure) = (false, false, None);
            let rank = rank(name, member);
            self.places.entry((member.ring(), member.place(&self.target))).or_default().insert(rank);
        }
        left
    }

    /// What the Tenant object says now; `None` when it does not list the app.
    pub(super) fn observe(&mut self, tenant: &str, standing: Option<Standing>) {
        if standing.is_some() || self.members.contains_key(tenant) {
            self.change(tenant, |member| {
                member.standing = standing;
                // Whoever steps aside and comes back queues again.
                member.admitted &= standing.is_some_and(|standing| !standing.aside);
            });
        }
    }

    /// What the registry has of a tenant; whether that moved it.
    pub(super) fn learn(&mut self, tenant: &str, version: Option<Version>) -> bool {
        if version.is_none() && !self.members.contains_key(tenant) {
            return false;
        }
        self.change(tenant, |member| {
            if version.is_none() {
                member.failure = None;
            }
            member.version = version;
        })
    }

    /// The tenant is in this shard.
    pub(super) fn bound(&mut self, tenant: &str, shard: LoginShard) {
        if self.members.get(tenant).is_some_and(|member| member.shard != Some(shard)) {
            self.change(tenant, |member| member.shard = Some(shard));
        }
    }

    /// A pass reached `version`; whether that moved the tenant.
    pub(super) fn reached(&mut self, tenant: &str, version: Version) -> bool {
        // Admitted while a pass to its old version was under way: the one that its admission asked for comes yet.
        let arrived = version == self.target;
        self.change(tenant, |member| {
            (member.version, member.failure) = (Some(version), None);
            member.admitted &= !arrived;
            member.waits = false;
        })
    }

    /// A pass failed in a way that a person has to solve.
    pub(super) fn failed(&mut self, tenant: &str, failure: Failure) {
        self.change(tenant, |member| (member.failure, member.admitted) = (Some(failure), false));
    }

    /// Another app of the tenant moved, so its turn may come now.
    pub(super) fn reconsider(&mut self, tenant: &str) {
        if self.members.get(tenant).is_some_and(|member| member.waits) {
            self.change(tenant, |member| member.waits = false);
        }
    }

    /// The tenants whose turn came when another of their apps had to go first.
    pub(super) fn waiting(&self) -> Vec<Arc<str>> {
        self.names(Place::Waiting).cloned().collect()
    }

    /// Admits all that may go now, in order, and gives them back. `may` says whether the other apps of a tenant allow it.
    pub(super) fn next(&mut self, mut may: impl FnMut(&str) -> bool) -> Vec<Arc<str>> {
        let mut admitted = Vec::new();
        while let Some(name) = self.candidate() {
            let goes = may(&name);
            self.change(&name, |member| (member.admitted, member.waits) = (goes, !goes));
            if goes {
                admitted.push(name);
            }
        }
        admitted
    }

    /// The version that a pass over `tenant` aims at; `None` when it is new to the app.
    pub(super) fn wanted(&self, tenant: &str) -> Option<&Version> {
        self.members.get(tenant)?.wanted(&self.target)
    }

    /// Whether the failure of a pass to `version` is one of this rollout: the tenant was told to change, or has failed before.
    pub(super) fn is_moving_to(&self, tenant: &str, version: &Version) -> bool {
        let place = self.members.get(tenant).map(|member| member.place(&self.target));
        *version == self.target && matches!(place, Some(Place::InFlight | Place::Failed))
    }

    pub(super) fn has_version(&self, tenant: &str) -> bool {
        self.members.get(tenant).is_some_and(|member| member.version.is_some())
    }

    pub(super) fn has_failed(&self, tenant: &str) -> bool {
        self.members.get(tenant).is_some_and(|member| member.failure.is_some())
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let count = |place| self.count(place);
        let done = count(Place::Done);
        let aside = self.members.values().filter(|member| {
            member.version.is_some() && member.standing.is_some_and(|standing| standing.aside)
        });
        Progress {
            version: self.target.clone(),
            stage: self.stage(),
            updated: done,
            total: done
                + [Place::Queued, Place::Waiting, Place::InFlight, Place::Failed]
                    .map(count)
                    .iter()
                    .sum::<usize>(),
            in_flight: count(Place::InFlight),
            waiting: count(Place::Waiting),
            aside: aside.count(),
            failed: self
                .names(Place::Failed)
                .filter_map(|name| Some((name.to_string(), self.members.get(name)?.failure.clone()?)))
                .collect(),
        }
    }

    fn stage(&self) -> RolloutStage {
        let any = |place| self.count(place) > 0;
        let failed = any(Place::Failed);
        let moving = any(Place::InFlight) || any(Place::Waiting) || self.candidate().is_some();
        if failed && (self.pace.pause_on_failure || !moving) {
            RolloutStage::Paused
        } else if self.has_open(Ring::Canary) {
            RolloutStage::Canary
        } else if self.has_open(Ring::Rest) {
            RolloutStage::Waves
        } else {
            RolloutStage::Complete
        }
    }

    fn candidate(&self) -> Option<Arc<str>> {
        if self.pace.pause_on_failure && self.count(Place::Failed) > 0 {
            return None;
        }
        if self.count(Place::InFlight) >= self.pace.max_parallel {
            return None;
        }
        let ring = if self.has_open(Ring::Canary) { Ring::Canary } else { Ring::Rest };
        self.places.get(&(ring, Place::Queued))?.first().map(|(.., name)| name.clone())
    }

    /// Whether a tenant of `ring` is not where it should be.
    fn has_open(&self, ring: Ring) -> bool {
        [Place::Queued, Place::Waiting, Place::InFlight, Place::Failed]
            .iter()
            .any(|place| self.places.get(&(ring, *place)).is_some_and(|names| !names.is_empty()))
    }

    fn count(&self, place: Place) -> usize {
        let rings = [Ring::Canary, Ring::Rest].into_iter();
        rings.filter_map(|ring| self.places.get(&(ring, place))).map(BTreeSet::len).sum()
    }

    fn names(&self, place: Place) -> impl Iterator<Item = &Arc<str>> {
        [Ring::Canary, Ring::Rest]
            .into_iter()
            .filter_map(move |ring| self.places.get(&(ring, place)))
            .flatten()
            .map(|(.., name)| name)
    }

    /// The only way in which a member changes: its place follows. Whether it is another one.
    fn change(&mut self, tenant: &str, change: impl FnOnce(&mut Member)) -> bool {
        let (name, mut member) =
            self.members.remove_entry(tenant).unwrap_or_else(|| (tenant.into(), Member::default()));
        let before = (member.ring(), member.place(&self.target));
        if let Some(names) = self.places.get_mut(&before) {
            names.remove(&rank(&name, &member));
        }
        change(&mut member);
        let after = (member.ring(), member.place(&self.target));
        if !member.is_unknown() {
            self.places.entry(after).or_default().insert(rank(&name, &member));
            self.members.insert(name, member);
        }
        before != after
    }
}

fn rank(name: &Arc<str>, member: &Member) -> Rank {
    (member.standing.is_some_and(|standing| standing.stalled), member.shard, name.clone())
}
