//! What can be wrong with keys and with what they sealed. Nothing in it is secret.

use std::path::PathBuf;

use crate::KeyId;

/// Why a keyring cannot be had, or does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The directory or a file in it cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A name that no key can have.
    #[error(
        "{0:?} is no name of a key: use up to 32 lower-case letters, digits and hyphens, a letter or a digit first"
    )]
    BadName(String),
    /// A key that is none.
    #[error("key {0} is not 32 bytes in base64: make one with `openssl rand -base64 32`")]
    BadKey(KeyId),
    /// The same key under two names.
    #[error("keys {0} and {1} are the same: a new name needs a new key")]
    SameKey(KeyId, KeyId),
    /// The key that is to seal is not there.
    #[error("the primary key {0} is not among the keys of the ring")]
    NoPrimary(KeyId),
    /// What is asked to be opened is no sealed value.
    #[error("the value is not sealed")]
    NotSealed,
    /// A value under a key that the ring does not hold.
    #[error("the value is sealed under key {0}, which the keyring does not hold: put the key back")]
    UnknownKey(KeyId),
    /// A value that does not open where it is.
    #[error("the value does not open under key {0}: it was changed, or belongs elsewhere")]
    Refused(KeyId),
    /// The cipher or the system's source of randomness failed.
    #[error("the value cannot be sealed")]
    Sealing,
}
