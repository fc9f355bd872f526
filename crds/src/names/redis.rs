//! Names of Redis keys.

use std::fmt;

use super::{AppName, QueueName, TenantName};

/// One of 256 fixed shards. Its hash tag keeps all keys of a tenant on one node, and lets one script serve several
/// tenants of a shard in a Redis Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedisShard(u8);

impl RedisShard {
    /// The shard of `tenant`: FNV-1a (64 bit, folded to 8 bits) over the name, so that it can be recomputed anywhere.
    pub fn of(tenant: &TenantName) -> Self {
        let hash = tenant.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte))
    }
}

impl fmt::Display for RedisShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{s{:02x}}}", self.0)
    }
}

/// A Redis key of one tenant's queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedisKey(String);

impl RedisKey {
    /// The stream that holds a queue's waiting and leased jobs. Its consumer group is [`Self::GROUP`].
    pub fn queue(tenant: &TenantName, app: &AppName, queue: &QueueName) -> Self {
        Self::of("q", tenant, app, queue)
    }

    /// The sorted set of jobs that wait for their next attempt, scored by the due time in milliseconds.
    pub fn delayed(tenant: &TenantName, app: &AppName, queue: &QueueName) -> Self {
        Self::of("z", tenant, app, queue)
    }

    /// The stream of jobs that used up their attempts.
    pub fn dead(tenant: &TenantName, app: &AppName, queue: &QueueName) -> Self {
        Self::of("d", tenant, app, queue)
    }

    /// Every key that a queue may leave behind: what a deletion removes.
    pub fn all(tenant: &TenantName, app: &AppName, queue: &QueueName) -> [Self; 3] {
        [Self::queue(tenant, app, queue), Self::delayed(tenant, app, queue), Self::dead(tenant, app, queue)]
    }

    /// The bucket of a rate limit: whose it is, and of whom. It vanishes by itself when it is full again.
    pub fn limit(kind: &str, subject: &str) -> Self {
        Self(format!("limit:{kind}:{subject}"))
    }

    /// What the keys of all queues of `tenant` begin with, as far as they are streams of jobs.
    pub fn queues_of(tenant: &TenantName) -> String {
        format!("q:{}:{tenant}:", RedisShard::of(tenant))
    }

    /// The consumer group of every queue stream.
    pub const GROUP: &str = "workers";

    fn of(kind: &str, tenant: &TenantName, app: &AppName, queue: &QueueName) -> Self {
        Self(format!("{kind}:{}:{tenant}:{app}:{queue}", RedisShard::of(tenant)))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
