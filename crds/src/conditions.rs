//! Conditions in the sense of kstatus: what `kubectl wait`, Argo CD and Flux read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reason::Reason;

macro_rules! condition_types {
    ($($(#[doc = $meaning:literal])+ $name:ident on $kinds:literal,)*) => {
        /// The condition types that the operator sets.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ConditionType {
            $($(#[doc = $meaning])+ $name,)*
        }

        impl ConditionType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The type as it stands in a condition.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it says, in Markdown.
            pub(crate) const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($meaning),+),)*
                }
            }

            /// The kinds that have it.
            pub(crate) const fn kinds(self) -> &'static str {
                match self {
                    $(Self::$name => $kinds,)*
                }
            }
        }
    };
}

condition_types! {
    /// Everything declared is in place at `observedGeneration`. `Unknown` when nobody looked.
    Ready on "all",
    /// Work is under way or is tried again by itself. Present only while it is so.
    Reconciling on "all",
    /// No progress without a change by someone. Present only while it is so.
    Stalled on "all",
    /// The app definitions are resolved and the versions to install are known.
    AppsReady on "Tenant",
    /// Schema, roles and tables are in place.
    DatabaseReady on "Tenant",
    /// Streams and consumer groups are in place.
    StreamsReady on "Tenant",
    /// Search indexes and their settings are in place.
    SearchReady on "Tenant",
    /// Credentials for direct access are in place. Only when `spec.access` has some.
    AccessReady on "Tenant",
    /// The tenant is served by a login that is a member of its role alone, since its schema can hold code. Present only while it is
    /// so.
    DedicatedConnections on "Tenant",
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It was not possible to tell.
    Unknown,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One condition that a pass found, before it meets the times of the last status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which condition.
    pub kind: ConditionType,
    /// Whether it holds.
    pub truth: Truth,
    /// Why, for machines.
    pub reason: Reason,
    /// What, why and what to do, for people. Never holds a secret.
    pub message: String,
}

impl Finding {
    /// A condition with its message.
    pub fn new(kind: ConditionType, truth: Truth, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, truth, reason, message: message.into() }
    }
}

/// Longer messages are cut here, at a character, so that an unstable tail can never keep the status changing.
const MESSAGE_MAX_BYTES: usize = 1024;

/// The conditions after a pass: exactly `findings`, in their order. `lastTransitionTime` is kept where the status did not
/// flip. A condition that nobody found any more is gone, so no stale `Stalled` outlives its cause.
pub fn settle(before: &[Condition], findings: &[Finding], generation: i64, now: &Time) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let status = finding.truth.as_str();
            let since = before
                .iter()
                .find(|old| old.type_ == finding.kind.as_str() && old.status == status)
                .map_or(now, |old| &old.last_transition_time);
            Condition {
                type_: finding.kind.as_str().to_owned(),
                status: status.to_owned(),
                reason: finding.reason.as_str().to_owned(),
                message: cut(&finding.message).to_owned(),
                observed_generation: Some(generation),
                last_transition_time: since.clone(),
            }
        })
        .collect()
}

fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_MAX_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(serde_json::json!(text)).unwrap()
    }

    fn ready(truth: Truth) -> Vec<Finding> {
        vec![Finding::new(ConditionType::Ready, truth, Reason::Succeeded, "ok")]
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let (early, late) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let first = settle(&[], &ready(Truth::True), 1, &early);
        let same = settle(&first, &ready(Truth::True), 2, &late);
        assert_eq!(same[0].last_transition_time, early);
        assert_eq!(same[0].observed_generation, Some(2));
        let flipped = settle(&same, &ready(Truth::False), 2, &late);
        assert_eq!(flipped[0].last_transition_time, late);
    }

    #[test]
    fn a_condition_nobody_found_is_dropped() {
        let now = at("2026-01-01T00:00:00Z");
        let stalled = [Finding::new(ConditionType::Stalled, Truth::True, Reason::AppNotFound, "no app")];
        let before = settle(&[], &stalled, 1, &now);
        assert!(settle(&before, &ready(Truth::True), 1, &now).iter().all(|c| c.type_ != "Stalled"));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let now = at("2026-01-01T00:00:00Z");
        let long =
            [Finding::new(ConditionType::Ready, Truth::False, Reason::InternalError, "ä".repeat(1000))];
        assert_eq!(settle(&[], &long, 1, &now)[0].message.len(), MESSAGE_MAX_BYTES);
    }
}
