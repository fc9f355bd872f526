use std::sync::Arc;

use super::{StackOptions, meilisearch, postgres, redis};
use crate::RigError;
use crate::endpoints::SecondInstance;
use crate::process::{Sandbox, Server};
use crate::toolchain::Programs;

/// A second PostgreSQL, Redis and Meilisearch, for platforms with several instances.
#[derive(Debug)]
pub struct Second {
    sandbox: Arc<Sandbox>,
    /// PostgreSQL, to break it.
    pub postgres: Server,
    /// Redis, to break it.
    pub redis: Server,
    /// Meilisearch, to break it.
    pub meilisearch: Server,
}

/// Starts them, in a sandbox of their own.
pub async fn start(tools: &Programs, options: &StackOptions) -> Result<(Second, SecondInstance), RigError> {
    let sandbox = Arc::new(Sandbox::create("second", options.parent.as_deref())?);
    let started = tokio::try_join!(
        postgres::start(&sandbox, &tools.postgres, options.durable),
        redis::start(&sandbox, &tools.redis),
        meilisearch::start(&sandbox, &tools.meilisearch),
    );
    let (postgres, redis, meilisearch) = started.inspect_err(|_| sandbox.keep())?;
    let ((postgres, database_url), (redis, redis_url)) = (postgres, redis);
    let (meilisearch, (meili_url, meili_master_key)) = meilisearch;
    let instance = SecondInstance { database_url, redis_url, meili_url, meili_master_key };
    Ok((Second { sandbox, postgres, redis, meilisearch }, instance))
}

impl Second {
    /// Keeps the logs when the servers end.
    pub(super) fn keep_logs(&self) {
        self.sandbox.keep();
    }
}
