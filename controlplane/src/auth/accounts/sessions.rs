//! Sessions: families of refresh tokens, each one row of `tenantry.auth_session`.

use uuid::Uuid;

use super::{
    super::sql::{bound, is_true, rfc3339, statement},
    control::Actor,
    users::{COLUMNS, User, columns},
};
use crate::postgres::{Bound, Row};

/// Seconds in which the token before the newest is answered with the newest again: tabs refresh at the same moment.
const GRACE_SECONDS: &str = "10";

statement!(
    START,
    "WITH started AS (INSERT INTO tenantry.auth_session (id, user_id, assurance, expires_at, ends_at, client, agent) \
     VALUES ($4::uuid, $5::uuid, $6::smallint, \
        now() + make_interval(secs => least($7::double precision, $8::double precision)), \
        now() + make_interval(secs => $8::double precision), $3::text, $9::text) RETURNING id) \
     INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Create', 'core', 'session', id::text, 1, $2::text, $3::text, \
        json_build_object('user', $5::text, 'second_factor', $6::smallint > 1) FROM started"
);
// The conditions see the row as it is under its lock, so of two refreshes at once one rotates and the other finds that.
statement!(
    ROTATE,
    "WITH s AS (UPDATE tenantry.auth_session SET \
        generation = CASE WHEN revoked_at IS NULL AND generation = $2::integer AND expires_at > now() \
            THEN generation + 1 ELSE generation END, \
        rotated_at = CASE WHEN revoked_at IS NULL AND generation = $2::integer AND expires_at > now() \
            THEN now() ELSE rotated_at END, \
        expires_at = CASE WHEN revoked_at IS NULL AND generation = $2::integer AND expires_at > now() \
            THEN least(now() + make_interval(secs => $3::double precision), ends_at) ELSE expires_at END, \
        revoked_at = CASE WHEN revoked_at IS NULL AND (generation > $2::integer + 1 \
            OR (generation = $2::integer + 1 AND rotated_at < now() - make_interval(secs => ",
    GRACE_SECONDS,
    "))) \
            THEN now() ELSE revoked_at END \
     WHERE role = current_user AND id = $1::uuid \
     RETURNING id, user_id, generation, assurance, revoked_at, expires_at), \
     noted AS (INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
        SELECT $6::text, 'Delete', 'core', 'session', s.id::text, 1, $4::text, $5::text, \
            json_build_object('user', s.user_id, 'reason', 'a refresh token was used twice') FROM s WHERE s.revoked_at = now()) \
     SELECT s.generation, s.assurance, s.revoked_at IS NOT NULL, s.expires_at <= now(), \
        s.revoked_at IS NOT NULL AND s.revoked_at = now(), ",
    columns!("u"),
    " FROM s LEFT JOIN {schema}.core_user u ON u.id = s.user_id"
);
statement!(
    END,
    "WITH ended AS (UPDATE tenantry.auth_session SET revoked_at = now() \
     WHERE role = current_user AND user_id = $4::uuid AND revoked_at IS NULL \
        AND ($5::uuid IS NULL OR id = $5::uuid) AND ($6::uuid IS NULL OR id <> $6::uuid) RETURNING id) \
     INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Delete', 'core', 'session', id::text, 1, $2::text, $3::text, \
        json_build_object('user', $4::text) FROM ended RETURNING doc_id"
);
statement!(
    RAISE,
    "UPDATE tenantry.auth_session SET assurance = 2, generation = generation + 1, rotated_at = now() \
     WHERE role = current_user AND id = $1::uuid AND user_id = $2::uuid AND revoked_at IS NULL AND expires_at > now() \
     RETURNING generation"
);
statement!(
    LIST,
    "SELECT id::text, created_at::text, rotated_at::text, expires_at::text, client, agent, assurance \
     FROM tenantry.auth_session \
     WHERE role = current_user AND user_id = $1::uuid AND revoked_at IS NULL AND expires_at > now() \
     ORDER BY rotated_at DESC LIMIT 100"
);

/// A session that begins.
#[derive(Debug)]
pub(super) struct NewSession<'a> {
    pub id: Uuid,
    pub user: Uuid,
    pub second_factor: bool,
    pub refresh_seconds: u32,
    pub session_seconds: u32,
    pub agent: Option<&'a str>,
}

pub(super) fn start(new: &NewSession<'_>, actor: Actor<'_>) -> Bound {
    let (id, user) = (new.id.to_string(), new.user.to_string());
    let (refresh, session) = (new.refresh_seconds.to_string(), new.session_seconds.to_string());
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(id.as_str()),
        Some(&user),
        Some(if new.second_factor { "2" } else { "1" }),
        Some(&refresh),
        Some(&session),
        new.agent,
    ];
    bound(&START, &values)
}

/// Goes on with a session: one statement for the rotation, reuse and the user. Whoever uses a token twice is not known to be the user.
pub(super) fn rotate(id: Uuid, generation: u32, refresh_seconds: u32, actor: Actor<'_>) -> Bound {
    let values = [
        Some(id.to_string()),
        Some(generation.to_string()),
        Some(refresh_seconds.to_string()),
        Some(actor.request.to_owned()),
        actor.client.map(str::to_owned),
        Some(actor.user.to_owned()),
    ];
    bound(&ROTATE, &values.each_ref().map(Option::as_deref))
}

/// What a refresh came to.
pub(super) enum Rotated {
    /// The session goes on at this generation.
    On { generation: u32, second_factor: bool, user: Box<User> },
    /// An old token was used: the whole family ended just now.
    Reused,
    /// Somebody ended it before.
    Revoked,
    /// Nobody refreshed it in time.
    Expired,
    /// The user is gone or was disabled.
    UserGone,
}

impl Rotated {
    pub(super) fn read(row: &Row, presented: u32) -> Option<Self> {
        let generation: u32 = row.text(0)?.parse().ok()?;
        Some(if is_true(row, 4) {
            Self::Reused
        } else if is_true(row, 2) {
            Self::Revoked
        } else if is_true(row, 3) {
            Self::Expired
        } else if generation != presented + 1 {
            // A token of a generation that was never handed out.
            Self::Revoked
        } else {
            match User::read(row, 5).filter(|user| user.enabled) {
                Some(user) => {
                    Self::On { generation, second_factor: row.text(1) == Some("2"), user: Box::new(user) }
                }
                None => Self::UserGone,
            }
        })
    }
}

/// Which of a user's sessions end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    One(Uuid),
    All,
    AllBut(Uuid),
}

pub(super) fn end(user: Uuid, which: Which, actor: Actor<'_>) -> Bound {
    let (only, but) = match which {
        Which::One(id) => (Some(id.to_string()), None),
        Which::All => (None, None),
        Which::AllBut(id) => (None, Some(id.to_string())),
    };
    let user = user.to_string();
    let values =
        [Some(actor.user), Some(actor.request), actor.client, Some(&user), only.as_deref(), but.as_deref()];
    bound(&END, &values)
}

/// Gives a session its second factor; yields the generation of its next token.
pub(super) fn raise(id: Uuid, user: Uuid) -> Bound {
    bound(&RAISE, &[Some(&id.to_string()), Some(&user.to_string())])
}

pub(super) fn list(user: Uuid) -> Bound {
    bound(&LIST, &[Some(&user.to_string())])
}

/// A session as its user sees it.
pub(super) fn shown(row: &Row, current: Option<Uuid>) -> serde_json::Value {
    let time = |n: usize| row.text(n).map(rfc3339);
    serde_json::json!({
        "id": row.text(0), "created_at": time(1), "last_used_at": time(2), "expires_at": time(3),
        "client": row.text(4), "agent": row.text(5), "second_factor": row.text(6) == Some("2"),
        "current": row.text(0).and_then(|id| Uuid::try_parse(id).ok()) == current && current.is_some(),
    })
}

const _: () = assert!(COLUMNS == 13, "the columns of ROTATE are read by their place");
