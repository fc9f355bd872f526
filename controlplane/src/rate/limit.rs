//! A rate, and whom it is for.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use tenantry_crds::names::RedisKey;
use uuid::Uuid;

const MINUTE_NANOS: u64 = 60_000_000_000;

/// So many requests in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests in a minute.
    pub per_minute: u32,
}

impl Limit {
    /// Nothing for 0, which means no limit.
    pub fn of(per_minute: u32) -> Option<Self> {
        (per_minute > 0).then_some(Self { per_minute })
    }

    /// Nanoseconds from one request to the next.
    pub fn interval(self) -> u64 {
        MINUTE_NANOS / u64::from(self.per_minute.max(1))
    }

    /// Requests at once, after a pause: those of ten seconds, but ten at least.
    pub fn burst(self) -> u32 {
        (self.per_minute / 6).max(10).min(self.per_minute)
    }

    /// Tokens that a replica takes at once: what it may leave unused is small against the burst.
    pub fn chunk(self) -> u32 {
        (self.burst() / 20).clamp(1, 10_000)
    }
}

/// Whom a limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    /// An address; of IPv6 the network, since a client has one of those for itself.
    Address(IpAddr),
    /// A tenant.
    Tenant(Uuid),
    /// A user of a tenant.
    User(Uuid, &'a str),
    /// A user of a tenant, on one route.
    UserRoute(Uuid, &'a str, &'a str),
    /// An address, on one route.
    AddressRoute(IpAddr, &'a str),
    /// An address, for what anybody may have a tenant do: make accounts and send e-mails.
    SignUp(Uuid, IpAddr),
}

impl Subject<'_> {
    /// What it is called in an answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Tenant(_) => "tenant",
            Self::User(..) => "user",
            Self::UserRoute(..) | Self::AddressRoute(..) => "route",
            Self::SignUp(..) => "sign-up",
        }
    }

    /// Where its bucket is in Redis.
    pub fn key(self) -> RedisKey {
        let digest = |parts: &[&str]| {
            let mut hash = Sha256::new();
            for part in parts {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let subject = match self {
            Self::Address(address) => address.to_string(),
            Self::Tenant(tenant) => tenant.to_string(),
            Self::User(tenant, user) => format!("{tenant}:{}", digest(&[user])),
            Self::UserRoute(tenant, user, route) => format!("{tenant}:{}", digest(&[user, route])),
            Self::AddressRoute(address, route) => format!("{address}:{}", digest(&[route])),
            Self::SignUp(tenant, address) => format!("{tenant}:{address}"),
        };
        RedisKey::limit(self.name(), &subject)
    }
}
