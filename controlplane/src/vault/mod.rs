//! What is stored sealed: `Secret` fields of documents, and the secrets of authenticators.
//!
//! - [`Vault`]: the keys, as the settings name them
//! - [`Safe`]: the same for one tenant; nothing that it seals opens for another
//! - [`Place`]: what a sealed value may be
//!
//! Without `keyring` in the settings there is a key that derives from `auth.key`: nothing is ever stored in the clear. With one, that
//! key opens what it sealed before, and so does the one that derives from `auth.previousKey`.

mod place;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tenantry_config::settings;
use tenantry_keyring::{Context, KeyId, Keyring, KeyringError, Zeroizing, sealed};
use uuid::Uuid;

use crate::error::{ApiError, Code};
pub use place::Place;

/// What tenants' secrets are sealed with.
#[derive(Debug)]
pub struct Vault {
    keyring: Keyring,
    digests: Hmac<Sha256>,
}

impl Vault {
    /// As the settings say.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn new(settings: &settings::ControlPlane) -> Result<Self, KeyringError> {
        let auth = &settings.auth;
        let current = auth.key.as_ref().unwrap_or(&settings.database.traffic_key);
        Self::with(settings.keyring.as_ref(), current, auth.previous_key.as_ref())
    }

    fn with(
        keyring: Option<&settings::Keyring>,
        current: &SecretString,
        previous: Option<&SecretString>,
    ) -> Result<Self, KeyringError> {
        let (name, text) = derived(current)?;
        let mut keyring = match keyring {
            Some(keys) => Keyring::read(&keys.folder, &keys.primary)?.with(&name, text.as_bytes())?,
            None => Keyring::new(&name, [(name.as_str(), text.as_bytes())])?,
        };
        if let Some((name, text)) = previous.map(derived).transpose()?.filter(|(other, _)| *other != name) {
            keyring = keyring.with(&name, text.as_bytes())?;
        }
        tracing::info!(keys = ?keyring, "secrets are sealed under the first of these keys");
        let digests = mac(derive(current, b"tenantry digests of secrets")?.as_slice())?;
        Ok(Self { keyring, digests })
    }

    /// The secrets of the tenant whose data is of this origin.
    pub fn of(&self, origin: Uuid) -> Safe<'_> {
        Safe { vault: self, origin }
    }

    /// The key that seals.
    pub fn primary(&self) -> Option<&KeyId> {
        self.keyring.ids().next()
    }

    /// The names of all keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keyring.ids().map(KeyId::as_str)
    }

    /// A digest that tells nothing of what it is of, however few values that could have: it needs a key.
    pub fn digest(&self, parts: &[&[u8]]) -> String {
        let mut mac = self.digests.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// One whose keys derive from these, for tests.
    #[cfg(test)]
    pub fn of_keys(current: &str, previous: Option<&str>) -> Self {
        Self::with(None, &current.into(), previous.map(SecretString::from).as_ref()).unwrap()
    }
}

/// The key of the ring that derives from a key of the settings. By its name it is told apart from the one of another: one that is
/// missing is never taken for this.
fn derived(key: &SecretString) -> Result<(String, Zeroizing<String>), KeyringError> {
    let bytes = derive(key, b"tenantry keyring")?;
    let digest = Sha256::digest(*bytes);
    let name = digest.iter().take(4).fold("derived-".to_owned(), |name, byte| format!("{name}{byte:02x}"));
    Ok((name, Zeroizing::new(STANDARD.encode(*bytes))))
}

fn derive(key: &SecretString, label: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
    let mac = mac(key.expose_secret().as_bytes())?.chain_update(label);
    Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
}

/// HMAC takes keys of any length.
fn mac(key: &[u8]) -> Result<Hmac<Sha256>, KeyringError> {
    Hmac::new_from_slice(key).map_err(|_| KeyringError::Sealing)
}

/// The secrets of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Safe<'a> {
    vault: &'a Vault,
    origin: Uuid,
}

impl Safe<'_> {
    /// Seals a value for its place.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn seal(self, place: &Place<'_>, clear: &str) -> Result<String, KeyringError> {
        place.within(self.origin, |context| self.vault.keyring.seal(context, clear))
    }

    /// Opens a value in its place.
    ///
    /// # Errors
    /// When it is not sealed, its key is missing, or it belongs elsewhere. There is no value then, not an empty one.
    pub fn open(self, place: &Place<'_>, sealed: &str) -> Result<Zeroizing<String>, KeyringError> {
        place.within(self.origin, |context| self.vault.keyring.open(context, sealed))
    }

    /// What is to be stored in the place of `stored`, if that is in the clear or under another key than the primary one.
    ///
    /// # Errors
    /// When it does not open.
    pub fn renew(self, place: &Place<'_>, stored: &str) -> Result<Option<String>, KeyringError> {
        let renew = |context: &Context<'_>| match self.vault.keyring.renew(context, stored) {
            // What looks sealed and is not, was damaged: sealing that would make it look whole.
            Err(KeyringError::NotSealed) if !stored.starts_with(sealed::PREFIX) => {
                self.vault.keyring.seal(context, stored).map(Some)
            }
            renewed => renewed,
        };
        place.within(self.origin, renew)
    }
}

impl From<KeyringError> for ApiError {
    fn from(error: KeyringError) -> Self {
        match error {
            // What an administrator of the platform has to do, and nothing that is secret.
            KeyringError::UnknownKey(_) => {
                Self::new(Code::Unavailable, format!("a secret of this tenant cannot be read: {error}"))
                    .caused_by(error)
            }
            error => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests;
