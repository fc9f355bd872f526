//! All buckets that a replica knows of. Bounded: a flood of addresses makes it forget those that were not used for long.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
};

use super::bucket::Bucket;

const SHARDS: usize = 32;
/// Buckets in one shard; two generations of them are kept.
const GENERATION: usize = 4096;

/// Stands for a subject. Keyed with secrets of this process, so nobody can make two that meet.
pub type Id = u128;

/// All buckets.
#[derive(Debug)]
pub struct Buckets {
    shards: [Mutex<Generations>; SHARDS],
    hashers: [RandomState; 2],
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Id, Bucket>,
    old: HashMap<Id, Bucket>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hashers: std::array::from_fn(|_| RandomState::new()),
        }
    }
}

impl Buckets {
    /// What stands for `subject`.
    pub fn id(&self, subject: impl Hash) -> Id {
        let [a, b] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(&subject)));
        a << 64 | b
    }

    /// Uses a bucket; a new one when it is not known.
    pub fn with<T>(&self, id: Id, use_it: impl FnOnce(&mut Bucket) -> T) -> T {
        let shard = usize::try_from(id % SHARDS as u128).unwrap_or_default();
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shard.young.get_mut(&id) {
            return use_it(bucket);
        }
        let mut bucket = shard.old.remove(&id).unwrap_or_default();
        let result = use_it(&mut bucket);
        if shard.young.len() >= GENERATION {
            let forgotten = std::mem::take(&mut shard.young);
            for mut bucket in std::mem::replace(&mut shard.old, forgotten).into_values() {
                // Nobody waits for a bucket that is gone.
                bucket.wake();
            }
        }
        shard.young.insert(id, bucket);
        result
    }
}
