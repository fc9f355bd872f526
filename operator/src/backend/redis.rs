//! Redis: the streams of the queues and their consumer groups; [`acl`]: the users of direct access.

mod acl;

use std::{collections::HashMap, time::Duration};

use redis::{
    Client, ConnectionInfo, RedisError, RedisResult, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use secrecy::ExposeSecret;
use tenantry_config::settings;
use tenantry_crds::{
    names::{InstanceName, RedisKey},
    reason::Reason,
};
use tokio::sync::OnceCell;

pub use self::acl::AclUser;
use crate::{error::Error, killpoint::killpoint, metrics::Metrics};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Keys removed by one command.
const REMOVED_AT_ONCE: usize = 500;
/// Streams looked at with one write to the connection.
const LOOKED_AT_AT_ONCE: usize = 500;
const LOOKING: &str = "looking at streams";
/// The one policy under which Redis never takes a key away by itself.
const REQUIRED_POLICY: &str = "noeviction";

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// There is none.
    Stream,
    /// Nobody could read it as a worker.
    Group,
    /// Something else has its key.
    Foreign,
}

/// Connects on demand, and again after a failure.
#[derive(Clone)]
pub struct Redis {
    name: InstanceName,
    connection: ConnectionManager,
    info: ConnectionInfo,
    told: acl::Told,
    checked: std::sync::Arc<OnceCell<()>>,
    metrics: Metrics,
}

impl Redis {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When the URL cannot be used. The message does not show it, since it may hold a password.
    pub fn new(name: InstanceName, settings: &settings::Redis, metrics: Metrics) -> Result<Self, Error> {
        let doing = "reading redis.url";
        let unusable = |source| Error::redis(doing)(source).at(&name);
        let client = Client::open(settings.url.expose_secret()).map_err(unusable)?;
        let info = client.get_connection_info().clone();
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            // The driver retries with backoff; a pass must not wait here.
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(unusable)?;
        let (checked, told) = (std::sync::Arc::default(), acl::Told::default());
        Ok(Self { name, connection, info, told, checked, metrics })
    }

    /// How the operator gets here, with its own login.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Makes sure that each stream is there with its consumer group, which reads it from its first entry: no job is ever
    /// skipped. Changes nothing where they are.
    ///
    /// # Errors
    /// When Redis does not answer, may evict keys, or has something else under a name of ours.
    pub async fn ensure_streams(&self, keys: &[&RedisKey]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        self.check_policy().await?;
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline
                .cmd("XGROUP")
                .arg("CREATE")
                .arg(key.as_str())
                .arg(RedisKey::GROUP)
                .arg("0")
                .arg("MKSTREAM");
        }
        let pipeline = pipeline.ignore_errors();
        let mut connection = self.connection.clone();
        let sent = self.metrics.call("redis", "ensure_streams", pipeline.query_async(&mut connection));
        let answers: RedisResult<Vec<RedisResult<Value>>> = killpoint!("redis.streams", sent.await);
        let answers =
            answers.map_err(Error::redis("making streams")).map_err(|error| error.at(&self.name))?;
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(_) => {}
                Err(error) if error.code() == Some("BUSYGROUP") => {}
                Err(error) => return Err(not_made(key, error)),
            }
        }
        Ok(())
    }

    /// What each of `keys` lacks of a stream with its consumer group. Changes nothing.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn lacking(&self, keys: &[&str]) -> Result<Vec<Option<Lacking>>, Error> {
        let mut all = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(LOOKED_AT_AT_ONCE) {
            let mut pipeline = redis::pipe();
            for key in chunk {
                pipeline.cmd("XINFO").arg("GROUPS").arg(key);
            }
            let pipeline = pipeline.ignore_errors();
            let mut connection = self.connection.clone();
            let asked = pipeline.query_async(&mut connection);
            let answers: RedisResult<Vec<RedisResult<Value>>> =
                self.metrics.call("redis", "look_at_streams", asked).await;
            for answer in answers.map_err(Error::redis(LOOKING))? {
                all.push(lacking(answer)?);
            }
        }
        Ok(all)
    }

    /// Removes keys; those that are not there are fine.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn remove(&self, keys: &[RedisKey]) -> Result<(), Error> {
        for chunk in keys.chunks(REMOVED_AT_ONCE) {
            // One command for each key: two keys of one command must be on one node of a cluster.
            let mut pipeline = redis::pipe();
            for key in chunk {
                pipeline.cmd("UNLINK").arg(key.as_str()).ignore();
            }
            let mut connection = self.connection.clone();
            let sent = self.metrics.call("redis", "remove", pipeline.exec_async(&mut connection));
            let removed = killpoint!("redis.remove", sent.await);
            removed.map_err(Error::redis("removing streams")).map_err(|error| error.at(&self.name))?;
        }
        Ok(())
    }

    /// Once for each process: a Redis that evicts would lose jobs without a word.
    ///
    /// # Errors
    /// When Redis does not answer or has another policy.
    pub async fn check_policy(&self) -> Result<(), Error> {
        self.checked.get_or_try_init(|| self.policy_is_noeviction()).await.copied()
    }

    async fn policy_is_noeviction(&self) -> Result<(), Error> {
        // INFO and not CONFIG, which managed servers refuse.
        let answer: RedisResult<String> =
            redis::cmd("INFO").arg("memory").query_async(&mut self.connection.clone()).await;
        let memory =
            answer.map_err(Error::redis("reading maxmemory_policy")).map_err(|error| error.at(&self.name))?;
        match memory.lines().find_map(|line| line.trim().strip_prefix("maxmemory_policy:")) {
            Some(REQUIRED_POLICY) => Ok(()),
            other => Err(Error::blocked(
                Reason::BackendUnavailable,
                format!(
                    "Redis has maxmemory-policy {}, under which it may drop jobs; set it to {REQUIRED_POLICY}",
                    other.unwrap_or("unknown")
                ),
            )),
        }
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

fn lacking(answer: RedisResult<Value>) -> Result<Option<Lacking>, Error> {
    let groups = match answer {
        Ok(groups) => groups,
        // Redis has no better code for a key that is not there.
        Err(error) if error.code() == Some("ERR") => return Ok(Some(Lacking::Stream)),
        Err(error) if error.code() == Some("WRONGTYPE") => return Ok(Some(Lacking::Foreign)),
        Err(error) => return Err(Error::redis(LOOKING)(error)),
    };
    let groups: Vec<HashMap<String, Value>> =
        redis::from_redis_value(groups).map_err(|error| Error::redis(LOOKING)(error.into()))?;
    let named = |group: &HashMap<String, Value>| matches!(group.get("name"), Some(Value::BulkString(name)) if name == RedisKey::GROUP.as_bytes());
    Ok((!groups.iter().any(named)).then_some(Lacking::Group))
}

fn not_made(key: &RedisKey, error: RedisError) -> Error {
    if error.code() == Some("WRONGTYPE") {
        let message = format!("Redis key {key} exists and is no stream of Tenantry's; rename or remove it");
        return Error::blocked(Reason::NameConflict, message);
    }
    Error::redis("making a stream")(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_whole_with_the_group_of_the_workers() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let group = |name: &str| Value::Array(vec![text("name"), text(name), text("pending"), Value::Int(3)]);
        let groups = |all: Vec<Value>| lacking(Ok(Value::Array(all))).unwrap();
        assert_eq!(groups(vec![group("others"), group(RedisKey::GROUP)]), None);
        assert_eq!(groups(vec![group("others")]), Some(Lacking::Group));
        assert_eq!(groups(vec![]), Some(Lacking::Group));
    }
}
