//! What the driver needs to know about a kind.

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, core::ClusterResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use tenantry_crds::{
    conditions::{ConditionType, Finding, Truth},
    reason::Reason,
};

use super::lane::Lane;
use crate::{context::Context, error::Error};

/// A kind that the driver reconciles. Implementations hold no state and write no status: what they find goes into the
/// [`Pass`], and the driver saves it on every outcome, errors, deadlines and panics included.
pub trait Kind:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The name of the controller in metrics and logs.
    const NAME: &'static str;

    /// Put on the object before [`Self::converge`] is called the first time; [`Self::cleanup`] is called only for objects
    /// that have it.
    const FINALIZER: Option<&'static str>;

    /// The drift scan looks at objects of this kind that are Ready. So one that was Ready before this process came needs no
    /// pass to find out.
    const SCANNED: bool = false;

    /// Whether time alone can change something about it, so that it gets a pass when an operator starts.
    fn is_timed(&self) -> bool {
        false
    }

    /// `status`.
    type Status: Serialize + Clone + PartialEq + Default + Send + Sync;

    /// The status as it was last seen.
    fn status(&self) -> Option<&Self::Status>;

    /// The conditions of `status`.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// Puts what the driver alone decides into `status`.
    fn settle(status: &mut Self::Status, generation: i64, conditions: Vec<Condition>);

    /// This kind's lane.
    fn lane(ctx: &Context) -> &Lane<Self>;

    /// Brings the world to what the object says. Idempotent from any state, since the deadline can drop it at any await.
    fn converge(
        &self,
        ctx: &Context,
        pass: &mut Pass<Self::Status>,
    ) -> impl Future<Output = Result<Progress, Error>> + Send;

    /// Puts what [`Self::converge`] would do into the status of the pass, and does nothing; for objects that ask for it by
    /// annotation. Whether this kind can.
    fn preview(
        &self,
        _ctx: &Context,
        _pass: &mut Pass<Self::Status>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        async { Ok(false) }
    }

    /// Removes what [`Self::converge`] made. Idempotent from any state.
    fn cleanup(
        &self,
        ctx: &Context,
        pass: &mut Pass<Self::Status>,
    ) -> impl Future<Output = Result<Cleanup, Error>> + Send;
}

/// What one pass has found so far. It survives an error, so what is known by then still reaches the status.
#[derive(Debug)]
pub struct Pass<S> {
    /// The status to be saved; starts as the last one. Its conditions and observed generation are the driver's.
    pub status: S,
    findings: Vec<Finding>,
}

impl<S> Pass<S> {
    /// A pass that starts from the last status.
    pub fn new(status: S) -> Self {
        Self { status, findings: Vec::new() }
    }

    /// Adds a condition beside Ready, Reconciling and Stalled, as `DatabaseReady`; the last of a type wins.
    pub fn find(&mut self, finding: Finding) {
        self.findings.retain(|old| old.kind != finding.kind);
        self.findings.push(finding);
    }

    /// Nothing is to be said of `kind` after all.
    pub fn forget(&mut self, kind: ConditionType) {
        self.findings.retain(|old| old.kind != kind);
    }

    /// `kind` holds.
    pub fn holds(&mut self, kind: ConditionType, reason: Reason, message: impl Into<String>) {
        self.find(Finding::new(kind, Truth::True, reason, message));
    }

    /// `kind` does not hold, for the reason of `error`. Gives the error back, for `map_err(|e| pass.fails(kind, e))`.
    pub fn fails(&mut self, kind: ConditionType, error: Error) -> Error {
        self.find(Finding::new(kind, Truth::False, error.reason(), error.to_string()));
        error
    }

    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// How far [`Kind::converge`] came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Everything declared is in place. The text is the message of Ready.
    Ready(String),
    /// The same, and time alone changes something after this: look again by then.
    ReadyFor(String, Duration),
    /// Work goes on elsewhere, as a search task: look again after `after`, or when the object is woken.
    Pending {
        /// What is waited for.
        reason: Reason,
        /// The same for people.
        message: String,
        /// When to look again.
        after: Duration,
    },
}

/// How far [`Kind::cleanup`] came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing is left: the finalizer goes.
    Done,
    /// Something must go first.
    Waiting {
        /// What is waited for.
        reason: Reason,
        /// The same for people.
        message: String,
        /// When to look again.
        after: Duration,
    },
}
