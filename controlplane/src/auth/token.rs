//! Which tokens are accepted, and how one is issued.
//!
//! An access token is a JWT with `typ: at+jwt`, signed with ES256, EdDSA or HS256. The algorithm decides nothing: each key has
//! one algorithm, and a token is checked with the keys of the algorithm that it names, and with the one key that it names.
//!
//! - [`keys`]: the keys, and what is published of them

mod keys;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::Validation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tenantry_config::settings;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::keys::KeySet;
use super::{
    cache::{Known, VerifiedCache},
    caller::{Caller, Proof},
    id::UserId,
};
use crate::error::Chain;

/// The longest token read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest that a token may live: a stolen one has an end.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The shortest secret for HS256, in bytes: shorter ones can be guessed from one token.
pub const MIN_SECRET_BYTES: usize = 32;

const TOKEN_TYPE: &str = "at+jwt";
const LEEWAY_SECONDS: u64 = 5;
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
    /// The session, for tokens of users who signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// The version of the user's document that `roles` and `claims` are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ver: Option<i64>,
    /// `aal2` for a session with a second factor, else `aal1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aal: Option<String>,
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
    /// What the token rests on.
    pub proof: Proof,
    /// When it ends, in seconds since 1970.
    pub(super) exp: u64,
}

impl Known for Verified {
    fn end(&self) -> u64 {
        self.exp
    }
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
    /// The user signed out, or somebody ended the session.
    #[error("the session has ended; sign in again")]
    SessionEnded,
    /// The user is gone or was disabled.
    #[error("the user may not sign in any more")]
    UserGone,
    /// Not an API key, or one that is gone, has expired, or may not be used from here.
    #[error("the API key is not accepted")]
    BadKey,
}

/// Keys that tokens cannot be trusted under.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None is set.
    #[error(
        "auth: set keysFolder, hs256Secret or ed25519PublicKey; without a key no token could be told from a forged one"
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
    /// A key of the folder.
    #[error(
        "auth.keysFolder: {0}.pem is not a P-256 or Ed25519 key in PEM of at most 16 KiB, or there are more than 16 keys"
    )]
    Unusable(String),
    /// Several keys could sign.
    #[error("auth.keysFolder: several private keys; name the one that signs in a file `active`")]
    NoActive,
    /// The key that secrets derive from is too short.
    #[error(
        "auth.key, auth.previousKey and database.trafficKey need at least {MIN_SECRET_BYTES} bytes of random text"
    )]
    ShortKey,
    /// The published keys could not be written.
    #[error("publishing the keys")]
    Jwks(#[source] serde_json::Error),
    /// Only a public key is set, and a token is to be issued.
    #[error("auth: set keysFolder, hs256Secret or ed25519PrivateKey to issue tokens")]
    CannotIssue,
    /// A token for another audience was to be for us.
    #[error("what a token is exchanged for is never a token for the platform itself")]
    OwnAudience,
    /// The token could not be signed.
    #[error("signing the token")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// The header of a token, as far as it decides something. Duplicate members are refused by the derive.
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    typ: String,
    kid: Option<String>,
    /// What these would change about the token's meaning, we do not do.
    crit: Option<serde::de::IgnoredAny>,
    b64: Option<serde::de::IgnoredAny>,
    zip: Option<serde::de::IgnoredAny>,
    enc: Option<serde::de::IgnoredAny>,
}

/// Between two looks at the folder of keys.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Verifies and issues access tokens.
pub struct Tokens {
    keys: ArcSwap<KeySet>,
    issuer: String,
    audience: String,
    cache: VerifiedCache<Verified>,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// When there is no key, or one that cannot be trusted.
    pub fn load(settings: &settings::Auth) -> Result<Self, KeyError> {
        Ok(Self {
            keys: ArcSwap::from_pointee(KeySet::load(settings)?),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            cache: VerifiedCache::default(),
        })
    }

    /// Takes changes of the folder of keys over until `shutdown`. Keys that cannot be used leave the ones before in use.
    pub async fn follow(&self, settings: &settings::Auth, shutdown: &CancellationToken) {
        if settings.keys_folder.is_none() {
            return;
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            match self.reload(settings) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(keys = ?self.keys.load().names(), "the keys of tokens have changed");
                }
                Err(error) => {
                    tracing::error!(cause = %Chain(&error), "the new keys of tokens cannot be used");
                }
            }
        }
    }

    /// Whether there were other keys to take over.
    fn reload(&self, settings: &settings::Auth) -> Result<bool, KeyError> {
        let set = KeySet::load(settings)?;
        if set.is_same(&self.keys.load()) {
            return Ok(false);
        }
        self.keys.store(Arc::new(set));
        // Of a key that is gone, no token may be accepted a moment longer.
        self.cache.clear();
        Ok(true)
    }

    /// The published keys, as a JWK Set.
    pub fn jwks(&self) -> Bytes {
        self.keys.load().jwks().clone()
    }

    /// The `iss` of our tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether tokens for `audience` are for us.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        self.audience == audience
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

    /// From now on, this is what is known of `token`.
    pub(super) fn remember(&self, token: &str, verified: &Verified) {
        self.cache.put(token, verified, unix_now());
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
        let keys = self.keys.load();
        let mut refused = Refused::NotAccessToken;
        for key in keys.candidates(&header.alg, header.kid.as_deref()) {
            let mut validation = Validation::new(key.algorithm);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            validation.set_issuer(&[&self.issuer]);
            validation.set_audience(&[&self.audience]);
            validation.leeway = LEEWAY_SECONDS;
            // Off by default in the library.
            validation.validate_nbf = true;
            match jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation) {
                Ok(data) => return accept(data.claims, now),
                Err(error) => refused = why(&error),
            }
            if refused != Refused::BadSignature {
                break;
            }
        }
        Err(refused)
    }

    /// Issues an access token, with the key that signs at present.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub fn issue(&self, grant: Grant) -> Result<String, KeyError> {
        self.signed(grant, self.audience.clone())
    }

    /// The same for another audience. We ourselves do not accept such a token.
    ///
    /// # Errors
    /// When there is no key to sign with, or the audience are we.
    pub fn issue_for(&self, grant: Grant, audience: String) -> Result<String, KeyError> {
        if self.is_for(&audience) {
            return Err(KeyError::OwnAudience);
        }
        self.signed(grant, audience)
    }

    fn signed(&self, grant: Grant, audience: String) -> Result<String, KeyError> {
        let now = unix_now();
        let aal = grant.proof.session.map(|_| if grant.proof.second_factor { "aal2" } else { "aal1" });
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: Audience::One(audience),
            sub: grant.user,
            tid: grant.tenant,
            roles: grant.roles,
            exp: now + grant.lifetime.as_secs(),
            iat: now,
            nbf: None,
            sid: grant.proof.session,
            ver: grant.proof.version,
            aal: aal.map(str::to_owned),
            claims: grant.claims,
        };
        self.sign(TOKEN_TYPE, &claims)
    }

    /// Signs `claims` as a token of type `typ`.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, KeyError> {
        let keys = self.keys.load();
        let signer = keys.signer().ok_or(KeyError::CannotIssue)?;
        signer.sign(typ, claims).map_err(KeyError::Signing)
    }
}

pub(super) fn why(error: &jsonwebtoken::errors::Error) -> Refused {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => Refused::BadSignature,
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::InvalidToken | ErrorKind::Base64(_) => Refused::NotAccessToken,
        _ => Refused::BadClaims,
    }
}

fn accept(claims: Claims, now: u64) -> Result<Verified, Refused> {
    let too_long = claims.exp.saturating_sub(now) > MAX_LIFETIME.as_secs() + LEEWAY_SECONDS;
    let from_the_future = claims.iat > now + LEEWAY_SECONDS;
    if too_long || from_the_future || claims.roles.len() > MAX_ROLES {
        return Err(Refused::BadClaims);
    }
    let user = UserId::of_token(&claims.sub).ok_or(Refused::BadClaims)?;
    let proof = Proof {
        user: user.own(),
        session: claims.sid,
        version: claims.ver,
        second_factor: claims.aal.as_deref() == Some("aal2"),
        ..Proof::default()
    };
    let caller = Arc::new(Caller::new(&user.to_string(), &claims.roles).with_claims(claims.claims));
    Ok(Verified { tenant: claims.tid, caller, proof, exp: claims.exp })
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.keys.load();
        f.debug_struct("Tokens")
            .field("keys", &keys.names())
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
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
    /// What else is said of the user.
    pub claims: Map<String, Value>,
    /// What the token rests on.
    pub proof: Proof,
    /// How long it lives, at most [`MAX_LIFETIME`].
    pub lifetime: Duration,
}

/// Issues an access token that rests on nothing but the operator's word.
///
/// # Errors
/// When there is no key to sign with.
pub fn issue(settings: &settings::Auth, grant: Grant) -> Result<String, KeyError> {
    Tokens::load(settings)?.issue(grant)
}

pub(super) fn unix_now() -> u64 {
    // A clock before 1970 accepts nothing as issued yet.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
