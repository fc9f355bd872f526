//! The form in which a value is stored: `tnc1:KEY:` and, in base64, a salt, the data key in its envelope, and the value.
//!
//! Which key a value needs stands before it, in the clear, so that SQL can count what is under which key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    KeyId,
    aead::{KEY_BYTES, TAG_BYTES},
    error::KeyringError,
};

/// What sealed values begin with. The number is the version of the form.
pub const PREFIX: &str = "tnc1:";

pub(crate) const SALT_BYTES: usize = 32;
pub(crate) const ENVELOPE_BYTES: usize = KEY_BYTES + TAG_BYTES;

/// The parts of a sealed value.
pub(crate) struct Sealed {
    pub key: KeyId,
    pub salt: Vec<u8>,
    pub envelope: Vec<u8>,
    pub value: Vec<u8>,
}

impl Sealed {
    pub(crate) fn parse(text: &str) -> Result<Self, KeyringError> {
        let parse = || {
            let (key, body) = text.strip_prefix(PREFIX)?.split_once(':')?;
            let key = KeyId::new(key).ok()?;
            let bytes = URL_SAFE_NO_PAD.decode(body).ok()?;
            let (salt, rest) = bytes.split_at_checked(SALT_BYTES)?;
            let (envelope, value) = rest.split_at_checked(ENVELOPE_BYTES)?;
            Some(Self { key, salt: salt.into(), envelope: envelope.into(), value: value.into() })
        };
        parse().ok_or(KeyringError::NotSealed)
    }

    pub(crate) fn text(&self) -> String {
        let body = [self.salt.as_slice(), &self.envelope, &self.value].concat();
        format!("{PREFIX}{}:{}", self.key, URL_SAFE_NO_PAD.encode(body))
    }
}

/// What values begin with that are sealed under `key`.
pub fn prefix_of(key: &KeyId) -> String {
    format!("{PREFIX}{key}:")
}
