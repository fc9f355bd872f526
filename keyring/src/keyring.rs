//! The keys, and what is done with them.

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::{
    Context, KeyId,
    aead::{self, KEY_BYTES, OneKey, Refused},
    error::KeyringError,
    key::Key,
    sealed::{SALT_BYTES, Sealed},
};

const ENVELOPE: &[u8] = b"tenantry keyring 1 data key";
const VALUE: &[u8] = b"tenantry keyring 1 value";

/// Keys that values are sealed under. One of them, the primary, seals; all open.
pub struct Keyring {
    /// The primary first.
    keys: Vec<Key>,
    random: SystemRandom,
}

impl Keyring {
    /// The ring of these keys, each with its name and what its file holds.
    ///
    /// # Errors
    /// When one is not a key, two are the same, or the primary is not among them.
    pub fn new<'a>(
        primary: &str,
        keys: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, KeyringError> {
        let primary = KeyId::new(primary)?;
        let mut all: Vec<Key> = Vec::new();
        for (name, text) in keys {
            let key = Key::parse(KeyId::new(name)?, text)?;
            if let Some(same) = all.iter().find(|other| other.is_the_same(&key)) {
                return Err(KeyringError::SameKey(same.id.clone(), key.id));
            }
            all.push(key);
        }
        match all.iter().position(|key| key.id == primary) {
            None => Err(KeyringError::NoPrimary(primary)),
            Some(place) => {
                all.swap(0, place);
                Ok(Self { keys: all, random: SystemRandom::new() })
            }
        }
    }

    /// The same ring with one more key that opens.
    ///
    /// # Errors
    /// When it is not a key, or is in the ring already.
    pub fn with(mut self, name: &str, text: &[u8]) -> Result<Self, KeyringError> {
        let key = Key::parse(KeyId::new(name)?, text)?;
        if let Some(same) = self.keys.iter().find(|other| other.id == key.id || other.is_the_same(&key)) {
            return Err(KeyringError::SameKey(same.id.clone(), key.id));
        }
        self.keys.push(key);
        Ok(self)
    }

    /// The names of the keys, the primary first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(|key| &key.id)
    }

    /// Seals `clear` for its place.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn seal(&self, context: &Context<'_>, clear: &str) -> Result<String, KeyringError> {
        let failed = |Refused| KeyringError::Sealing;
        let data_key: OneKey = Zeroizing::new(self.random()?);
        // Room for the tag: growing would leave a copy of the clear text behind.
        let mut value = Vec::with_capacity(clear.len() + aead::TAG_BYTES);
        value.extend_from_slice(clear.as_bytes());
        aead::seal_once(&data_key, &context.bytes(VALUE), &mut value).map_err(failed)?;
        self.enclose(context, &data_key, value)
    }

    /// Opens a value in its place.
    ///
    /// # Errors
    /// When it is not sealed, the key is missing, or it was changed or belongs elsewhere.
    pub fn open(&self, context: &Context<'_>, sealed: &str) -> Result<Zeroizing<String>, KeyringError> {
        let sealed = Sealed::parse(sealed)?;
        let data_key = self.disclose(context, &sealed)?;
        let refused = || KeyringError::Refused(sealed.key.clone());
        let mut value = Zeroizing::new(sealed.value);
        let length =
            aead::open_once(&data_key, &context.bytes(VALUE), &mut value).map_err(|Refused| refused())?;
        value.truncate(length);
        let text = std::str::from_utf8(&value).map_err(|_| refused())?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The same value under the primary key; nothing where it is already. Only the envelope is made anew, but the value is looked
    /// at as well: what does not open now is found now.
    ///
    /// # Errors
    /// When it does not open.
    pub fn renew(&self, context: &Context<'_>, sealed: &str) -> Result<Option<String>, KeyringError> {
        let parts = Sealed::parse(sealed)?;
        if self.keys.first().is_some_and(|primary| primary.id == parts.key) {
            return Ok(None);
        }
        self.open(context, sealed)?;
        let data_key = self.disclose(context, &parts)?;
        self.enclose(context, &data_key, parts.value).map(Some)
    }

    /// A value with its data key in an envelope of the primary key.
    fn enclose(
        &self,
        context: &Context<'_>,
        data_key: &OneKey,
        value: Vec<u8>,
    ) -> Result<String, KeyringError> {
        let failed = |Refused| KeyringError::Sealing;
        let primary = self.keys.first().ok_or(KeyringError::Sealing)?;
        let salt: [u8; SALT_BYTES] = self.random()?;
        let envelope_key = primary.of_envelope(&salt).map_err(failed)?;
        let mut envelope = Vec::with_capacity(KEY_BYTES + aead::TAG_BYTES);
        envelope.extend_from_slice(data_key.as_slice());
        aead::seal_once(&envelope_key, &context.bytes(ENVELOPE), &mut envelope).map_err(failed)?;
        Ok(Sealed { key: primary.id.clone(), salt: salt.into(), envelope, value }.text())
    }

    /// The data key of a value.
    fn disclose(&self, context: &Context<'_>, sealed: &Sealed) -> Result<OneKey, KeyringError> {
        let key = self.keys.iter().find(|key| key.id == sealed.key);
        let key = key.ok_or_else(|| KeyringError::UnknownKey(sealed.key.clone()))?;
        let refused = |Refused| KeyringError::Refused(sealed.key.clone());
        let envelope_key = key.of_envelope(&sealed.salt).map_err(refused)?;
        let mut envelope = Zeroizing::new(sealed.envelope.clone());
        let length =
            aead::open_once(&envelope_key, &context.bytes(ENVELOPE), &mut envelope).map_err(refused)?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        match envelope.get(..length).filter(|clear| clear.len() == KEY_BYTES) {
            Some(clear) => data_key.copy_from_slice(clear),
            None => return Err(refused(Refused)),
        }
        Ok(data_key)
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], KeyringError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|_| KeyringError::Sealing)?;
        Ok(bytes)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids().map(KeyId::as_str)).finish()
    }
}

#[cfg(test)]
mod tests;
