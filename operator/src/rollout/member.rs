//! A tenant as the rollouts of one app see it.

use tenantry_crds::reason::Reason;
use tenantry_migrations::logins::LoginShard;

use crate::catalog::Version;

/// What the Tenant object says about an app that it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// It matches the canary selector.
    pub canary: bool,
    /// It keeps its version whatever is published: a pin, an annotation (`tenantry.dev/paused`, `tenantry.dev/plan`), or it is
    /// being deleted.
    pub aside: bool,
    /// Something else about it has to be solved by a person, so it goes last.
    pub stalled: bool,
}

/// Why a tenant did not reach a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The version that it did not reach.
    pub version: Version,
    /// The reason, as in the conditions of the tenant.
    pub reason: String,
    /// The same for people.
    pub message: String,
}

impl Failure {
    /// At `version`, with the reason and message of the tenant's condition.
    pub fn new(version: Version, reason: Reason, message: impl Into<String>) -> Self {
        Self { version, reason: reason.to_string(), message: message.into() }
    }
}

/// Whether a tenant goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    Canary,
    Rest,
}

/// Where a tenant is on its way to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// It has no part in the rollout.
    Aside,
    /// Its turn comes.
    Queued,
    /// Its turn came, but another of its apps has to go first.
    Waiting,
    /// It is told to change, and has neither done so nor failed.
    InFlight,
    /// It did not reach the target, and a person has to look.
    Failed,
    /// It is at the target.
    Done,
}

/// What is known of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Member {
    /// The version that the registry has; `None` before the first one is installed.
    pub version: Option<Version>,
    /// The last failure that the registry has.
    pub failure: Option<Failure>,
    /// `None` while the tenant does not list the app.
    pub standing: Option<Standing>,
    /// Where its roles are; `None` before they are anywhere.
    pub shard: Option<LoginShard>,
    /// It was told to change.
    pub admitted: bool,
    /// Its turn came when another of its apps had to go first.
    pub waits: bool,
}

impl Member {
    pub(super) fn ring(&self) -> Ring {
        if self.standing.is_some_and(|standing| standing.canary) { Ring::Canary } else { Ring::Rest }
    }

    pub(super) fn place(&self, target: &Version) -> Place {
        let (Some(version), Some(standing)) = (&self.version, self.standing) else { return Place::Aside };
        if standing.aside {
            Place::Aside
        } else if self.failed_at(target) {
            Place::Failed
        } else if version == target {
            Place::Done
        } else if self.admitted {
            Place::InFlight
        } else if self.waits {
            Place::Waiting
        } else {
            Place::Queued
        }
    }

    /// The version that a pass over the tenant aims at; `None` for a tenant that is new to the app.
    pub(super) fn wanted<'a>(&'a self, target: &'a Version) -> Option<&'a Version> {
        match self.place(target) {
            Place::InFlight | Place::Failed => Some(target),
            _ => self.version.as_ref(),
        }
    }

    pub(super) fn failed_at(&self, target: &Version) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.version == *target)
    }

    /// Nothing is known that would be missed.
    pub(super) fn is_unknown(&self) -> bool {
        self.version.is_none() && self.standing.is_none()
    }
}
