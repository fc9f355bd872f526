//! Names of the roles, users and keys of direct access.
//!
//! They hold a digest of tenant and access, since both names together are longer than Postgres keeps. 128 bits of SHA-256 do
//! not meet by chance; what bears such a name without our mark is refused all the same.

use sha2::{Digest, Sha256};

use super::{AccessName, POSTGRES_IDENTIFIER_MAX, TenantName, backend::derived_name};

derived_name!(
    /// The NOLOGIN role that has the rights of an access. No tenant's role begins like it.
    AccessRole
);
derived_name!(
    /// A login of an access in Postgres, and its user in Redis: the role's name and the slot.
    AccessLogin
);
derived_name!(
    /// The uid of a search key: a UUID, as the engine wants it.
    SearchKeyUid
);

/// The logins of an access take turns, so that the old one still works while the new one is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Of odd serial numbers.
    A,
    /// Of even serial numbers.
    B,
}

impl Slot {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The slot of the credentials with this serial number, the first being 1.
    pub const fn of(serial: i64) -> Self {
        if serial % 2 == 0 { Self::B } else { Self::A }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::A => "_a",
            Self::B => "_b",
        }
    }
}

const DIGEST_HEX: usize = 32;

impl AccessRole {
    const PREFIX: &str = "access_";

    /// The role of an access. `/` is in neither name, so that the digest is of one pair only.
    pub fn of(tenant: &TenantName, access: &AccessName) -> Self {
        let digest = hex(&format!("{tenant}/{access}"));
        Self(format!("{}{}", Self::PREFIX, &digest[..DIGEST_HEX]).into())
    }

    /// The login in this slot.
    pub fn login(&self, slot: Slot) -> AccessLogin {
        AccessLogin(format!("{self}{}", slot.suffix()).into())
    }
}

impl SearchKeyUid {
    /// The uid of the key with this serial number. `owner` is the uid of the Tenant, so that a tenant that is made again
    /// gets other keys than the one before it: the engine derives a key from its uid.
    pub fn of(owner: &str, access: &AccessName, serial: i64) -> Self {
        let digest = hex(&format!("{owner}/{access}/{serial}"));
        // The marks of a random UUID: version 4, variant 1.
        let (a, b, c, d, e) =
            (&digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..32]);
        Self(format!("{a}-{b}-4{c}-8{d}-{e}").into())
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

const _: () = assert!(
    AccessRole::PREFIX.len() + DIGEST_HEX + "_a".len() <= POSTGRES_IDENTIFIER_MAX,
    "Postgres would truncate the login",
);
