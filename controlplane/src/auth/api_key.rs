//! API keys: `tnk_`, the tenant, the key's document and a secret, with a checksum by which scanners know a real one.
//!
//! Only a digest of the secret is stored, made with a key that the database does not have: who can write the row of a key, as an
//! `Owner` can, makes none that opens anything. The secret has 192 random bits, so a fast digest will do.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tenantry_config::network::Network;
use uuid::Uuid;

use super::{
    accounts::Actor,
    cache::{Known, VerifiedCache},
    caller::{Caller, Proof},
    changes::texts,
    id::UserId,
    secret::{Purpose, SecretKey},
    sql::{self, bound, is_true, rfc3339, statement},
    standing,
    token::{Refused, Verified, unix_now},
};
use crate::{
    error::ApiError,
    postgres::{Bound, Group, Row},
    registry::TenantEntry,
};

const PREFIX: &str = "tnk_";
const SECRET_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 4;
/// The longest time for which a key without an end is believed without a look.
const UNTIL: u64 = u64::MAX;

statement!(
    LOAD,
    "SELECT k.key_hash, k.roles::text, k.read_only, k.addresses::text, k.acts_as::text, \
        extract(epoch FROM k.expires_at)::bigint, \
        k.last_used_at IS NULL OR k.last_used_at < now() - interval '5 minutes', \
        u.enabled, u.roles::text, u.claims::text \
     FROM {schema}.core_api_key k LEFT JOIN {schema}.core_user u ON u.id = k.acts_as WHERE k.id = $1::uuid"
);
// Not a change of the document: nobody who reads it needs to hear of every use.
statement!(TOUCH, "UPDATE {schema}.core_api_key SET last_used_at = now() WHERE id = $1::uuid");
// A key that is used while `auth.previousKey` is set, goes on afterwards.
statement!(
    RENEW,
    "UPDATE {schema}.core_api_key SET last_used_at = now(), key_hash = $3::text WHERE id = $1::uuid AND key_hash = $2::text"
);
statement!(
    INSERT,
    "WITH stored AS (INSERT INTO {schema}.core_api_key (id, name, prefix, key_hash, roles, expires_at, acts_as, \
        read_only, addresses, created_by, updated_by) \
     VALUES ($4::uuid, $5::text, $6::text, $7::text, $8::jsonb, $9::timestamptz, $10::uuid, $11::boolean, $12::jsonb, \
        $1::text, $1::text) RETURNING *), \
     event AS (INSERT INTO tenantry.outbox (app, doc_type, doc_id, doc_version, operation, body) \
     SELECT 'core', 'api_key', id::text, version, 'Put', json_build_object('id', id, 'version', version, \
        'name', name, 'prefix', prefix, 'roles', roles, 'acts_as', acts_as, 'read_only', read_only, \
        'addresses', addresses, 'created_by', created_by, 'updated_by', updated_by, \
        'created_at', replace(replace(created_at::text, ' ', 'T'), '+00', 'Z'), \
        'updated_at', replace(replace(updated_at::text, ' ', 'T'), '+00', 'Z'), \
        'expires_at', replace(replace(expires_at::text, ' ', 'T'), '+00', 'Z')) FROM stored), \
     audit AS (INSERT INTO tenantry.audit \
        (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Create', 'core', 'api_key', id::text, version, $2::text, $3::text, \
        json_build_object('name', name, 'roles', roles, 'acts_as', acts_as) FROM stored) \
     SELECT id::text, name, prefix, roles::text, expires_at::text, last_used_at::text, acts_as::text, read_only, \
        addresses::text, created_at::text FROM stored"
);
statement!(
    LIST,
    "SELECT id::text, name, prefix, roles::text, expires_at::text, last_used_at::text, acts_as::text, read_only, \
        addresses::text, created_at::text FROM {schema}.core_api_key \
     WHERE $1::uuid IS NULL OR acts_as = $1::uuid ORDER BY created_at DESC LIMIT 1000"
);
statement!(
    REMOVE,
    "WITH stored AS (DELETE FROM {schema}.core_api_key WHERE id = $4::uuid AND ($5::uuid IS NULL OR acts_as = $5::uuid) \
        RETURNING id::text AS id, version + 1 AS version), \
     event AS (INSERT INTO tenantry.outbox (app, doc_type, doc_id, doc_version, operation) \
        SELECT 'core', 'api_key', id, version, 'Delete' FROM stored), \
     audit AS (INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client) \
        SELECT $1::text, 'Delete', 'core', 'api_key', id, version, $2::text, $3::text FROM stored) \
     SELECT id FROM stored"
);

/// A key as it is sent.
#[derive(Clone, Copy)]
pub(super) struct ApiKey {
    /// The origin of the tenant's data: the key goes where they go.
    pub origin: Uuid,
    id: Uuid,
    secret: [u8; SECRET_BYTES],
}

/// What a key opens. A type of its own: whatever takes the caller of a key takes its limits along.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    verified: Verified,
    limits: Option<Arc<Limits>>,
    /// What had been heard of all that changes before the row was read.
    heard: u64,
}

impl Opened {
    /// What was verified, for a request that the key may be used for.
    ///
    /// # Errors
    /// When it may not.
    pub fn admit(self, method: &axum::http::Method, client: Option<IpAddr>) -> Result<Verified, ApiError> {
        if self.limits.is_none_or(|limits| limits.admit(method, client)) {
            return Ok(self.verified);
        }
        Err(ApiError::forbidden("this API key may not be used for this, or from here"))
    }
}

impl Known for Opened {
    fn end(&self) -> u64 {
        self.verified.exp
    }
}

/// Keys that were read a moment ago.
#[derive(Debug, Default)]
pub struct ApiKeys(VerifiedCache<Opened>);

impl ApiKeys {
    /// What `key`, sent as `text`, opens: as it was a moment ago, unless something became of it or its user since.
    ///
    /// # Errors
    /// When the key is not accepted, or the database does not answer.
    pub(super) async fn open(
        &self,
        tenant: &TenantEntry,
        secrets: &SecretKey,
        (text, key): (&str, ApiKey),
    ) -> Result<Opened, ApiError> {
        let known = self.0.get(text, unix_now()).filter(|known| known.verified.tenant == tenant.uid);
        if let Some(opened) = known.filter(|opened| standing::of_key(tenant, &opened.verified, opened.heard))
        {
            return Ok(opened);
        }
        let opened = key.load(tenant, secrets).await?;
        self.0.put(text, &opened, unix_now());
        Ok(opened)
    }
}

/// How a key may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limits {
    /// Networks that it may be used from, unless from everywhere.
    addresses: Option<Vec<Network>>,
    read_only: bool,
}

impl ApiKey {
    /// Whether `text` is meant to be a key.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads a key; nothing for one that was cut or mistyped.
    pub fn parse(text: &str) -> Option<Self> {
        let (body, checksum) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
        if checksum != self::checksum(body) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (origin, rest) = bytes.split_at_checked(16)?;
        let (id, secret) = rest.split_at_checked(16)?;
        Some(Self {
            origin: Uuid::from_slice(origin).ok()?,
            id: Uuid::from_slice(id).ok()?,
            secret: secret.try_into().ok()?,
        })
    }

    /// A new key of a tenant.
    fn new(origin: Uuid) -> Self {
        Self { origin, id: Uuid::now_v7(), secret: rand::random() }
    }

    fn text(&self) -> String {
        let bytes = [self.origin.as_bytes().as_slice(), self.id.as_bytes(), &self.secret].concat();
        let body = URL_SAFE_NO_PAD.encode(bytes);
        let checksum = checksum(&body);
        format!("{PREFIX}{body}_{checksum}")
    }

    /// What is stored of it.
    fn digest(&self, secrets: &SecretKey) -> String {
        hex(&secrets.derive(Purpose::ApiKey, &self.parts()))
    }

    /// Whether `stored` is its digest, under the key in use or the one before it.
    fn has_digest(&self, secrets: &SecretKey, stored: &str) -> bool {
        let digests = secrets.candidates(Purpose::ApiKey, &self.parts());
        digests.iter().any(|digest| stored.as_bytes().ct_eq(hex(digest).as_bytes()).into())
    }

    /// A digest is of one key of one tenant: no other row can have it.
    fn parts(&self) -> [&[u8]; 3] {
        [self.origin.as_bytes(), self.id.as_bytes(), &self.secret]
    }

    /// Who has the key, as it is now.
    ///
    /// # Errors
    /// When it is not accepted, or the database does not answer.
    async fn load(&self, tenant: &TenantEntry, secrets: &SecretKey) -> Result<Opened, ApiError> {
        let id = self.id.to_string();
        // Before the row is read: what becomes of it meanwhile is asked for again.
        let heard = tenant.home.changes().heard();
        let reply = sql::run(tenant, Group::read(bound(&LOAD, &[Some(&id)]))).await?;
        let row = reply.rows.first().ok_or(Refused::BadKey)?;
        let stored = row.text(0).filter(|stored| self.has_digest(secrets, stored)).ok_or(Refused::BadKey)?;
        let (verified, limits) = self.accept(tenant, row, unix_now()).ok_or(Refused::BadKey)?;
        let digest = self.digest(secrets);
        if stored != digest {
            let renew = bound(&RENEW, &[Some(&id), Some(stored), Some(&digest)]);
            sql::run(tenant, Group::write(vec![renew])).await?;
        } else if is_true(row, 6) {
            sql::run(tenant, Group::write(vec![bound(&TOUCH, &[Some(&id)])])).await?;
        }
        Ok(Opened { verified, limits, heard })
    }

    /// What the row says of a key whose digest is the stored one.
    fn accept(&self, tenant: &TenantEntry, row: &Row, now: u64) -> Option<(Verified, Option<Arc<Limits>>)> {
        let exp = match row.text(5) {
            Some(end) => end.parse().ok()?,
            None => UNTIL,
        };
        if exp <= now {
            return None;
        }
        let json = |n: usize| row.text(n).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut roles = texts(&json(1)?);
        let acts_as = row.text(4).map(Uuid::try_parse).transpose().ok()?;
        let (user, claims) = match acts_as {
            None => (UserId::Key(self.id), Map::new()),
            Some(user) => {
                // A user who is gone, disabled, or lost a role takes it from the key, too.
                if !is_true(row, 7) {
                    return None;
                }
                let held = texts(&json(8)?);
                let all = held.iter().any(|role| role == Caller::ADMIN);
                roles.retain(|role| all || held.contains(role));
                let claims = json(9).and_then(|claims| claims.as_object().cloned()).unwrap_or_default();
                (UserId::Own(user), claims)
            }
        };
        let caller = if acts_as.is_none() && roles.iter().any(|role| role == Caller::ANON) {
            Caller::anonymous(tenant.apps.names())
        } else {
            Caller::new(&user.to_string(), &roles).with_claims(claims)
        };
        let proof = Proof { user: acts_as, key: Some(self.id), ..Proof::default() };
        let limits = Limits { addresses: listed(&json(3).unwrap_or_default()), read_only: is_true(row, 2) };
        let limits = (limits.read_only || limits.addresses.is_some()).then(|| Arc::new(limits));
        Some((Verified { tenant: tenant.uid, caller: Arc::new(caller), proof, exp }, limits))
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Limits {
    /// Whether a request may be made with the key.
    pub fn admit(&self, method: &axum::http::Method, client: Option<IpAddr>) -> bool {
        let reads = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS");
        let from_there = self.addresses.as_ref().is_none_or(|networks| {
            client.is_some_and(|client| networks.iter().any(|network| network.contains(client)))
        });
        (reads || !self.read_only) && from_there
    }
}

/// The networks that the document of a key lists, unless it lists none. An administrator can write anything there: what is no
/// network is one that nobody is in.
fn listed(addresses: &Value) -> Option<Vec<Network>> {
    match addresses {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(items.iter().filter_map(|item| item.as_str()?.parse().ok()).collect()),
        _ => Some(Vec::new()),
    }
}

/// A key that somebody asks for.
#[derive(Debug)]
pub(super) struct NewKey<'a> {
    pub name: &'a str,
    pub roles: &'a [String],
    pub expires_at: Option<&'a str>,
    pub acts_as: Option<Uuid>,
    pub read_only: bool,
    pub addresses: &'a [String],
}

/// Makes a key; yields it, for this one time, and what is known of it.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn create(
    tenant: &TenantEntry,
    secrets: &SecretKey,
    new: &NewKey<'_>,
    actor: Actor<'_>,
) -> Result<(String, Value), ApiError> {
    let key = ApiKey::new(tenant.origin);
    let text = key.text();
    let values = [
        Some(actor.user.to_owned()),
        Some(actor.request.to_owned()),
        actor.client.map(str::to_owned),
        Some(key.id.to_string()),
        Some(new.name.to_owned()),
        Some(URL_SAFE_NO_PAD.encode(key.id.as_bytes())),
        Some(key.digest(secrets)),
        Some(json!(new.roles).to_string()),
        new.expires_at.map(str::to_owned),
        new.acts_as.map(|user| user.to_string()),
        Some(if new.read_only { "t" } else { "f" }.to_owned()),
        Some(json!(new.addresses).to_string()),
    ];
    let insert = bound(&INSERT, &values.each_ref().map(Option::as_deref));
    let reply = sql::run(tenant, Group::write(vec![insert])).await?;
    let row = reply.rows.first().ok_or_else(|| ApiError::internal("an insert yielded no key"))?;
    Ok((text, shown(row)))
}

/// The keys that act as `user`, or all.
pub(super) fn list(user: Option<Uuid>) -> Bound {
    bound(&LIST, &[user.map(|user| user.to_string()).as_deref()])
}

/// Takes a key away, if it acts as `user`, or in any case.
pub(super) fn remove(id: Uuid, user: Option<Uuid>, actor: Actor<'_>) -> Bound {
    let (id, user) = (id.to_string(), user.map(|user| user.to_string()));
    bound(&REMOVE, &[Some(actor.user), Some(actor.request), actor.client, Some(&id), user.as_deref()])
}

/// What is told of a key.
pub(super) fn shown(row: &Row) -> Value {
    let json = |n: usize| row.text(n).and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "id": row.text(0), "name": row.text(1), "prefix": row.text(2), "roles": json(3),
        "expires_at": row.text(4).map(rfc3339), "last_used_at": row.text(5).map(rfc3339), "acts_as": row.text(6),
        "read_only": is_true(row, 7), "addresses": json(8), "created_at": row.text(9).map(rfc3339),
    })
}

fn checksum(body: &str) -> String {
    hex(&Sha256::digest([PREFIX, body].concat())[..CHECKSUM_BYTES])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    #[test]
    fn a_key_is_read_back_and_a_mistyped_one_is_none() {
        let key = ApiKey::new(Uuid::from_u128(1));
        let text = key.text();
        let read = ApiKey::parse(&text).unwrap();
        assert_eq!((read.origin, read.id, read.secret), (key.origin, key.id, key.secret));
        assert!(ApiKey::is_one(&text) && text.len() < 100);
        for n in PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[n] = if wrong[n] == b'a' { b'b' } else { b'a' };
            assert!(ApiKey::parse(&String::from_utf8(wrong).unwrap()).is_none(), "at {n}");
        }
        for wrong in ["", "tnk_", "tnk__", &text[..40]] {
            assert!(ApiKey::parse(wrong).is_none());
        }
        assert!(!format!("{key:?}").contains(&text[60..70]));
    }

    #[test]
    fn a_digest_is_of_one_key_and_needs_the_platforms() {
        let secrets = |current: &str, previous: Option<&str>| {
            let auth = tenantry_config::settings::Auth {
                key: Some(current.repeat(32).into()),
                previous_key: previous.map(|key| key.repeat(32).into()),
                ..Default::default()
            };
            SecretKey::new(&auth, &"unused".to_owned().into()).unwrap()
        };
        let (first, second) = (secrets("a", None), secrets("b", None));
        let key = ApiKey::new(Uuid::from_u128(1));
        let stored = key.digest(&first);
        assert!(key.has_digest(&first, &stored) && !key.has_digest(&second, &stored));
        assert!(key.has_digest(&secrets("b", Some("a")), &stored), "the key before");
        let elsewhere = ApiKey { origin: Uuid::from_u128(2), ..key };
        let another = ApiKey { id: Uuid::from_u128(3), ..key };
        assert!(!elsewhere.has_digest(&first, &stored) && !another.has_digest(&first, &stored));
        let plain = hex(&Sha256::digest(key.secret));
        assert!(!key.has_digest(&first, &plain), "what everybody can compute");
    }

    #[test]
    fn limits_hold() {
        let limits = |addresses: Value, read_only| Limits { addresses: listed(&addresses), read_only };
        let near = limits(json!(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "nonsense"]), false);
        for client in ["10.1.2.3", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"] {
            assert!(near.admit(&Method::POST, client.parse().ok()), "{client}");
        }
        for client in ["11.1.2.3", "192.0.2.8", "::1", "unknown"] {
            assert!(!near.admit(&Method::GET, client.parse().ok()), "{client:?}");
        }
        for everywhere in [json!([]), Value::Null] {
            assert!(limits(everywhere.clone(), true).admit(&Method::GET, None));
            assert!(!limits(everywhere, true).admit(&Method::POST, None));
        }
        for unreadable in [json!(["nonsense"]), json!("10.0.0.0/8"), json!([1]), json!({})] {
            assert!(!limits(unreadable, false).admit(&Method::GET, "10.1.2.3".parse().ok()));
        }
    }
}
