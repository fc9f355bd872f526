//! What the end of a pass means: for the conditions, for the next pass, for metrics and Events.

use std::time::Duration;

use tenantry_crds::{
    conditions::{ConditionType, Finding, Truth},
    reason::Reason,
};

use super::kind::{Cleanup, Progress};
use crate::{
    error::{Class, Error},
    metrics::Outcome,
};

/// How a pass ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The object is paused; nothing was looked at.
    Paused,
    /// What would be done is in the status; nothing was done.
    Planned {
        /// The object was converged before, so its conditions speak of something.
        standing: bool,
    },
    /// It was converged.
    Converged(Progress),
    /// It was cleaned up as far as possible.
    Cleaned(Cleanup),
}

/// When the next pass comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// After the resync time.
    Resync,
    /// After about this time.
    After(Duration),
    /// After the resync time, or just after this one if that is sooner.
    By(Duration),
    /// With backoff.
    Retry,
    /// Slowly, since only a change helps.
    Blocked,
    /// At once.
    Conflict,
}

/// What the end of a pass means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Ready, and Reconciling or Stalled, never both: kstatus takes whichever it meets first.
    pub summary: Vec<Finding>,
    /// When to come back.
    pub next: Next,
    /// The metric label.
    pub result: &'static str,
    /// Whether the pass counts as failed for backoff and Events.
    pub failed: bool,
}

impl Verdict {
    /// The verdict on the end of a pass.
    pub(super) fn of(end: &Result<Ended, Error>) -> Self {
        match end {
            Ok(Ended::Paused) => Self {
                summary: vec![Finding::new(
                    ConditionType::Ready,
                    Truth::Unknown,
                    Reason::Paused,
                    "paused by the annotation tenantry.dev/paused; nothing is looked at or changed",
                )],
                next: Next::Resync,
                result: "paused",
                failed: false,
            },
            Ok(Ended::Planned { .. }) => Self {
                summary: vec![Finding::new(
                    ConditionType::Ready,
                    Truth::Unknown,
                    Reason::PlanOnly,
                    "planned by the annotation tenantry.dev/plan; status.plan says what would be changed, and nothing is",
                )],
                next: Next::Resync,
                result: "planned",
                failed: false,
            },
            Ok(Ended::Converged(Progress::Ready(message))) => Self::ready(message, Next::Resync),
            Ok(Ended::Converged(Progress::ReadyFor(message, time))) => Self::ready(message, Next::By(*time)),
            Ok(Ended::Converged(Progress::Pending { reason, message, after })) => {
                Self::pending(*reason, *reason, message, *after)
            }
            Ok(Ended::Cleaned(Cleanup::Waiting { reason, message, after })) => {
                Self::pending(*reason, Reason::Deleting, message, *after)
            }
            Ok(Ended::Cleaned(Cleanup::Done)) => {
                Self { summary: Vec::new(), next: Next::Resync, result: "deleted", failed: false }
            }
            Err(error) => Self::failed(error),
        }
    }

    /// The same as controller-runtime would say it.
    pub(super) fn outcome(&self) -> Outcome {
        match self.result {
            _ if self.failed => Outcome::Error,
            "pending" => Outcome::RequeueAfter,
            _ => Outcome::Success,
        }
    }

    fn ready(message: &str, next: Next) -> Self {
        Self {
            summary: vec![Finding::new(ConditionType::Ready, Truth::True, Reason::Succeeded, message)],
            next,
            result: "success",
            failed: false,
        }
    }

    fn pending(ready: Reason, progress: Reason, message: &str, after: Duration) -> Self {
        Self {
            summary: vec![
                Finding::new(ConditionType::Ready, Truth::False, ready, message),
                Finding::new(ConditionType::Reconciling, Truth::True, progress, message),
            ],
            next: Next::After(after),
            result: "pending",
            failed: false,
        }
    }

    fn failed(error: &Error) -> Self {
        let (class, reason, message) = (error.class(), error.reason(), error.to_string());
        let (abnormal, abnormal_reason, next) = match class {
            Class::Transient => (ConditionType::Reconciling, Reason::ProgressingWithRetry, Next::Retry),
            Class::Conflict => (ConditionType::Reconciling, Reason::ProgressingWithRetry, Next::Conflict),
            Class::Blocked | Class::Invalid => (ConditionType::Stalled, reason, Next::Blocked),
            Class::Fatal => (ConditionType::Stalled, reason, Next::Retry),
        };
        Self {
            summary: vec![
                Finding::new(ConditionType::Ready, Truth::False, reason, &message),
                Finding::new(abnormal, Truth::True, abnormal_reason, &message),
            ],
            next,
            result: class.as_str(),
            failed: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(verdict: &Verdict) -> Vec<(&str, Truth, Reason)> {
        verdict.summary.iter().map(|f| (f.kind.as_str(), f.truth, f.reason)).collect()
    }

    #[test]
    fn success_is_ready_alone() {
        let verdict = Verdict::of(&Ok(Ended::Converged(Progress::Ready("ok".into()))));
        assert_eq!(types(&verdict), [("Ready", Truth::True, Reason::Succeeded)]);
        assert_eq!(verdict.next, Next::Resync);
    }

    #[test]
    fn a_person_is_called_with_stalled_and_time_with_reconciling() {
        let blocked = Verdict::of(&Err(Error::blocked(Reason::AppNotFound, "no app")));
        assert_eq!(
            types(&blocked),
            [("Ready", Truth::False, Reason::AppNotFound), ("Stalled", Truth::True, Reason::AppNotFound)]
        );
        let transient = Verdict::of(&Err(Error::Deadline { limit: Duration::from_secs(1) }));
        assert_eq!(
            types(&transient),
            [
                ("Ready", Truth::False, Reason::ProgressingWithRetry),
                ("Reconciling", Truth::True, Reason::ProgressingWithRetry)
            ]
        );
        assert_eq!((blocked.next, transient.next), (Next::Blocked, Next::Retry));
        assert_eq!(Verdict::of(&Err(Error::Panicked)).summary[1].kind, ConditionType::Stalled);
    }

    #[test]
    fn a_deletion_that_waits_says_so() {
        let waiting = Cleanup::Waiting {
            reason: Reason::DependentsExist,
            message: "2 tenants".into(),
            after: Duration::from_secs(1),
        };
        let verdict = Verdict::of(&Ok(Ended::Cleaned(waiting)));
        assert_eq!(
            types(&verdict),
            [
                ("Ready", Truth::False, Reason::DependentsExist),
                ("Reconciling", Truth::True, Reason::Deleting)
            ]
        );
        assert!(!verdict.failed);
    }
}
