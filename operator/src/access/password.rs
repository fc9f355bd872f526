//! Passwords are kept in a Secret and nowhere else.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What the registry keeps: enough to know the password again, and not to find it.
pub fn digest(password: &SecretString) -> String {
    let digest = Sha256::digest(password.expose_secret().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::postgres::migrator::new_password;

    #[test]
    fn a_digest_tells_passwords_apart() {
        let (one, two) = (new_password(), new_password());
        assert_ne!(digest(&one), digest(&two));
        assert_eq!(digest(&one), digest(&SecretString::from(one.expose_secret())));
        assert_eq!(digest(&one).len(), 64);
    }
}
