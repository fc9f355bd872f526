//! What a change of who controls an account takes along.
//!
//! When an account's password, address or authenticator becomes another, or it is disabled or goes, every session and every one-time
//! token of before ends in the same statement: whoever had one had it by what holds no more. The address that the account had is told.
//! Documents of accounts are written by the data routes, too, so their statements take the same along (ADR 0034).

/// Who writes, for the audit.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// The user's id.
    pub user: &'a str,
    /// The request's id.
    pub request: &'a str,
    /// The address that the request came from.
    pub client: Option<&'a str>,
}

/// What is needed of the statement that makes the change, each as it is written in SQL.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Who makes it, by which request and from which address.
    pub actor: &'a str,
    pub request: &'a str,
    pub client: &'a str,
    /// A session that goes on: the one that made the change. NULL for none.
    pub session: &'a str,
    /// Whether the tenant sends e-mail.
    pub told: &'a str,
}

/// `control`: the accounts in `stored` that somebody else may control by now, beside what is in the table still.
pub const CHANGED: &str = "control AS (SELECT id, mailbox, events FROM (\
        SELECT s.id, coalesce(o.email_as_written, o.email) AS mailbox, concat_ws(' ', \
            CASE WHEN s.email <> o.email THEN 'email' END, \
            CASE WHEN s.password_hash IS DISTINCT FROM o.password_hash THEN 'password' END, \
            CASE WHEN s.enabled AND NOT o.enabled THEN 'enabled' WHEN o.enabled AND NOT s.enabled THEN 'disabled' END, \
            CASE WHEN s.email_verified_at IS NOT NULL AND o.email_verified_at IS NULL THEN 'verified' END) AS events \
        FROM stored s JOIN {schema}.core_user o ON o.id = s.id) changed WHERE events <> ''), ";

/// `control`: the accounts in `stored`, which are gone. An authenticator does not wait for the next one of the same id.
pub const GONE: &str = "control AS (SELECT s.id, coalesce(s.email_as_written, s.email) AS mailbox, 'deleted' AS events \
        FROM stored s), \
     unfactored AS (UPDATE tenantry.auth_factor f SET removed_at = now(), confirmed_at = NULL, recovery = '{}' \
        FROM control c WHERE f.role = current_user AND f.id = c.id AND f.removed_at IS NULL), ";

/// `control`: the accounts whose authenticator is in `factor`.
pub(super) const FACTOR: &str = "control AS (SELECT u.id, coalesce(u.email_as_written, u.email) AS mailbox, \
        'second_factor' AS events FROM factor f JOIN {schema}.core_user u ON u.id = f.id), ";

/// What goes with the accounts in `control`, in further parts of the same WITH. The last ends without a comma.
pub fn taken_along(Places { actor, request, client, session, told }: Places<'_>) -> String {
    format!(
        "voided AS (UPDATE tenantry.auth_token t SET expires_at = '-infinity', due_at = NULL FROM control c \
            WHERE t.role = current_user AND t.user_id = c.id AND t.kind <> 'Notice' AND t.expires_at > now()), \
         ended AS (UPDATE tenantry.auth_session t SET revoked_at = now() FROM control c \
            WHERE t.role = current_user AND t.user_id = c.id AND t.revoked_at IS NULL \
                AND t.id IS DISTINCT FROM {session} RETURNING t.id, t.user_id), \
         ended_audit AS (INSERT INTO tenantry.audit \
            (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
            SELECT {actor}, 'Delete', 'core', 'session', id::text, 1, {request}, {client}, \
                json_build_object('user', user_id) FROM ended), \
         told AS (INSERT INTO tenantry.auth_token (id, kind, user_id, email, events, expires_at, due_at) \
            SELECT pg_catalog.gen_random_uuid(), 'Notice', id, mailbox, events, now() + interval '1 day', now() \
            FROM control WHERE {told} AND events <> 'verified')"
    )
}
