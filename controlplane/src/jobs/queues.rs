//! The scripts and what they answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{
    RedisError, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use tenantry_config::settings;
use tenantry_crds::names::RedisKey;

use super::{
    backoff::backoff,
    metrics::JobMetrics,
    token::{Delivery, LeaseTokens},
};
use crate::registry::StreamBinding;

/// The one consumer of all replicas. A name of its own for each worker would prove nothing that the count of deliveries does not,
/// and would stay behind in Redis.
const CONSUMER: &str = "api";
/// Deliveries of one attempt after which a job is taken to crash its workers.
const MAX_DELIVERIES: u32 = 5;
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Why a queue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis does not answer, or refuses.
    #[error("asking Redis")]
    Redis(#[from] RedisError),
    /// Redis took too long.
    #[error("Redis did not answer within {ANSWER_LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    /// The queue has as many jobs as it may have.
    #[error("the queue is full")]
    Full,
    /// The lease ran out, was settled already, or never was.
    #[error("the lease is not held")]
    Stale,
    /// Redis would drop keys of its own accord.
    #[error(
        "Redis has maxmemory-policy {0}: with anything but noeviction it drops jobs when memory runs out"
    )]
    Evicts(String),
}

/// Job queues.
#[derive(Debug)]
pub struct Queues {
    redis: ConnectionManager,
    scripts: Scripts,
    tokens: LeaseTokens,
    metrics: JobMetrics,
    /// Where the next look for expired leases goes on, for streams whose last look did not reach the end.
    cursors: Mutex<HashMap<String, String>>,
}

#[derive(Debug)]
struct Scripts {
    enqueue: Script,
    lease: Script,
    ack: Script,
    nack: Script,
    extend: Script,
    counts: Script,
}

/// A leased job.
#[derive(Debug)]
pub struct Leased {
    /// The job's id.
    pub id: String,
    /// The job's type.
    pub job_type: String,
    /// The job's payload, as it was given.
    pub payload: Box<RawValue>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Proves that the caller holds the lease.
    pub token: String,
    /// When the lease runs out, in milliseconds since 1970, by the clock of Redis.
    pub until_millis: i64,
}

/// What becomes of a job that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again at this time, in milliseconds since 1970.
    Retry {
        /// When.
        due_millis: i64,
    },
    /// Its attempts are spent.
    Dead,
}

/// How many jobs a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Waiting for a worker.
    pub waiting: u64,
    /// Held by workers.
    pub leased: u64,
    /// Waiting for their next attempt.
    pub delayed: u64,
    /// Out of attempts.
    pub dead: u64,
}

type LeaseReply = (i64, String, Vec<(String, u32, String, String, String, u32)>, usize, usize, usize);

impl Queues {
    /// Queues on the Redis of `settings`; the connection is made when it is needed. Lease tokens are signed under a key that
    /// derives from `secret`.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(
        settings: &settings::Redis,
        secret: &SecretString,
        metrics: JobMetrics,
    ) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_connection_timeout(Some(ANSWER_LIMIT))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(200));
        let client = redis::Client::open(settings.url.expose_secret())?;
        let tokens = LeaseTokens::derive(secret)
            .ok_or_else(|| RedisError::from((redis::ErrorKind::Client, "no key for lease tokens")))?;
        Ok(Self {
            redis: ConnectionManager::new_lazy_with_config(client, config)?,
            scripts: Scripts {
                enqueue: Script::new(include_str!("scripts/enqueue.lua")),
                lease: Script::new(include_str!("scripts/lease.lua")),
                ack: Script::new(include_str!("scripts/ack.lua")),
                nack: Script::new(include_str!("scripts/nack.lua")),
                extend: Script::new(include_str!("scripts/extend.lua")),
                counts: Script::new(include_str!("scripts/counts.lua")),
            },
            tokens,
            metrics,
            cursors: Mutex::default(),
        })
    }

    /// Whether Redis answers and keeps what it is given.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), QueueError> {
        let mut redis = self.redis.clone();
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let memory: redis::InfoDict =
            tokio::time::timeout(ANSWER_LIMIT, info.query_async(&mut redis)).await??;
        match memory.get::<String>("maxmemory_policy") {
            Some(policy) if policy != "noeviction" => Err(QueueError::Evicts(policy)),
            _ => Ok(()),
        }
    }

    /// Puts a job into a queue.
    ///
    /// # Errors
    /// When the queue is full or Redis does not answer.
    pub async fn enqueue(
        &self,
        queue: &StreamBinding,
        id: &str,
        job_type: &str,
        payload: &RawValue,
    ) -> Result<(), QueueError> {
        let mut call = self.scripts.enqueue.key(queue.stream.as_str());
        call.key(queue.delayed.as_str()).arg(queue.max_length).arg(id).arg(job_type).arg(payload.get());
        let entry: Option<String> = self.run(&call).await?;
        self.metrics.count(if entry.is_some() { "enqueued" } else { "refused" }, 1);
        entry.map(|_| ()).ok_or(QueueError::Full)
    }

    /// Gives out up to `max` jobs.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn lease(&self, queue: &StreamBinding, max: usize) -> Result<Vec<Leased>, QueueError> {
        let lease_millis = i64::from(queue.lease_seconds) * 1000;
        let mut call = self.scripts.lease.key(queue.stream.as_str());
        call.key(queue.delayed.as_str())
            .key(queue.dead.as_str())
            .arg(RedisKey::GROUP)
            .arg(CONSUMER)
            .arg(max)
            .arg(lease_millis)
            .arg(MAX_DELIVERIES)
            .arg(self.cursor(&queue.stream));
        let reply: Result<LeaseReply, _> = self.run(&call).await;
        let (now, cursor, jobs, promoted, reclaimed, dead) = match reply {
            Err(QueueError::Redis(error)) if error.code() == Some("NOGROUP") => {
                self.make_group(&queue.stream).await?;
                self.run(&call).await?
            }
            other => other?,
        };
        self.keep_cursor(&queue.stream, cursor);
        for (event, times) in
            [("leased", jobs.len()), ("promoted", promoted), ("reclaimed", reclaimed), ("crash_loop", dead)]
        {
            self.metrics.count(event, times);
        }
        let leased = jobs.into_iter().map(|(entry, deliveries, id, job_type, payload, attempt)| {
            let delivery = Delivery { entry, deliveries, attempt };
            Leased {
                id,
                job_type,
                payload: RawValue::from_string(payload).unwrap_or_else(|_| RawValue::NULL.to_owned()),
                attempt,
                token: self.tokens.seal(&queue.stream, &delivery),
                until_millis: now + lease_millis,
            }
        });
        Ok(leased.collect())
    }

    /// Settles a job as done.
    ///
    /// # Errors
    /// When the lease is not held or Redis does not answer.
    pub async fn ack(&self, queue: &StreamBinding, token: &str) -> Result<(), QueueError> {
        let delivery = self.open(queue, token)?;
        let mut call = self.scripts.ack.key(queue.stream.as_str());
        call.arg(RedisKey::GROUP).arg(delivery.entry).arg(delivery.deliveries);
        let held: bool = self.held(self.run(&call).await)?.unwrap_or(false);
        self.metrics.count(if held { "acked" } else { "stale" }, 1);
        if held { Ok(()) } else { Err(QueueError::Stale) }
    }

    /// Settles an attempt as failed; the next one comes after `retry_in`, or after a wait that grows with the attempts.
    ///
    /// # Errors
    /// When the lease is not held or Redis does not answer.
    pub async fn nack(
        &self,
        queue: &StreamBinding,
        token: &str,
        error: &str,
        retry_in: Option<Duration>,
    ) -> Result<Failed, QueueError> {
        let delivery = self.open(queue, token)?;
        let wait = retry_in.unwrap_or_else(|| backoff(delivery.attempt, rand::random()));
        let mut call = self.scripts.nack.key(queue.stream.as_str());
        call.key(queue.delayed.as_str())
            .key(queue.dead.as_str())
            .arg(RedisKey::GROUP)
            .arg(delivery.entry)
            .arg(delivery.deliveries)
            .arg(error)
            .arg(queue.max_attempts)
            .arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let answer: String = self.held(self.run(&call).await)?.ok_or(QueueError::Stale)?;
        let failed = match answer.as_str() {
            "dead" => Some(Failed::Dead),
            due => due.parse().ok().map(|due_millis| Failed::Retry { due_millis }),
        };
        let event = match failed {
            Some(Failed::Dead) => "dead",
            Some(Failed::Retry { .. }) => "retried",
            None => "stale",
        };
        self.metrics.count(event, 1);
        failed.ok_or(QueueError::Stale)
    }

    /// Begins a lease anew; answers when it runs out, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the lease is not held or Redis does not answer.
    pub async fn extend(&self, queue: &StreamBinding, token: &str) -> Result<i64, QueueError> {
        let delivery = self.open(queue, token)?;
        let mut call = self.scripts.extend.key(queue.stream.as_str());
        call.arg(RedisKey::GROUP).arg(CONSUMER).arg(delivery.entry).arg(delivery.deliveries);
        let began: Option<i64> = self.held(self.run(&call).await)?.flatten();
        began.map(|began| began + i64::from(queue.lease_seconds) * 1000).ok_or(QueueError::Stale)
    }

    /// How many jobs a queue has.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn counts(&self, queue: &StreamBinding) -> Result<Counts, QueueError> {
        let mut call = self.scripts.counts.key(queue.stream.as_str());
        call.key(queue.delayed.as_str()).key(queue.dead.as_str()).arg(RedisKey::GROUP);
        let (waiting, leased, delayed, dead) = self.run(&call).await?;
        Ok(Counts { waiting, leased, delayed, dead })
    }

    fn open(&self, queue: &StreamBinding, token: &str) -> Result<Delivery, QueueError> {
        self.tokens.open(&queue.stream, token).ok_or(QueueError::Stale)
    }

    /// A group that is gone has no leases.
    fn held<T>(&self, reply: Result<T, QueueError>) -> Result<Option<T>, QueueError> {
        match reply {
            Err(QueueError::Redis(error)) if error.code() == Some("NOGROUP") => Ok(None),
            other => other.map(Some),
        }
    }

    /// Makes the group from the first entry on, so that jobs which came while there was none are not passed over. Not the
    /// stream: that is the operator's, and a worker that waits while its tenant is deleted must not bring it back.
    async fn make_group(&self, stream: &RedisKey) -> Result<(), QueueError> {
        let mut redis = self.redis.clone();
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(stream.as_str()).arg(RedisKey::GROUP).arg("0");
        match tokio::time::timeout(ANSWER_LIMIT, create.query_async::<()>(&mut redis)).await? {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => {
                tracing::warn!(%stream, "consumer group was gone and is made again");
                Ok(())
            }
        }
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        call: &redis::ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        let mut redis = self.redis.clone();
        Ok(tokio::time::timeout(ANSWER_LIMIT, call.invoke_async(&mut redis)).await??)
    }

    fn cursor(&self, stream: &RedisKey) -> String {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.get(stream.as_str()).cloned().unwrap_or_else(|| "0-0".to_owned())
    }

    fn keep_cursor(&self, stream: &RedisKey, cursor: String) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor == "0-0" {
            cursors.remove(stream.as_str());
        } else {
            cursors.insert(stream.as_str().to_owned(), cursor);
        }
    }
}
