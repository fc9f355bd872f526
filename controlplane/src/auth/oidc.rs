//! Tokens of external issuers that a tenant trusts (OpenID Connect).
//!
//! Such a token names no tenant of ours, so the host, `X-Tenant` or an API key has to. Keys come from where the tenant's
//! manifest or the issuer's configuration says, never from the token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tenantry_crds::v1alpha1::OidcIssuerSpec;
use tokio::time::Instant;

use super::{
    caller::{Caller, Proof},
    changes::texts,
    id::UserId,
    outbound::{Outbound, OutboundError},
    token::{self, Refused, Verified},
};
use crate::{
    error::{ApiError, Chain},
    registry::TenantEntry,
};

/// How long keys are used without a look for new ones, and how long at most while the issuer does not answer.
const FRESH: Duration = Duration::from_secs(600);
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Between two fetches: whoever sends tokens with keys that nobody knows causes no more than that.
const BETWEEN_FETCHES: Duration = Duration::from_secs(30);
/// How long a fetch may take, with the configuration that it may begin with.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT: usize = 256 * 1024;
const MAX_KEYS: usize = 64;
const MAX_ISSUERS: usize = 4096;
const MAX_KID: usize = 200;
const LEEWAY_SECONDS: u64 = 30;

/// The keys of external issuers.
#[derive(Debug)]
pub struct Issuers {
    outbound: Outbound,
    /// By the issuer, and by where its keys are if its configuration does not say.
    known: Mutex<Known>,
}

type Known = HashMap<(String, Option<String>), Arc<Issuer>>;

#[derive(Debug, Default)]
struct Issuer {
    fetched: Mutex<Fetched>,
    /// One fetch at a time; whoever waits finds what it brought.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Fetched {
    keys: Vec<Jwk>,
    at: Option<Instant>,
    tried: Option<Instant>,
}

impl Issuer {
    fn fetched(&self) -> MutexGuard<'_, Fetched> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the keys, unless that was tried a moment ago.
    async fn refresh(&self, outbound: &Outbound, spec: &OidcIssuerSpec) {
        let _alone = self.fetching.lock().await;
        {
            let mut fetched = self.fetched();
            if !fetched.may_try() {
                return;
            }
            fetched.tried = Some(Instant::now());
        }
        let keys = match tokio::time::timeout(FETCH_LIMIT, fetch(outbound, spec)).await {
            Ok(Ok(keys)) => keys,
            Ok(Err(error)) => {
                tracing::warn!(issuer = spec.issuer, cause = %Chain(&error), "the keys of an issuer cannot be had");
                return;
            }
            Err(_) => {
                tracing::warn!(
                    issuer = spec.issuer,
                    "the issuer takes longer than {FETCH_LIMIT:?} for its keys"
                );
                return;
            }
        };
        let mut fetched = self.fetched();
        fetched.keys = keys;
        fetched.at = Some(Instant::now());
    }
}

impl Fetched {
    fn is_within(&self, limit: Duration) -> bool {
        self.at.is_some_and(|at| at.elapsed() < limit)
    }

    fn find(&self, kid: &str) -> Option<Jwk> {
        let keys = if self.is_within(STALE) { self.keys.as_slice() } else { &[] };
        keys.iter().find(|key| key.common.key_id.as_deref() == Some(kid)).cloned()
    }

    fn may_try(&self) -> bool {
        self.tried.is_none_or(|tried| tried.elapsed() >= BETWEEN_FETCHES)
    }
}

impl Issuers {
    /// Fetches with `outbound`.
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound, known: Mutex::default() }
    }

    /// The key `kid` of an issuer, if it has one.
    async fn key(&self, spec: &OidcIssuerSpec, kid: &str) -> Option<Jwk> {
        let issuer = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_ISSUERS {
                known.clear();
            }
            Arc::clone(known.entry((spec.issuer.clone(), spec.jwks_uri.clone())).or_default())
        };
        let (found, is_due) = {
            let fetched = issuer.fetched();
            (fetched.find(kid), !fetched.is_within(FRESH) && fetched.may_try())
        };
        if found.is_some() {
            // An issuer that is slow holds nobody up whose key is known.
            if is_due {
                let (issuer, outbound, spec) = (Arc::clone(&issuer), self.outbound.clone(), spec.clone());
                tokio::spawn(async move { issuer.refresh(&outbound, &spec).await });
            }
            return found;
        }
        issuer.refresh(&self.outbound, spec).await;
        issuer.fetched().find(kid)
    }
}

async fn fetch(outbound: &Outbound, spec: &OidcIssuerSpec) -> Result<Vec<Jwk>, OutboundError> {
    #[derive(Deserialize)]
    struct Configuration {
        issuer: String,
        jwks_uri: String,
    }
    let uri = match &spec.jwks_uri {
        Some(uri) => uri.clone(),
        None => {
            let base = spec.issuer.trim_end_matches('/');
            let at = format!("{base}/.well-known/openid-configuration");
            let found: Configuration = serde_json::from_value(outbound.get_json(&at, MAX_DOCUMENT).await?)?;
            if found.issuer != spec.issuer {
                return Err(OutboundError::NotAllowed);
            }
            found.jwks_uri
        }
    };
    let set: Value = outbound.get_json(&uri, MAX_DOCUMENT).await?;
    let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // Keys of kinds that we do not know stand beside the others.
    let keys = keys.iter().take(MAX_KEYS).filter_map(|key| Jwk::deserialize(key).ok());
    Ok(JwkSet { keys: keys.collect() }.keys)
}

#[derive(Deserialize)]
struct ForeignHeader {
    alg: String,
    kid: String,
    crit: Option<serde::de::IgnoredAny>,
    b64: Option<serde::de::IgnoredAny>,
    zip: Option<serde::de::IgnoredAny>,
    enc: Option<serde::de::IgnoredAny>,
}

/// What a token of an external issuer says, if `tenant` trusts that issuer. `refused` is why it is none of ours.
///
/// # Errors
/// When it cannot be trusted.
pub(super) async fn verify(
    issuers: &Issuers,
    tenant: &TenantEntry,
    token: &str,
    refused: Refused,
) -> Result<Verified, ApiError> {
    let Some((header, spec)) = read(tenant, token) else { return Err(refused.into()) };
    let algorithm = algorithm(&header.alg).ok_or(Refused::NotAccessToken)?;
    let key = issuers.key(spec, &header.kid).await.ok_or(Refused::BadSignature)?;
    Ok(check(tenant, spec, token, algorithm, &key)?)
}

/// The header of a token and the issuer that it names, if the tenant trusts that one. Nothing of it is verified.
fn read<'a>(tenant: &'a TenantEntry, token: &str) -> Option<(ForeignHeader, &'a OidcIssuerSpec)> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    if token.len() > token::MAX_TOKEN_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let header = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let header: ForeignHeader = serde_json::from_slice(&header).ok()?;
    if header.crit.is_some() || header.b64.is_some() || header.zip.is_some() || header.enc.is_some() {
        return None;
    }
    let named: Named = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
    let spec = tenant.auth.oidc_issuer(&named.iss)?;
    (header.kid.len() <= MAX_KID).then_some((header, spec))
}

/// Only algorithms with a public key: one that anybody may read must never be taken for a shared secret.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        "PS256" => Some(Algorithm::PS256),
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn check(
    tenant: &TenantEntry,
    spec: &OidcIssuerSpec,
    token: &str,
    algorithm: Algorithm,
    key: &Jwk,
) -> Result<Verified, Refused> {
    let other_use = key.common.public_key_use.as_ref().is_some_and(|use_| *use_ != PublicKeyUse::Signature);
    let other_algorithm = key.common.key_algorithm.is_some_and(|declared| declared != algorithm.into());
    if other_use || other_algorithm {
        return Err(Refused::BadSignature);
    }
    let decoding = DecodingKey::from_jwk(key).map_err(|_| Refused::BadSignature)?;
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[&spec.issuer]);
    validation.set_audience(&[&spec.audience]);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    let claims: Map<String, Value> =
        jsonwebtoken::decode(token, &decoding, &validation).map_err(|error| token::why(&error))?.claims;
    let now = token::unix_now();
    let exp = claims.get("exp").and_then(Value::as_u64).ok_or(Refused::BadClaims)?;
    let issued = claims.get("iat").and_then(Value::as_u64);
    let sub = claims.get("sub").and_then(Value::as_str).ok_or(Refused::BadClaims)?;
    let user = UserId::external(&spec.name, sub).ok_or(Refused::BadClaims)?;
    let too_long = exp.saturating_sub(now) > token::MAX_LIFETIME.as_secs() + LEEWAY_SECONDS;
    let from_the_future = issued.is_some_and(|at| at > now + LEEWAY_SECONDS);
    if too_long || from_the_future {
        return Err(Refused::BadClaims);
    }
    let roles = tenant.auth.effective_roles(roles(spec, &claims), true);
    let caller = Caller::new(&user.to_string(), &roles).with_claims(claims);
    Ok(Verified { tenant: tenant.uid, caller: Arc::new(caller), proof: Proof::default(), exp })
}

/// The roles that a token's groups stand for.
fn roles(spec: &OidcIssuerSpec, claims: &Map<String, Value>) -> Vec<String> {
    let groups = match claims.get(&spec.roles_claim) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(many) => texts(many),
        None => Vec::new(),
    };
    let mut roles = spec.default_roles.clone();
    for group in groups {
        roles.extend(spec.roles.get(&group).into_iter().flatten().cloned());
    }
    roles.sort();
    roles.dedup();
    roles
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_become_the_roles_that_the_tenant_gives_them() {
        let spec: OidcIssuerSpec = serde_json::from_value(json!({
            "name": "corp", "issuer": "https://id.example.com", "audience": "crm", "rolesClaim": "groups",
            "roles": {"sales": ["crm:sales", "crm:reader"], "it": ["admin"]}, "defaultRoles": ["crm:reader"]
        }))
        .unwrap();
        let of = |groups: Value| roles(&spec, json!({"groups": groups}).as_object().unwrap());
        assert_eq!(of(json!(["sales", "admin", "unknown"])), ["crm:reader", "crm:sales"]);
        assert_eq!(of(json!("it")), ["admin", "crm:reader"]);
        assert_eq!(of(json!(7)), ["crm:reader"]);
    }

    #[test]
    fn only_public_keys_check_tokens_of_others() {
        for none in ["HS256", "HS384", "HS512", "none", "None", "", "dir"] {
            assert!(algorithm(none).is_none(), "{none}");
        }
    }
}
