//! Tokens that were verified a moment ago: a signature costs more than the request around it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::token::Verified;

/// Seconds that a verification is trusted.
const TTL_SECONDS: u64 = 60;
const SHARDS: usize = 16;
/// Tokens in one shard; two generations of them are kept.
const GENERATION: usize = 4096;

type Key = [u8; 32];

/// Verified tokens by digest: the tokens themselves are not kept. Bounded: when a generation is full the older one is
/// dropped, so the tokens in use stay and a flood of others costs memory for two generations at most.
#[derive(Debug)]
pub(super) struct VerifiedCache([Mutex<Generations>; SHARDS]);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    verified: Verified,
    until: u64,
}

impl Default for VerifiedCache {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl VerifiedCache {
    /// What was found out about `token`, unless that was too long ago.
    pub(super) fn get(&self, token: &str, now: u64) -> Option<Verified> {
        let key = digest(token);
        let mut shard = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match shard.young.get(&key) {
            Some(entry) => entry.clone(),
            None => {
                let entry = shard.old.remove(&key)?;
                shard.insert(key, entry.clone());
                entry
            }
        };
        (now < entry.until).then_some(entry.verified)
    }

    /// Remembers what was found out about `token`.
    pub(super) fn put(&self, token: &str, verified: &Verified, now: u64) {
        let key = digest(token);
        let entry = Entry { verified: verified.clone(), until: verified.exp.min(now + TTL_SECONDS) };
        self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for shard in &self.0 {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
        }
    }

    fn shard(&self, key: &Key) -> &Mutex<Generations> {
        &self.0[usize::from(key[0]) % SHARDS]
    }
}

impl Generations {
    fn insert(&mut self, key: Key, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

fn digest(token: &str) -> Key {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::auth::Caller;

    fn verified(exp: u64) -> Verified {
        Verified {
            tenant: Uuid::nil(),
            caller: Arc::new(Caller::new("alice", &[])),
            proof: Default::default(),
            limits: None,
            exp,
        }
    }

    #[test]
    fn an_entry_lives_no_longer_than_its_token_nor_than_a_minute() {
        let cache = VerifiedCache::default();
        cache.put("short", &verified(1010), 1000);
        cache.put("long", &verified(9000), 1000);
        assert!(cache.get("short", 1009).is_some());
        assert!(cache.get("short", 1010).is_none());
        assert!(cache.get("long", 1059).is_some());
        assert!(cache.get("long", 1060).is_none());
        assert!(cache.get("other", 1000).is_none());
    }

    #[test]
    fn a_flood_of_tokens_is_bounded_and_a_token_in_use_stays() {
        let cache = VerifiedCache::default();
        cache.put("mine", &verified(9000), 1000);
        for n in 0..SHARDS * GENERATION * 4 {
            cache.put(&format!("flood {n}"), &verified(9000), 1000);
            if n % 1000 == 0 {
                assert!(cache.get("mine", 1000).is_some(), "after {n}");
            }
        }
        let kept: usize =
            cache.0.iter().map(|s| s.lock().unwrap()).map(|s| s.young.len() + s.old.len()).sum();
        assert!(kept <= SHARDS * GENERATION * 2, "{kept}");
    }
}
