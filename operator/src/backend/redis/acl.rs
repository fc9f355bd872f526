//! ACL users of direct access: the keys of one tenant's queues, and commands on streams.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{RedisResult, Value};
use tenantry_crds::{
    names::{AccessLogin, RedisKey},
    v1alpha1::AccessLevel,
};

use super::Redis;
use crate::{error::Error, killpoint::killpoint};

/// What a connection needs before and beside its work.
const ALWAYS: &[&str] = &["hello", "ping", "quit", "reset", "client|setname", "client|id"];
const READS: &[&str] = &[
    "exists",
    "type",
    "xlen",
    "xrange",
    "xrevrange",
    "xread",
    "xpending",
    "xinfo",
    "zcard",
    "zrange",
    "zscore",
];
/// Jobs and the work on them. Streams and groups are the operator's to make.
const WRITES: &[&str] = &[
    "xadd",
    "xreadgroup",
    "xack",
    "xclaim",
    "xautoclaim",
    "xdel",
    "zadd",
    "zrem",
    "multi",
    "exec",
    "discard",
];
const OWNS: &[&str] = &["xtrim", "xgroup|createconsumer", "xgroup|delconsumer", "xgroup|setid"];

/// What a user should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclUser {
    /// Its name.
    pub name: AccessLogin,
    /// SHA-256 of its password, as 64 hexadecimal digits: Redis takes and keeps no more.
    pub digest: String,
    /// Its keys, each as it is: a key of ours has no character that a pattern treats specially.
    pub keys: Vec<RedisKey>,
    /// What it may do.
    pub level: AccessLevel,
}

impl AclUser {
    fn commands(&self) -> Vec<String> {
        let parts: &[&[&str]] = match self.level {
            AccessLevel::Read => &[ALWAYS, READS],
            AccessLevel::Write => &[ALWAYS, READS, WRITES],
            AccessLevel::Owner => &[ALWAYS, READS, WRITES, OWNS],
        };
        parts.iter().copied().flatten().map(|command| format!("+{command}")).collect()
    }

    fn patterns(&self) -> Vec<String> {
        let rights = if self.level == AccessLevel::Read { "%R~" } else { "~" };
        self.keys.iter().map(|key| format!("{rights}{key}")).collect()
    }

    /// The rules that make it from nothing.
    fn rules(&self) -> Vec<String> {
        let fixed = ["reset".to_owned(), "on".to_owned(), format!("#{}", self.digest)];
        fixed.into_iter().chain(self.patterns()).chain(self.commands()).collect()
    }
}

/// What Redis said of users right after it was told what they should be. It says so in words of its own, which change with its
/// version and in which the rules do not stand as they were given; so this is what it is compared with. Lives as long as the
/// process: the first pass over a user tells Redis once more.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<HashMap<AccessLogin, (AclUser, Value)>>>);

impl Told {
    fn is(&self, user: &AclUser, found: &Value) -> bool {
        self.all().get(&user.name).is_some_and(|(told, answer)| told == user && answer == found)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<AccessLogin, (AclUser, Value)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Redis {
    /// Makes sure that the user is there and so. Changes nothing where it is.
    ///
    /// # Errors
    /// When Redis does not answer, or refuses.
    pub async fn ensure_user(&self, user: &AclUser) -> Result<(), Error> {
        if self.told.is(user, &self.user(&user.name).await?) {
            return Ok(());
        }
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(user.name.as_str()).arg(user.rules());
        let mut connection = self.connection.clone();
        let sent = command.query_async(&mut connection);
        let set: RedisResult<()> =
            killpoint!("redis.set_user", self.metrics.call("redis", "set_user", sent).await);
        set.map_err(Error::redis("making a Redis user"))?;
        let answer = self.user(&user.name).await?;
        self.told.all().insert(user.name.clone(), (user.clone(), answer));
        Ok(())
    }

    /// What Redis says of a user; nil when there is none.
    async fn user(&self, name: &AccessLogin) -> Result<Value, Error> {
        let mut command = redis::cmd("ACL");
        command.arg("GETUSER").arg(name.as_str());
        let mut connection = self.connection.clone();
        let answer: RedisResult<Value> =
            self.metrics.call("redis", "get_user", command.query_async(&mut connection)).await;
        answer.map_err(Error::redis("looking at a Redis user"))
    }

    /// Removes users and ends their connections; those that are not there are fine.
    ///
    /// # Errors
    /// When Redis does not answer, or refuses.
    pub async fn remove_users(&self, users: &[AccessLogin]) -> Result<(), Error> {
        let names: Vec<&str> = users.iter().map(AccessLogin::as_str).collect();
        let mut command = redis::cmd("ACL");
        command.arg("DELUSER").arg(names);
        let mut connection = self.connection.clone();
        let sent = command.query_async(&mut connection);
        let removed: RedisResult<()> =
            killpoint!("redis.remove_users", self.metrics.call("redis", "remove_users", sent).await);
        removed.map_err(Error::redis("removing Redis users"))?;
        self.told.all().retain(|name, _| !users.contains(name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tenantry_crds::names::{AccessName, AccessRole, AppName, QueueName, RedisShard, Slot, TenantName};

    use super::*;

    fn user(level: AccessLevel) -> AclUser {
        let tenant = TenantName::new("acme").unwrap();
        let role = AccessRole::of(&tenant, &AccessName::new("jobs").unwrap());
        let (app, queue) = (AppName::new("crm").unwrap(), QueueName::new("default").unwrap());
        AclUser {
            name: role.login(Slot::A),
            digest: "ab".repeat(32),
            keys: RedisKey::all(&tenant, &app, &queue).to_vec(),
            level,
        }
    }

    #[test]
    fn a_user_is_in_place_while_redis_says_the_same_of_it() {
        let (told, said) = (Told::default(), Value::SimpleString("on".into()));
        let user = user(AccessLevel::Read);
        assert!(!told.is(&user, &said));
        told.all().insert(user.name.clone(), (user.clone(), said.clone()));
        assert!(told.is(&user, &said));
        assert!(!told.is(&user, &Value::Nil));
        assert!(!told.is(&AclUser { level: AccessLevel::Write, ..user }, &said));
    }

    #[test]
    fn a_reader_reads_its_keys_and_no_level_has_a_wildcard() {
        let rules = user(AccessLevel::Read).rules();
        let shard = RedisShard::of(&TenantName::new("acme").unwrap());
        assert_eq!(rules[3], format!("%R~q:{shard}:acme:crm:default"));
        assert!(!rules.iter().any(|rule| rule == "+xadd"));
        for level in [AccessLevel::Read, AccessLevel::Write, AccessLevel::Owner] {
            let rules = user(level).rules();
            assert_eq!(rules[0], "reset", "what it had before goes");
            assert!(rules.iter().all(|rule| !rule.contains(['*', '?', '[', '@'])), "{rules:?}");
        }
    }
}
