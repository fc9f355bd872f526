//! Second factors: an authenticator for each user, and recovery codes for the day it is lost.

use uuid::Uuid;

use super::{
    super::{
        secret::{Purpose, SecretKey},
        sql::{array, bound, statement},
        totp,
    },
    users::Actor,
};
use crate::postgres::{Bound, Row};

/// Recovery codes of a user.
const RECOVERY_CODES: usize = 10;

statement!(
    OF_EMAIL,
    "SELECT 'factor', f.nonce::text, f.last_step, f.id::text FROM tenantry.auth_factor f \
     JOIN {schema}.core_user u ON u.id = f.id \
     WHERE f.role = current_user AND u.email = ANY ($1::text[]) AND f.confirmed_at IS NOT NULL"
);
statement!(
    OF_USER,
    "SELECT 'factor', nonce::text, last_step, id::text, confirmed_at IS NOT NULL, cardinality(recovery) \
     FROM tenantry.auth_factor WHERE role = current_user AND id = $1::uuid AND removed_at IS NULL"
);
statement!(
    OF_TOKEN,
    "SELECT 'factor', f.nonce::text, f.last_step, f.id::text FROM tenantry.auth_factor f \
     JOIN tenantry.auth_token t ON t.role = f.role AND t.user_id = f.id \
     WHERE f.role = current_user AND t.id = $1::uuid AND t.expires_at > now() AND f.confirmed_at IS NOT NULL"
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
    "UPDATE tenantry.auth_factor SET confirmed_at = now(), last_step = $2::bigint, recovery = $3::text[] \
     WHERE role = current_user AND id = $1::uuid AND confirmed_at IS NULL AND removed_at IS NULL \
        AND last_step < $2::bigint RETURNING id"
);
statement!(
    USE_STEP,
    "UPDATE tenantry.auth_factor SET last_step = $2::bigint \
     WHERE role = current_user AND id = $1::uuid AND removed_at IS NULL AND last_step < $2::bigint RETURNING id"
);
statement!(
    USE_RECOVERY,
    "WITH used AS (UPDATE tenantry.auth_factor SET recovery = (SELECT coalesce(array_agg(r), '{}') FROM unnest(recovery) AS r \
        WHERE NOT r = ANY ($2::text[])) \
     WHERE role = current_user AND id = $1::uuid AND confirmed_at IS NOT NULL AND recovery && $2::text[] RETURNING id), \
     noted AS (INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
        SELECT $3::text, 'Update', 'core', 'factor', id::text, 1, $4::text, $5::text, \
            '{\"recovery_code\": \"used\"}'::json FROM used) \
     SELECT id FROM used"
);
// The worker removes the row: a tenant's role may not.
statement!(
    REMOVE,
    "UPDATE tenantry.auth_factor SET removed_at = now(), confirmed_at = NULL, recovery = '{}' \
     WHERE role = current_user AND id = $1::uuid AND removed_at IS NULL RETURNING id"
);

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
            nonce: row.text(1)?.parse().ok()?,
            last_step: row.text(2)?.parse().ok()?,
            user: row.text(3)?.parse().ok()?,
            confirmed: row.text(4) != Some("f"),
            recovery_left: row.text(5).and_then(|n| n.parse().ok()).unwrap_or_default(),
        })
    }

    /// How `code` may be used up, if it is one of the authenticator's at this moment, or has the form of a recovery code.
    pub(super) fn uses(
        &self,
        (key, tenant): (&SecretKey, Uuid),
        code: &str,
        now: u64,
        actor: Actor<'_>,
    ) -> Option<Bound> {
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
        let user = self.user.to_string();
        let values =
            [Some(user.as_str()), Some(&digests), Some(actor.user), Some(actor.request), actor.client];
        Some(bound(&USE_RECOVERY, &values))
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

pub(super) fn of_email(addresses: &str) -> Bound {
    bound(&OF_EMAIL, &[Some(addresses)])
}

pub(super) fn of_token(token: Uuid) -> Bound {
    bound(&OF_TOKEN, &[Some(&token.to_string())])
}

pub(super) fn of_user(user: Uuid) -> Bound {
    bound(&OF_USER, &[Some(&user.to_string())])
}

pub(super) fn enrol(user: Uuid, nonce: Uuid) -> Bound {
    bound(&ENROL, &[Some(&user.to_string()), Some(&nonce.to_string())])
}

pub(super) fn confirm(user: Uuid, step: u64, digests: &[String]) -> Bound {
    let digests = array(digests.iter().map(String::as_str));
    bound(&CONFIRM, &[Some(&user.to_string()), Some(&step.to_string()), Some(&digests)])
}

pub(super) fn remove(user: Uuid) -> Bound {
    bound(&REMOVE, &[Some(&user.to_string())])
}
