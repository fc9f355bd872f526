//! The buckets in Redis. One task asks for all: what comes while an answer is on its way goes together in the next round trip.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    RedisError, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use secrecy::ExposeSecret;
use tenantry_config::settings;
use tenantry_crds::names::RedisKey;
use tokio::sync::mpsc;

use super::{
    buckets::{Buckets, Id},
    limit::Limit,
};
use crate::error::Chain;

/// Beyond, requests are counted by this replica alone: they must not wait for a slow Redis.
const ANSWER_LIMIT: Duration = Duration::from_millis(150);
/// How long Redis is left alone when it did not answer.
const AWAY: Duration = Duration::from_secs(1);
/// Buckets that wait to be asked for.
const QUEUE: usize = 4096;
/// Buckets in one round trip.
const BATCH: usize = 256;

/// A bucket to ask for.
#[derive(Debug)]
pub struct Ask {
    pub id: Id,
    pub key: RedisKey,
    pub limit: Limit,
}

/// The way to Redis.
#[derive(Debug)]
pub struct SharedBuckets {
    asks: mpsc::Sender<Ask>,
    clock: Clock,
    away_until: Arc<AtomicU64>,
}

/// Nanoseconds since the program started.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        // So that the first nanosecond is not 0, which buckets take for long ago.
        Self(Instant::now() - Duration::from_secs(1))
    }

    pub fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl SharedBuckets {
    /// Starts the task that asks.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn start(
        settings: &settings::Redis,
        buckets: Arc<Buckets>,
        clock: Clock,
    ) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_connection_timeout(Some(ANSWER_LIMIT))
            .set_number_of_retries(0);
        let client = redis::Client::open(settings.url.expose_secret())?;
        let redis = ConnectionManager::new_lazy_with_config(client, config)?;
        let (asks, queue) = mpsc::channel(QUEUE);
        let away_until = Arc::new(AtomicU64::new(0));
        let task = Task {
            redis,
            buckets,
            clock,
            away_until: Arc::clone(&away_until),
            script: Script::new(include_str!("take.lua")),
        };
        tokio::spawn(task.run(queue));
        Ok(Self { asks, clock, away_until })
    }

    /// Whether Redis is worth asking.
    pub fn is_there(&self) -> bool {
        self.clock.now() >= self.away_until.load(Ordering::Relaxed)
    }

    /// Asks for a bucket; whether there was room to.
    pub fn ask(&self, ask: Ask) -> bool {
        self.asks.try_send(ask).is_ok()
    }
}

struct Task {
    redis: ConnectionManager,
    buckets: Arc<Buckets>,
    clock: Clock,
    away_until: Arc<AtomicU64>,
    script: Script,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Ask>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut was_away = false;
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let result = self.take(&batch).await;
            let now = self.clock.now();
            match result {
                Ok(granted) => {
                    for (ask, (tokens, micros)) in batch.iter().zip(granted) {
                        self.buckets.with(ask.id, |bucket| bucket.granted(tokens, micros * 1000, now));
                    }
                    if std::mem::take(&mut was_away) {
                        tracing::info!("rate limits are shared again");
                    }
                }
                Err(error) => {
                    let until = now + u64::try_from(AWAY.as_nanos()).unwrap_or_default();
                    self.away_until.store(until, Ordering::Relaxed);
                    if !std::mem::replace(&mut was_away, true) {
                        tracing::warn!(cause = %Chain(&error), "rate limits are counted by each replica alone");
                    }
                    for ask in &batch {
                        self.buckets.with(ask.id, |bucket| bucket.wake());
                    }
                }
            }
            batch.clear();
        }
    }

    /// One round trip; each bucket is taken from at once and as a whole.
    async fn take(&mut self, batch: &[Ask]) -> Result<Vec<(u32, u64)>, RedisError> {
        let calls = |pipeline: &mut redis::Pipeline, wants: &[u32]| {
            for (ask, wanted) in batch.iter().zip(wants) {
                let micros = (ask.limit.interval() / 1000).max(1);
                pipeline
                    .cmd("EVALSHA")
                    .arg(self.script.get_hash())
                    .arg(1)
                    .arg(ask.key.as_str())
                    .arg(micros)
                    .arg(ask.limit.burst())
                    .arg(*wanted);
            }
        };
        let wants: Vec<u32> =
            batch.iter().map(|ask| self.buckets.with(ask.id, |bucket| bucket.wants(ask.limit))).collect();
        let mut pipeline = redis::pipe();
        calls(&mut pipeline, &wants);
        let mut redis = self.redis.clone();
        match within(pipeline.query_async(&mut redis)).await {
            Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                // Redis has started anew.
                within(self.script.prepare_invoke().load_async(&mut redis)).await.map(|_| ())?;
                within(pipeline.query_async(&mut redis)).await
            }
            result => result,
        }
    }
}

async fn within<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(ANSWER_LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(RedisError::from((redis::ErrorKind::Io, "no answer in time"))),
    }
}
