//! Credentials that were verified a moment ago: a signature costs more than the request around it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

/// Seconds that a verification is trusted.
const TTL_SECONDS: u64 = 60;
const SHARDS: usize = 16;
/// Tokens in one shard; two generations of them are kept.
const GENERATION: usize = 4096;

type Key = [u8; 32];

/// What was found out about credentials of one kind. What is known of one kind is never an answer about another: each has a
/// type of its own for it.
pub(super) trait Known: Clone {
    /// When it ends, in seconds since 1970.
    fn end(&self) -> u64;
}

/// Credentials of one kind by digest: they themselves are not kept. Bounded: when a generation is full the older one is
/// dropped, so those in use stay and a flood of others costs memory for two generations at most.
#[derive(Debug)]
pub(super) struct VerifiedCache<T>([Mutex<Generations<T>>; SHARDS]);

#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Key, Entry<T>>,
    old: HashMap<Key, Entry<T>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    known: T,
    until: u64,
}

impl<T> Default for VerifiedCache<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T: Known> VerifiedCache<T> {
    /// What was found out about `token`, unless that was too long ago.
    pub(super) fn get(&self, token: &str, now: u64) -> Option<T> {
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
        (now < entry.until).then_some(entry.known)
    }

    /// Remembers what was found out about `token`.
    pub(super) fn put(&self, token: &str, known: &T, now: u64) {
        let key = digest(token);
        let entry = Entry { known: known.clone(), until: known.end().min(now + TTL_SECONDS) };
        self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for shard in &self.0 {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
        }
    }

    fn shard(&self, key: &Key) -> &Mutex<Generations<T>> {
        &self.0[usize::from(key[0]) % SHARDS]
    }
}

impl<T> Generations<T> {
    fn insert(&mut self, key: Key, entry: Entry<T>) {
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
    use super::*;

    #[derive(Debug, Clone)]
    struct Until(u64);

    impl Known for Until {
        fn end(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn an_entry_lives_no_longer_than_its_token_nor_than_a_minute() {
        let cache = VerifiedCache::default();
        cache.put("short", &Until(1010), 1000);
        cache.put("long", &Until(9000), 1000);
        assert!(cache.get("short", 1009).is_some());
        assert!(cache.get("short", 1010).is_none());
        assert!(cache.get("long", 1059).is_some());
        assert!(cache.get("long", 1060).is_none());
        assert!(cache.get("other", 1000).is_none());
    }

    #[test]
    fn a_flood_of_tokens_is_bounded_and_a_token_in_use_stays() {
        let cache = VerifiedCache::default();
        cache.put("mine", &Until(9000), 1000);
        for n in 0..SHARDS * GENERATION * 4 {
            cache.put(&format!("flood {n}"), &Until(9000), 1000);
            if n % 1000 == 0 {
                assert!(cache.get("mine", 1000).is_some(), "after {n}");
            }
        }
        let kept: usize =
            cache.0.iter().map(|s| s.lock().unwrap()).map(|s| s.young.len() + s.old.len()).sum();
        assert!(kept <= SHARDS * GENERATION * 2, "{kept}");
    }
}
