//! The logins of the platform: their names, and passwords that need no store.
//!
//! A password is HMAC-SHA256 of the login's name under a key that comes from a Secret. Both programs can compute it, a
//! crash can lose nothing, and a new key is a new password for every login. Provisioners and traffic have keys of their own,
//! so that the control plane cannot become a provisioner.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tenantry_crds::names::{InstanceName, TrafficLogin};

/// Owner of schema `tenantry`; bootstraps the other logins.
pub const OPERATOR: &str = "tenantry_operator";
/// The control plane's login for all that is the same for every tenant.
pub const CONTROL_PLANE: &str = "tenantry_controlplane";
/// The group of the tenants' DML roles.
pub const TENANTS: &str = "tenantry_tenants";
/// The group of the logins that are one tenant's alone, migrators and traffic: what they need to connect.
pub const MIGRATORS: &str = "tenantry_migrators";
/// The group of the roles of direct access.
pub const ACCESS: &str = "tenantry_access";
/// The group of the provisioner logins.
pub const PROVISIONERS: &str = "tenantry_provisioners";

const PROVISIONER_PREFIX: &str = "tenantry_provisioner_";

/// A slice of the fleet whose roles hang on the same two logins. Every GRANT makes a session recompute the closure of its
/// login's memberships, so a login must not hold many tenants' roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginShard(i16);

impl LoginShard {
    /// Tenants above which a new shard is opened.
    pub const CAPACITY: usize = 150;

    /// The shard with this number.
    pub const fn new(number: i16) -> Self {
        Self(number)
    }

    /// The number, as the registry has it.
    pub const fn number(self) -> i16 {
        self.0
    }

    /// The shard for one more tenant, given how many each shard has (in the order of the shards): the first with room,
    /// else a new one.
    pub fn with_room(tenants: &[usize]) -> Self {
        let number = tenants.iter().position(|n| *n < Self::CAPACITY).unwrap_or(tenants.len());
        Self(i16::try_from(number).unwrap_or(i16::MAX))
    }

    /// The login that provisions this shard's tenants.
    pub fn provisioner(self) -> LoginName {
        LoginName(format!("{PROVISIONER_PREFIX}{:02}", self.0))
    }

    /// The shard whose provisioner has this name.
    pub fn of_provisioner(login: &str) -> Option<Self> {
        let shard = Self(login.strip_prefix(PROVISIONER_PREFIX)?.parse().ok()?);
        (shard.provisioner().as_str() == login).then_some(shard)
    }

    /// The login that serves this shard's tenants.
    pub fn traffic(self) -> LoginName {
        LoginName(format!("tenantry_shard_{:02}", self.0))
    }
}

/// The name of a login.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginName(String);

impl LoginName {
    /// [`CONTROL_PLANE`].
    pub fn control_plane() -> Self {
        Self(CONTROL_PLANE.to_owned())
    }

    /// The login that serves one tenant alone. Its password derives as those of the other logins, so a replica can log in before
    /// it has heard that it is to.
    pub fn of_tenant(login: &TrafficLogin) -> Self {
        Self(login.as_str().to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key from which passwords derive.
#[derive(Debug, Clone)]
pub struct LoginKey(SecretString);

/// A key that is too short to derive passwords from.
#[derive(Debug, thiserror::Error)]
#[error("a login key needs at least {} characters of random text", LoginKey::MIN_LEN)]
pub struct WeakKey;

impl LoginKey {
    /// The shortest key taken, in bytes.
    pub const MIN_LEN: usize = 32;

    /// Takes a key.
    ///
    /// # Errors
    /// When it is shorter than [`Self::MIN_LEN`].
    pub fn new(key: SecretString) -> Result<Self, WeakKey> {
        if key.expose_secret().len() < Self::MIN_LEN { Err(WeakKey) } else { Ok(Self(key)) }
    }

    /// The key for a Postgres instance: logins have the same names in all of them, and what leaks from one must not open
    /// another. The default instance has the key itself.
    pub fn of_instance(&self, instance: &InstanceName) -> Self {
        if *instance == InstanceName::default() {
            self.clone()
        } else {
            Self(self.derive(&format!("instance {instance}")))
        }
    }

    /// The password of `login`.
    pub fn password(&self, login: &LoginName) -> SecretString {
        self.derive(login.as_str())
    }

    fn derive(&self, text: &str) -> SecretString {
        // HMAC takes a key of any length, so there is no error to report.
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .map(|mac| mac.chain_update(text.as_bytes()).finalize().into_bytes());
        SecretString::from(mac.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_by_login_and_by_key() {
        let key = |text: &str| LoginKey::new(SecretString::from(text.repeat(32))).unwrap();
        let (zero, one) = (LoginShard::new(0).traffic(), LoginShard::new(1).traffic());
        let password = |key: &LoginKey, login| key.password(login).expose_secret().to_owned();
        assert_eq!(password(&key("a"), &zero), password(&key("a"), &zero));
        assert_ne!(password(&key("a"), &zero), password(&key("a"), &one));
        assert_ne!(password(&key("a"), &zero), password(&key("b"), &zero));
        assert!(!password(&key("a"), &zero).is_empty());
    }

    #[test]
    fn an_instance_has_passwords_of_its_own() {
        let key = LoginKey::new(SecretString::from("a".repeat(32))).unwrap();
        let of = |instance: &str| {
            let key = key.of_instance(&InstanceName::new(instance).unwrap());
            key.password(&LoginShard::new(0).traffic()).expose_secret().to_owned()
        };
        assert_eq!(of("default"), key.password(&LoginShard::new(0).traffic()).expose_secret());
        assert!(of("east") != of("default") && of("east") != of("west"));
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(LoginKey::new(SecretString::from("short")).is_err());
    }

    #[test]
    fn a_provisioner_tells_its_shard() {
        let shard = LoginShard::new(112);
        assert_eq!(LoginShard::of_provisioner(shard.provisioner().as_str()), Some(shard));
        assert_eq!(LoginShard::of_provisioner(shard.traffic().as_str()), None);
        assert_eq!(LoginShard::of_provisioner("tenantry_provisioner_+1"), None);
    }

    #[test]
    fn shards_fill_up_in_order() {
        assert_eq!(LoginShard::with_room(&[]), LoginShard::new(0));
        assert_eq!(LoginShard::with_room(&[LoginShard::CAPACITY, 3]), LoginShard::new(1));
        assert_eq!(LoginShard::with_room(&[LoginShard::CAPACITY]), LoginShard::new(1));
        assert_eq!(LoginShard::with_room(&[LoginShard::CAPACITY - 1, 0]), LoginShard::new(0));
    }
}
