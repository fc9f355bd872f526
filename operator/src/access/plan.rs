//! What happens to credentials next: the registry's row, the Secret, the clock and the manifest decide. Pure.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use tenantry_crds::v1alpha1::AccessBackend;

use super::desired::Credential;
use crate::backend::postgres::access::{AccessRecord, Issued};

/// Whether the password in a Secret is the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// There is no Secret, or its user or password is not what the registry expects.
    Nothing,
    /// The Secret holds the password whose digest the registry has.
    Expected,
}

/// What happens to the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// It stays.
    Keep,
    /// A new one is made.
    Make {
        /// For the credentials with this serial.
        serial: i64,
        /// Whether the serial is new, too.
        state: Issued,
        /// The annotation that is acted on with this.
        handled_rotate: Option<String>,
    },
}

/// What happens to the password of `wanted`. `rotate` is the annotation.
///
/// While the credentials before these still work there is no login for a next one, so a rotation that is asked for in that
/// time comes at its end.
pub fn password(
    wanted: &Credential,
    row: Option<&AccessRecord>,
    held: Held,
    rotate: Option<&str>,
    now: &Time,
) -> Password {
    let asked = rotate.map(str::to_owned);
    let Some(row) = row else {
        return Password::Make { serial: 1, state: Issued::New, handled_rotate: asked };
    };
    let again =
        |state| Password::Make { serial: row.serial, state, handled_rotate: row.handled_rotate.clone() };
    if row.state == Issued::Applied
        && row.previous_until.is_none()
        && rotation_is_due(wanted, row, rotate, now)
    {
        let handled_rotate = asked.or_else(|| row.handled_rotate.clone());
        return Password::Make { serial: row.serial + 1, state: Issued::New, handled_rotate };
    }
    match (held, row.state) {
        (Held::Expected, _) => Password::Keep,
        (Held::Nothing, Issued::New) => again(Issued::New),
        (Held::Nothing, Issued::Renewed | Issued::Applied) => again(Issued::Renewed),
    }
}

fn rotation_is_due(wanted: &Credential, row: &AccessRecord, rotate: Option<&str>, now: &Time) -> bool {
    let asked = rotate.is_some_and(|value| row.handled_rotate.as_deref() != Some(value));
    asked || next_rotation(wanted, row).is_some_and(|due| due.0 <= now.0)
}

/// When the next rotation is due.
pub fn next_rotation(wanted: &Credential, row: &AccessRecord) -> Option<Time> {
    Some(later(&row.rotated_at, wanted.every?))
}

/// Whether the credentials before these end now: they have had their time, or allow what is not allowed any more. A login of
/// Postgres has its rights from the role that both have; a user or a key has its own.
pub fn previous_ends(wanted: &Credential, row: &AccessRecord, now: &Time) -> bool {
    let outdated = row.level != wanted.level && wanted.key.backend != AccessBackend::Postgres;
    row.previous_until.as_ref().is_some_and(|until| outdated || until.0 <= now.0)
}

/// A Redis that started anew has forgotten its users, and nothing tells.
const REDIS_LOOK: Duration = Duration::from_secs(300);

/// How long nothing is due.
pub fn quiet(wanted: &Credential, row: &AccessRecord, now: &Time) -> Option<Duration> {
    // No rotation comes while the credentials before these still work.
    let due = row.previous_until.clone().or_else(|| next_rotation(wanted, row));
    let due = due.map(|due| Duration::try_from(due.0 - now.0).unwrap_or_default());
    let look = (wanted.key.backend == AccessBackend::Redis).then_some(REDIS_LOOK);
    due.into_iter().chain(look).min()
}

/// `wait` after `time`.
pub fn later(time: &Time, wait: Duration) -> Time {
    Time(time.0.checked_add(wait).unwrap_or(Timestamp::MAX))
}
