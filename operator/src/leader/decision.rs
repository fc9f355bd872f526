//! What a candidate does about the Lease that it sees. Pure: the clock and the Lease are arguments.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody ever held it: make it.
    Create,
    /// It is free, ours, or its holder is silent: take it.
    Take,
    /// Someone holds it.
    Wait,
}

/// The Lease as one candidate saw it over time. Whether a holder is silent is judged by how long *we* saw it unchanged, on our
/// monotonic clock: the clocks of two machines need not agree.
#[derive(Debug, Default)]
pub(super) struct Watched {
    seen: Option<(Option<String>, Option<MicroTime>)>,
    since: Option<Instant>,
}

impl Watched {
    /// What `me` does, having read `lease` at `now`.
    pub(super) fn step(&mut self, me: &str, lease: Option<&Lease>, now: Instant) -> Step {
        let Some(spec) = lease.map(|lease| lease.spec.clone().unwrap_or_default()) else {
            return Step::Create;
        };
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let sign = (holder.clone(), spec.renew_time);
        if self.seen.as_ref() != Some(&sign) {
            self.seen = Some(sign);
            self.since = Some(now);
        }
        let duration =
            Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).max(1).unsigned_abs().into());
        let silent = self.since.is_some_and(|since| now.saturating_duration_since(since) >= duration);
        match holder {
            None => Step::Take,
            Some(holder) if holder == me || silent => Step::Take,
            Some(_) => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lease(spec: Value) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": spec})).unwrap()
    }

    fn held(renewed: &str) -> Lease {
        lease(json!({"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renewed}))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_missing_free_or_own_lease_is_had_at_once() {
        let now = Instant::now();
        assert_eq!(Watched::default().step("me", None, now), Step::Create);
        assert_eq!(Watched::default().step("me", Some(&lease(json!({}))), now), Step::Take);
        let released = lease(json!({"holderIdentity": "", "leaseDurationSeconds": 1}));
        assert_eq!(Watched::default().step("me", Some(&released), now), Step::Take);
        assert_eq!(
            Watched::default().step("other", Some(&held("2026-01-01T00:00:00.000000Z")), now),
            Step::Take
        );
    }

    #[test]
    fn a_holder_is_replaced_only_after_we_saw_it_silent_for_the_whole_duration() {
        let start = Instant::now();
        let mut watched = Watched::default();
        // Its clock may say that it expired years ago: that is no sign.
        let old = held("2001-01-01T00:00:00.000000Z");
        assert_eq!(watched.step("me", Some(&old), start), Step::Wait);
        assert_eq!(watched.step("me", Some(&old), start + 14 * SECOND), Step::Wait);
        let renewed = held("2001-01-01T00:00:05.000000Z");
        assert_eq!(watched.step("me", Some(&renewed), start + 15 * SECOND), Step::Wait);
        assert_eq!(watched.step("me", Some(&renewed), start + 29 * SECOND), Step::Wait);
        assert_eq!(watched.step("me", Some(&renewed), start + 30 * SECOND), Step::Take);
    }
}
