//! Which tokens are accepted, and how one is issued.
//!
//! An access token is a JWT with `typ: at+jwt`, signed with EdDSA or HS256. The algorithm decides nothing: each key has one
//! algorithm, and a token is checked with the key of the algorithm that it names, if we have one.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tenantry_config::settings;
use uuid::Uuid;

use super::{cache::VerifiedCache, caller::Caller};

/// The longest token read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest that a token may live: a stolen one has an end.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The shortest secret for HS256, in bytes: shorter ones can be guessed from one token.
pub const MIN_SECRET_BYTES: usize = 32;

const TOKEN_TYPE: &str = "at+jwt";
const LEEWAY_SECONDS: u64 = 5;
const MAX_USER_CHARS: usize = 255;
const MAX_ROLES: usize = 200;

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: Audience,
    /// The user's id.
    pub sub: String,
    /// The tenant's uid.
    pub tid: Uuid,
    /// `admin`, or `{app}:{role}`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What is said of the user beside roles.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// Before when it is not accepted, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
}

/// `aud`: a text or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the variants are the two forms of RFC 7519")]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token says, after it was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The uid of the tenant that it was issued for.
    pub tenant: Uuid,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// When it ends, in seconds since 1970.
    pub(super) exp: u64,
}

/// Why a token is not accepted. Callers get no more than this, and logs never the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("send an access token as `Authorization: Bearer TOKEN`")]
    Missing,
    /// `Authorization` is not one `Bearer TOKEN`.
    #[error("the Authorization header must be one `Bearer TOKEN`")]
    Malformed,
    /// A token stands in the URL, where it ends up in logs.
    #[error("a token in the query string is not accepted; send it in the Authorization header")]
    InQuery,
    /// The token is too long, has not three parts or a header that is not allowed.
    #[error("the token is not an access token of this platform")]
    NotAccessToken,
    /// The signature does not hold, under any of our keys for the algorithm.
    #[error("the token's signature does not hold")]
    BadSignature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// A claim is missing, of a wrong type, or not for us.
    #[error("the token's claims do not hold")]
    BadClaims,
}

/// Keys that tokens cannot be trusted under.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None is set.
    #[error(
        "auth: set hs256Secret or ed25519PublicKey; without a key no token could be told from a forged one"
    )]
    NoKey,
    /// The secret is too short.
    #[error("auth.hs256Secret needs at least {MIN_SECRET_BYTES} bytes of random text")]
    WeakSecret,
    /// A file cannot be read.
    #[error("reading {setting}")]
    File {
        /// The setting that names the file.
        setting: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not an Ed25519 key in PEM.
    #[error("{setting} is not an Ed25519 key in PEM")]
    Pem {
        /// The setting that names the file.
        setting: &'static str,
        /// Why.
        source: jsonwebtoken::errors::Error,
    },
    /// Only a public key is set, and a token is to be issued.
    #[error("auth: set hs256Secret or ed25519PrivateKey to issue tokens")]
    CannotIssue,
    /// The token could not be signed.
    #[error("signing the token")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// The header of a token, as far as it decides something. Duplicate members are refused by the derive.
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    typ: String,
    /// What these would change about the token's meaning, we do not do.
    crit: Option<serde::de::IgnoredAny>,
    b64: Option<serde::de::IgnoredAny>,
    zip: Option<serde::de::IgnoredAny>,
    enc: Option<serde::de::IgnoredAny>,
}

struct Key {
    name: &'static str,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Verifies access tokens.
pub struct Tokens {
    keys: Vec<Key>,
    issuer: String,
    audience: String,
    cache: VerifiedCache,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// When there is no key, or one that cannot be trusted.
    pub fn load(settings: &settings::Auth) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        if let Some(secret) = &settings.hs256_secret {
            let decoding = DecodingKey::from_secret(strong(secret)?);
            keys.push(Key { name: "HS256", algorithm: Algorithm::HS256, decoding });
        }
        if let Some(path) = &settings.ed25519_public_key {
            let setting = "auth.ed25519PublicKey";
            let decoding = DecodingKey::from_ed_pem(&read(setting, path)?)
                .map_err(|source| KeyError::Pem { setting, source })?;
            keys.push(Key { name: "EdDSA", algorithm: Algorithm::EdDSA, decoding });
        }
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        Ok(Self {
            keys,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            cache: VerifiedCache::default(),
        })
    }

    /// What `token` says, if it can be trusted.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, token: &str) -> Result<Verified, Refused> {
        let now = unix_now();
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refused::NotAccessToken);
        }
        if let Some(known) = self.cache.get(token, now) {
            return Ok(known);
        }
        let verified = self.check(token, now)?;
        self.cache.put(token, &verified, now);
        Ok(verified)
    }

    fn check(&self, token: &str, now: u64) -> Result<Verified, Refused> {
        let header = token.split('.').next().unwrap_or_default();
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Refused::NotAccessToken)?;
        let header: TokenHeader = serde_json::from_slice(&header).map_err(|_| Refused::NotAccessToken)?;
        let extended =
            header.crit.is_some() || header.b64.is_some() || header.zip.is_some() || header.enc.is_some();
        if extended || !header.typ.eq_ignore_ascii_case(TOKEN_TYPE) {
            return Err(Refused::NotAccessToken);
        }
        let key = self.keys.iter().find(|key| key.name == header.alg).ok_or(Refused::NotAccessToken)?;
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.leeway = LEEWAY_SECONDS;
        // Off by default in the library.
        validation.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|error| {
                use jsonwebtoken::errors::ErrorKind;
                match error.kind() {
                    ErrorKind::InvalidSignature => Refused::BadSignature,
                    ErrorKind::ExpiredSignature => Refused::Expired,
                    ErrorKind::InvalidToken | ErrorKind::Base64(_) => Refused::NotAccessToken,
                    _ => Refused::BadClaims,
                }
            })?
            .claims;
        let too_long = claims.exp.saturating_sub(now) > MAX_LIFETIME.as_secs() + LEEWAY_SECONDS;
        let from_the_future = claims.iat > now + LEEWAY_SECONDS;
        let users = 1..=MAX_USER_CHARS;
        let unfit_user =
            !users.contains(&claims.sub.chars().count()) || claims.sub.chars().any(char::is_control);
        if too_long || from_the_future || unfit_user || claims.roles.len() > MAX_ROLES {
            return Err(Refused::BadClaims);
        }
        let caller = Arc::new(Caller::new(&claims.sub, &claims.roles).with_claims(claims.claims));
        Ok(Verified { tenant: claims.tid, caller, exp: claims.exp })
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        f.debug_struct("Tokens").field("keys", &keys).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Whom a token is issued for.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The tenant's uid.
    pub tenant: Uuid,
    /// The user's id.
    pub user: String,
    /// `admin`, or `{app}:{role}`.
    pub roles: Vec<String>,
    /// How long it lives, at most [`MAX_LIFETIME`].
    pub lifetime: Duration,
}

/// Issues an access token, with the Ed25519 key if there is one.
///
/// # Errors
/// When there is no key to sign with.
pub fn issue(settings: &settings::Auth, grant: Grant) -> Result<String, KeyError> {
    let now = unix_now();
    let claims = Claims {
        iss: settings.issuer.clone(),
        aud: Audience::One(settings.audience.clone()),
        sub: grant.user,
        tid: grant.tenant,
        roles: grant.roles,
        claims: Map::new(),
        exp: now + grant.lifetime.as_secs(),
        iat: now,
        nbf: None,
    };
    let (algorithm, key) = match (&settings.ed25519_private_key, &settings.hs256_secret) {
        (Some(path), _) => {
            let setting = "auth.ed25519PrivateKey";
            let key = EncodingKey::from_ed_pem(&read(setting, path)?)
                .map_err(|source| KeyError::Pem { setting, source })?;
            (Algorithm::EdDSA, key)
        }
        (None, Some(secret)) => (Algorithm::HS256, EncodingKey::from_secret(strong(secret)?)),
        (None, None) => return Err(KeyError::CannotIssue),
    };
    let header = Header { typ: Some(TOKEN_TYPE.to_owned()), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims, &key).map_err(KeyError::Signing)
}

fn strong(secret: &SecretString) -> Result<&[u8], KeyError> {
    let bytes = secret.expose_secret().as_bytes();
    if bytes.len() < MIN_SECRET_BYTES { Err(KeyError::WeakSecret) } else { Ok(bytes) }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|source| KeyError::File { setting, source })
}

pub(super) fn unix_now() -> u64 {
    // A clock before 1970 accepts nothing as issued yet.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
