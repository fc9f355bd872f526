//! Secrets that are handed out and never stored: refresh tokens, one-time tokens, and authenticators from before they were
//! sealed ([`crate::vault`]).
//!
//! Each is derived from the id of a row with a key that the database does not have. Whoever reads the database can use none of
//! them, and the same secret can be told again to a caller who may have it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tenantry_config::settings;
use uuid::Uuid;

use super::token::{KeyError, MIN_SECRET_BYTES};

/// What a secret is for. A secret for one thing opens no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To go on with a session.
    Refresh,
    /// To prove, once, that an e-mail arrived.
    OneTime,
    /// The secret of an authenticator.
    Authenticator,
    /// Digests of recovery codes.
    Recovery,
    /// Digests of accounts and addresses in the journal of attempts.
    Attempt,
    /// Digests of API keys.
    ApiKey,
    /// What requests to a webhook are signed with.
    Webhook,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Refresh => b"tenantry refresh token",
            Self::OneTime => b"tenantry one-time token",
            Self::Authenticator => b"tenantry authenticator",
            Self::Recovery => b"tenantry recovery code",
            Self::Attempt => b"tenantry attempt",
            Self::ApiKey => b"tenantry API key",
            Self::Webhook => b"tenantry webhook",
        }
    }

    /// What secrets of this kind begin with, for people and scanners.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Refresh => "tnr_",
            _ => "tno_",
        }
    }
}

/// What a secret names: a row and a count of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub id: Uuid,
    pub number: u32,
}

/// The key that secrets derive from.
pub struct SecretKey {
    current: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
}

const MAC_BYTES: usize = 24;

impl SecretKey {
    /// As the settings say.
    ///
    /// # Errors
    /// When a key is too short.
    pub fn new(auth: &settings::Auth, traffic_key: &SecretString) -> Result<Self, KeyError> {
        let keyed = |key: &SecretString, label: &[u8]| {
            let bytes = key.expose_secret().as_bytes();
            if bytes.len() < MIN_SECRET_BYTES {
                return Err(KeyError::ShortKey);
            }
            let key = Hmac::<Sha256>::new_from_slice(bytes).map_err(|_| KeyError::ShortKey)?;
            let derived = key.chain_update(label).finalize().into_bytes();
            Hmac::<Sha256>::new_from_slice(&derived).map_err(|_| KeyError::ShortKey)
        };
        // The traffic key opens logins; what is derived here must not be what is derived there.
        let label = b"tenantry secrets that are handed out";
        Ok(Self {
            current: keyed(auth.key.as_ref().unwrap_or(traffic_key), label)?,
            previous: auth.previous_key.as_ref().map(|key| keyed(key, label)).transpose()?,
        })
    }

    /// A value that only this key makes of `parts`.
    pub(super) fn derive(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        mac(&self.current, purpose, parts).finalize().into_bytes().into()
    }

    /// The values that this key and the one before it make.
    pub(super) fn candidates(&self, purpose: Purpose, parts: &[&[u8]]) -> Vec<[u8; 32]> {
        let keys = std::iter::once(&self.current).chain(&self.previous);
        keys.map(|key| mac(key, purpose, parts).finalize().into_bytes().into()).collect()
    }

    /// The secret for a row of a tenant.
    pub(super) fn seal(&self, purpose: Purpose, tenant: Uuid, named: Named) -> String {
        let head = head(named);
        let tag = self.derive(purpose, &[tenant.as_bytes(), &head]);
        let bytes = [head.as_slice(), &tag[..MAC_BYTES]].concat();
        format!("{}{}", purpose.prefix(), URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a secret names, if it is one of ours for this tenant. Nothing is looked up for one that is not.
    pub(super) fn open(&self, purpose: Purpose, tenant: Uuid, secret: &str) -> Option<Named> {
        let bytes = URL_SAFE_NO_PAD.decode(secret.strip_prefix(purpose.prefix())?).ok()?;
        let (head, tag) = bytes.split_at_checked(16 + 4)?;
        if tag.len() != MAC_BYTES {
            return None;
        }
        let parts: [&[u8]; 2] = [tenant.as_bytes(), head];
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.any(|key| mac(key, purpose, &parts).verify_truncated_left(tag).is_ok()).then_some(())?;
        let (id, number) = head.split_at_checked(16)?;
        Some(Named { id: Uuid::from_slice(id).ok()?, number: u32::from_be_bytes(number.try_into().ok()?) })
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").finish_non_exhaustive()
    }
}

fn head(named: Named) -> Vec<u8> {
    [named.id.as_bytes().as_slice(), &named.number.to_be_bytes()].concat()
}

/// Each part with its length before it, so that no two lists of parts are the same text.
fn mac(key: &Hmac<Sha256>, purpose: Purpose, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = key.clone().chain_update(purpose.label());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(current: &str, previous: Option<&str>) -> SecretKey {
        let settings = settings::Auth {
            key: Some(current.to_owned().into()),
            previous_key: previous.map(|key| key.to_owned().into()),
            ..settings::Auth::default()
        };
        SecretKey::new(&settings, &"unused".to_owned().into()).unwrap()
    }

    const FIRST: &str = "the first key of at least 32 bytes";
    const SECOND: &str = "the second key of at least 32 bytes";
    const NAMED: Named = Named { id: Uuid::from_u128(5), number: 7 };

    #[test]
    fn a_secret_opens_for_its_purpose_and_tenant_only() {
        let key = key(FIRST, None);
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let secret = key.seal(Purpose::Refresh, mine, NAMED);
        assert_eq!(key.open(Purpose::Refresh, mine, &secret), Some(NAMED));
        assert_eq!(key.open(Purpose::Refresh, other, &secret), None);
        assert_eq!(key.open(Purpose::OneTime, mine, &secret), None);
        let renamed = secret.replacen("tnr_", "tno_", 1);
        assert_eq!(key.open(Purpose::OneTime, mine, &renamed), None);
        for n in 0..secret.len() {
            let mut changed = secret.clone().into_bytes();
            changed[n] = if changed[n] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(key.open(Purpose::Refresh, mine, &changed), None, "at {n}");
        }
        for cut in ["", "tnr_", &secret[..20], &secret[..secret.len() - 1]] {
            assert_eq!(key.open(Purpose::Refresh, mine, cut), None);
        }
    }

    #[test]
    fn the_key_before_is_accepted_and_not_used() {
        let tenant = Uuid::from_u128(1);
        let old = key(FIRST, None).seal(Purpose::Refresh, tenant, NAMED);
        let rotated = key(SECOND, Some(FIRST));
        assert_eq!(rotated.open(Purpose::Refresh, tenant, &old), Some(NAMED));
        let new = rotated.seal(Purpose::Refresh, tenant, NAMED);
        assert_ne!(new, old);
        assert_eq!(key(SECOND, None).open(Purpose::Refresh, tenant, &old), None);
    }

    #[test]
    fn a_short_key_is_refused() {
        let short = settings::Auth { key: Some("short".to_owned().into()), ..settings::Auth::default() };
        assert!(matches!(SecretKey::new(&short, &FIRST.to_owned().into()), Err(KeyError::ShortKey)));
    }
}
