//! Second factors: an authenticator for each user, and recovery codes for the day it is lost.

use uuid::Uuid;

use super::{
    super::{
        secret::{Purpose, SecretKey},
        sql::{array, bound, statement},
        totp,
    },
    control::{Actor, FACTOR, Places, taken_along},
};
use crate::{
    error::ApiError,
    postgres::{Bound, Row},
};

/// Recovery codes of a user.
const RECOVERY_CODES: usize = 10;

statement!(
    OF_USER,
    "SELECT 'factor', nonce::text, last_step, id::text, confirmed_at IS NOT NULL, cardinality(recovery) \
     FROM tenantry.auth_factor WHERE role = current_user AND id = $1::uuid AND removed_at IS NULL"
);
// One that is confirmed is never replaced: whoever has it, has to take it away first.
statement!(
    ENROL,
    "INSERT INTO tenantry.auth_factor AS f (id, nonce) VALUES ($1::uuid, $2::uuid) \
     ON CONFLICT (role, id) DO UPDATE SET nonce = excluded.nonce, last_step = 0, created_at = now(), removed_at = NULL \
     WHERE f.confirmed_at IS NULL RETURNING id"
);
statement!(
    CONFIRM,
    "WITH factor AS (UPDATE tenantry.auth_factor SET confirmed_at = now(), last_step = $5::bigint, recovery = $6::text[] \
     WHERE role = current_user AND id = $4::uuid AND confirmed_at IS NULL AND removed_at IS NULL \
        AND last_step < $5::bigint RETURNING id), ",
    FACTOR,
    taken_along(Places { session: "$7::uuid", told: "$8::boolean", ..WRITER }).as_str(),
    " SELECT id FROM factor"
);
statement!(
    USE_STEP,
    "UPDATE tenantry.auth_factor SET last_step = $2::bigint \
     WHERE role = current_user AND id = $1::uuid AND removed_at IS NULL AND last_step < $2::bigint RETURNING id"
);
statement!(
    USE_RECOVERY,
    "UPDATE tenantry.auth_factor SET recovery = (SELECT coalesce(array_agg(r), '{}') FROM unnest(recovery) AS r \
        WHERE NOT r = ANY ($2::text[])) \
     WHERE role = current_user AND id = $1::uuid AND confirmed_at IS NOT NULL AND recovery && $2::text[] RETURNING id"
);
// The worker removes the row: a tenant's role may not.
statement!(
    REMOVE,
    "WITH removed AS (UPDATE tenantry.auth_factor n SET removed_at = now(), confirmed_at = NULL, recovery = '{}' \
        FROM tenantry.auth_factor o WHERE n.role = current_user AND n.id = $4::uuid AND n.removed_at IS NULL \
        AND o.role = n.role AND o.id = n.id RETURNING n.id, o.confirmed_at IS NOT NULL AS counted), \
     factor AS (SELECT id FROM removed WHERE counted), ",
    FACTOR,
    taken_along(Places { session: "$5::uuid", told: "$6::boolean", ..WRITER }).as_str(),
    " SELECT id FROM removed"
);

/// Who writes, for what goes with a change.
const WRITER: Places<'static> =
    Places { actor: "$1::text", request: "$2::text", client: "$3::text", session: "NULL", told: "false" };

/// By whom and how an authenticator is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    pub user: Uuid,
    pub actor: Actor<'a>,
    /// The session that goes on.
    pub session: Option<Uuid>,
    /// Whether the user is told.
    pub told: bool,
}

/// A user's authenticator.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    pub user: Uuid,
    nonce: Uuid,
    last_step: u64,
    pub confirmed: bool,
    pub recovery_left: u32,
}

impl Factor {
    pub(super) fn read(row: &Row) -> Option<Self> {
        Some(Self {
            confirmed: row.text(4) != Some("f"),
            recovery_left: row.text(5).and_then(|n| n.parse().ok()).unwrap_or_default(),
            ..Self::at(row, 1)?
        })
    }

    /// A confirmed one, if there is one, whose nonce, last step and user stand from `column` on.
    ///
    /// # Errors
    /// When it cannot be read. An account whose authenticator is not understood is not one without.
    pub(super) fn beside(row: &Row, column: usize) -> Result<Option<Self>, ApiError> {
        if row.text(column).is_none() {
            return Ok(None);
        }
        Self::at(row, column).map(Some).ok_or_else(|| ApiError::internal("an authenticator cannot be read"))
    }

    fn at(row: &Row, column: usize) -> Option<Self> {
        Some(Self {
            nonce: row.text(column)?.parse().ok()?,
            last_step: row.text(column + 1)?.parse().ok()?,
            user: row.text(column + 2)?.parse().ok()?,
            confirmed: true,
            recovery_left: 0,
        })
    }

    /// How `code` may be used up, if it is one of the authenticator's at this moment, or has the form of a recovery code.
    pub(super) fn uses(&self, key: &SecretKey, tenant: Uuid, code: &str, now: u64) -> Option<Bound> {
        let secrets = secrets(key, tenant, self.user, self.nonce);
        let step = secrets.iter().find_map(|secret| totp::matching_step(secret, code, now, self.last_step));
        if let Some(step) = step {
            return Some(bound(&USE_STEP, &[Some(&self.user.to_string()), Some(&step.to_string())]));
        }
        let code = normalized(code)?;
        let digests: Vec<String> = key
            .candidates(Purpose::Recovery, &[tenant.as_bytes(), self.user.as_bytes(), code.as_bytes()])
            .iter()
            .map(hex)
            .collect();
        let digests = array(digests.iter().map(String::as_str));
        Some(bound(&USE_RECOVERY, &[Some(&self.user.to_string()), Some(&digests)]))
    }

    /// The step whose code `code` is.
    pub(super) fn step(&self, key: &SecretKey, tenant: Uuid, code: &str, now: u64) -> Option<u64> {
        let secrets = secrets(key, tenant, self.user, self.nonce);
        secrets.iter().find_map(|secret| totp::matching_step(secret, code, now, self.last_step))
    }
}

/// The secrets that the authenticator may have: of the key in use, and of the one before it.
fn secrets(key: &SecretKey, tenant: Uuid, user: Uuid, nonce: Uuid) -> Vec<Vec<u8>> {
    let parts: [&[u8]; 3] = [tenant.as_bytes(), user.as_bytes(), nonce.as_bytes()];
    let all = key.candidates(Purpose::Authenticator, &parts);
    all.into_iter().map(|secret| secret[..totp::SECRET_BYTES].to_vec()).collect()
}

/// The secret of a new authenticator, in base32.
pub(super) fn secret(key: &SecretKey, tenant: Uuid, user: Uuid, nonce: Uuid) -> String {
    let secret = key.derive(Purpose::Authenticator, &[tenant.as_bytes(), user.as_bytes(), nonce.as_bytes()]);
    totp::base32(&secret[..totp::SECRET_BYTES])
}

/// New recovery codes, and what is stored of them.
pub(super) fn recovery_codes(key: &SecretKey, tenant: Uuid, user: Uuid) -> (Vec<String>, Vec<String>) {
    let code = |_| {
        let random: [u8; 10] = rand::random();
        let text = totp::base32(&random).to_lowercase();
        let (first, second) = text.split_at(8);
        format!("{first}-{second}")
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(code).collect();
    let digests = codes
        .iter()
        .filter_map(|code| normalized(code))
        .map(|code| {
            hex(&key.derive(Purpose::Recovery, &[tenant.as_bytes(), user.as_bytes(), code.as_bytes()]))
        })
        .collect();
    (codes, digests)
}

/// A recovery code without what people add to it; nothing for what has not the form of one.
fn normalized(code: &str) -> Option<String> {
    let code: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    (code.len() == 16).then_some(code)
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn of_user(user: Uuid) -> Bound {
    bound(&OF_USER, &[Some(&user.to_string())])
}

pub(super) fn enrol(user: Uuid, nonce: Uuid) -> Bound {
    bound(&ENROL, &[Some(&user.to_string()), Some(&nonce.to_string())])
}

pub(super) fn confirm(step: u64, digests: &[String], change: Change<'_>) -> Bound {
    let Change { user, actor, session, told } = change;
    let digests = array(digests.iter().map(String::as_str));
    let (user, step) = (user.to_string(), step.to_string());
    let session = session.map(|session| session.to_string());
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(user.as_str()),
        Some(&step),
        Some(&digests),
        session.as_deref(),
        Some(if told { "t" } else { "f" }),
    ];
    bound(&CONFIRM, &values)
}

/// Takes the authenticator away; yields a row if there was one.
pub(super) fn remove(change: Change<'_>) -> Bound {
    let Change { user, actor, session, told } = change;
    let (user, session) = (user.to_string(), session.map(|session| session.to_string()));
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(user.as_str()),
        session.as_deref(),
        Some(if told { "t" } else { "f" }),
    ];
    bound(&REMOVE, &values)
}
