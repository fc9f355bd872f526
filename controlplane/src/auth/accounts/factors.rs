//! Second factors: an authenticator for each user, and recovery codes for the day it is lost.

use tenantry_keyring::Zeroizing;
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
    vault::{Place, Safe},
};

/// Recovery codes of a user.
const RECOVERY_CODES: usize = 10;

statement!(
    OF_USER,
    "SELECT 'factor', coalesce(sealed, nonce::text), last_step, id::text, confirmed_at IS NOT NULL, cardinality(recovery) \
     FROM tenantry.auth_factor WHERE role = current_user AND id = $1::uuid AND removed_at IS NULL"
);
// One that is confirmed is never replaced: whoever has it, has to take it away first.
statement!(
    ENROL,
    "INSERT INTO tenantry.auth_factor AS f (id, nonce, sealed) VALUES ($1::uuid, gen_random_uuid(), $2::text) \
     ON CONFLICT (role, id) DO UPDATE SET nonce = excluded.nonce, sealed = excluded.sealed, last_step = 0, created_at = now(), removed_at = NULL \
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
    "UPDATE tenantry.auth_factor SET last_step = $2::bigint, sealed = coalesce($3::text, sealed) \
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

/// What authenticators and recovery codes of a tenant are made and read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    pub derive: &'a SecretKey,
    pub safe: Safe<'a>,
    /// The origin of the tenant's data.
    pub origin: Uuid,
}

/// The bytes that an authenticator has.
type Secret = Zeroizing<Vec<u8>>;

/// Where the secret of an authenticator comes from.
#[derive(Debug, Clone)]
enum Source {
    /// It is stored, sealed.
    Sealed(String),
    /// It derives from the row's nonce, as all did before; until it is used.
    Derived(Uuid),
}

impl Source {
    /// What stands in a row. What is no nonce must open as a sealed secret, or it is none.
    fn of(text: &str) -> Self {
        Uuid::try_parse(text).map_or_else(|_| Self::Sealed(text.to_owned()), Self::Derived)
    }
}

/// A user's authenticator.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    pub user: Uuid,
    source: Source,
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

    /// A confirmed one, if there is one, whose source, last step and user stand from `column` on.
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
            source: Source::of(row.text(column)?),
            last_step: row.text(column + 1)?.parse().ok()?,
            user: row.text(column + 2)?.parse().ok()?,
            confirmed: true,
            recovery_left: 0,
        })
    }

    /// How `code` may be used up, if it is one of the authenticator's at this moment, or has the form of a recovery code.
    ///
    /// # Errors
    /// When the secret cannot be read: then no code is known to be wrong, and none to be right.
    pub(super) fn uses(
        &self,
        keys: Keys<'_>,
        code: &str,
        now: u64,
        actor: Actor<'_>,
    ) -> Result<Option<Bound>, ApiError> {
        if let Some((step, secret)) = self.matching(keys, code, now)? {
            let sealed = self.renewed(keys, &secret)?;
            let values = [Some(self.user.to_string()), Some(step.to_string()), sealed];
            return Ok(Some(bound(&USE_STEP, &values.each_ref().map(Option::as_deref))));
        }
        let Some(code) = normalized(code) else { return Ok(None) };
        let digests: Vec<String> = keys
            .derive
            .candidates(Purpose::Recovery, &[keys.origin.as_bytes(), self.user.as_bytes(), code.as_bytes()])
            .iter()
            .map(|digest| hex(digest))
            .collect();
        let digests = array(digests.iter().map(String::as_str));
        let user = self.user.to_string();
        let values =
            [Some(user.as_str()), Some(&digests), Some(actor.user), Some(actor.request), actor.client];
        Ok(Some(bound(&USE_RECOVERY, &values)))
    }

    /// The step whose code `code` is.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub(super) fn step(&self, keys: Keys<'_>, code: &str, now: u64) -> Result<Option<u64>, ApiError> {
        Ok(self.matching(keys, code, now)?.map(|(step, _)| step))
    }

    /// The step whose code `code` is, and the secret that says so.
    fn matching(&self, keys: Keys<'_>, code: &str, now: u64) -> Result<Option<(u64, Secret)>, ApiError> {
        let all = match &self.source {
            Source::Sealed(sealed) => {
                let opened = keys.safe.open(&Place::Authenticator(self.user), sealed)?;
                vec![unhex(&opened).ok_or_else(|| ApiError::internal("an authenticator cannot be read"))?]
            }
            // Of the key in use, and of the one before it.
            Source::Derived(nonce) => {
                let parts = [keys.origin.as_bytes().as_slice(), self.user.as_bytes(), nonce.as_bytes()];
                let all = keys.derive.candidates(Purpose::Authenticator, &parts);
                all.into_iter().map(|secret| Zeroizing::new(secret[..totp::SECRET_BYTES].to_vec())).collect()
            }
        };
        let matching =
            |secret: Secret| Some((totp::matching_step(&secret, code, now, self.last_step)?, secret));
        Ok(all.into_iter().find_map(matching))
    }

    /// What is to be stored in the place of what is there: a secret that derives is sealed, and one under another key moves to the
    /// primary one.
    fn renewed(&self, keys: Keys<'_>, secret: &Secret) -> Result<Option<String>, ApiError> {
        let place = Place::Authenticator(self.user);
        Ok(match &self.source {
            Source::Sealed(sealed) => keys.safe.renew(&place, sealed)?,
            Source::Derived(_) => Some(keys.safe.seal(&place, &Zeroizing::new(hex(secret)))?),
        })
    }
}

/// A new authenticator: its secret in base32, and what is stored of it.
///
/// # Errors
/// When it cannot be sealed.
pub(super) fn secret(keys: Keys<'_>, user: Uuid) -> Result<(String, String), ApiError> {
    let secret: Zeroizing<[u8; totp::SECRET_BYTES]> = Zeroizing::new(rand::random());
    let sealed = keys.safe.seal(&Place::Authenticator(user), &Zeroizing::new(hex(secret.as_slice())))?;
    Ok((totp::base32(secret.as_slice()), sealed))
}

/// New recovery codes, and what is stored of them.
pub(super) fn recovery_codes(keys: Keys<'_>, user: Uuid) -> (Vec<String>, Vec<String>) {
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
            let parts = [keys.origin.as_bytes().as_slice(), user.as_bytes(), code.as_bytes()];
            hex(&keys.derive.derive(Purpose::Recovery, &parts))
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| format!("{text}{byte:02x}"))
}

fn unhex(text: &str) -> Option<Secret> {
    let digits = |n: usize| u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..totp::SECRET_BYTES).map(digits).collect();
    bytes.filter(|_| text.len() == 2 * totp::SECRET_BYTES).map(Zeroizing::new)
}

pub(super) fn of_user(user: Uuid) -> Bound {
    bound(&OF_USER, &[Some(&user.to_string())])
}

pub(super) fn enrol(user: Uuid, sealed: &str) -> Bound {
    bound(&ENROL, &[Some(&user.to_string()), Some(sealed)])
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
