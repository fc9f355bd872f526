//! Keys and their names.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    aead::{self, KEY_BYTES, OneKey, Refused},
    error::KeyringError,
};

/// The name of a key, which stands before each value that it seals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    const MAX: usize = 32;

    /// Reads a name.
    ///
    /// # Errors
    /// When it has another form than names have.
    pub fn new(name: &str) -> Result<Self, KeyringError> {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if plain && !name.is_empty() && !name.starts_with('-') && name.len() <= Self::MAX {
            Ok(Self(name.to_owned()))
        } else {
            Err(KeyringError::BadName(name.chars().take(2 * Self::MAX).collect()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key of the ring. It enters no cipher itself: each envelope has a key that derives from it.
pub(crate) struct Key {
    pub id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl Key {
    /// Reads what a key file holds.
    pub(crate) fn parse(id: KeyId, text: &[u8]) -> Result<Self, KeyringError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let decoded = STANDARD.decode(text.trim_ascii()).map(Zeroizing::new);
        match decoded {
            // Nobody draws a key of one byte over and over.
            Ok(all) if all.len() == KEY_BYTES && all.windows(2).any(|pair| pair[0] != pair[1]) => {
                bytes.copy_from_slice(&all);
                Ok(Self { id, bytes })
            }
            _ => Err(KeyringError::BadKey(id)),
        }
    }

    /// The key of the envelope with this salt.
    pub(crate) fn of_envelope(&self, salt: &[u8]) -> Result<OneKey, Refused> {
        aead::derive(&self.bytes, salt, b"tenantry keyring 1 envelope")
    }

    pub(crate) fn is_the_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form() {
        for right in ["a", "2026-11", "0", &"k".repeat(32)] {
            assert_eq!(KeyId::new(right).unwrap().as_str(), right);
        }
        for wrong in ["", "-a", "A", "a:b", "a.b", "a b", "ä", "..data", &"k".repeat(33)] {
            assert!(matches!(KeyId::new(wrong), Err(KeyringError::BadName(_))), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        let id = || KeyId::new("a").unwrap();
        let right = STANDARD.encode(std::array::from_fn::<u8, 32, _>(|n| n as u8));
        assert!(Key::parse(id(), right.as_bytes()).is_ok());
        assert!(Key::parse(id(), format!("{right}\n").as_bytes()).is_ok());
        for wrong in
            ["", "short", &right[..40], &STANDARD.encode([7; 32]), &STANDARD.encode([1, 2].repeat(32))]
        {
            let refused = Key::parse(id(), wrong.as_bytes()).err().unwrap().to_string();
            assert!(refused.contains("openssl rand -base64 32"), "{refused}");
            assert!(wrong.is_empty() || !refused.contains(wrong), "a key is never told");
        }
    }
}
