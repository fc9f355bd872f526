//! Passwords: made here, kept in a Secret and nowhere else.

use rand::TryRng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// A new password of 256 random bits, in letters and digits only: it needs no escaping in a URL.
///
/// # Errors
/// When the system has no randomness.
pub fn generate() -> Result<SecretString, Error> {
    let mut bytes = [0_u8; 32];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(Error::data("asking the system for random bytes"))?;
    Ok(SecretString::from(hex(&bytes)))
}

/// What the registry keeps: enough to know the password again, and not to find it.
pub fn digest(password: &SecretString) -> String {
    hex(&Sha256::digest(password.expose_secret().as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.expose_secret().len(), 64);
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_ne!(digest(&one), digest(&two));
        assert_eq!(digest(&one), digest(&SecretString::from(one.expose_secret())));
    }
}
