//! The five servers of the stack.
//!
//! etcd and kube-apiserver, PostgreSQL, Redis and Meilisearch start in parallel, each on free loopback ports with its
//! own generated credentials, and are ready when they answer. Everything they write is in one scratch folder that
//! goes away with them.

mod bucket;
mod etcd;
mod kube_apiserver;
mod kubeconfig;
mod meilisearch;
mod postgres;
mod reachable;
mod redis;
mod second;
mod shared;

pub use bucket::Bucket;
pub use second::Second;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::process::{Sandbox, Server};
use crate::toolchain::{Programs, Toolchain};
use crate::{Endpoints, RigError};

/// The database of the platform in a fresh stack.
pub const PLATFORM_DATABASE: &str = "tenantry";

/// How a stack is started.
#[derive(Debug, Clone, Default)]
pub struct StackOptions {
    /// Whether writes survive a power failure: `true` for measurements; `false` (fsync off in etcd and PostgreSQL) for
    /// tests, whose data is thrown away.
    pub durable: bool,
    /// Where the scratch folder goes; the system's temporary folder by default.
    pub parent: Option<PathBuf>,
    /// A second PostgreSQL, Redis and Meilisearch, which our programs know as the instances [`SECOND`](crate::SECOND).
    pub second: bool,
}

/// A running stack, or a connection to one that somebody else started.
#[derive(Debug)]
pub struct Stack {
    endpoints: Endpoints,
    owned: Option<Owned>,
}

/// The servers of a stack that this process started. The sandbox ends them, also when this process is killed.
#[derive(Debug)]
struct Owned {
    sandbox: Arc<Sandbox>,
    etcd: Server,
    kube_apiserver: Server,
    postgres: Server,
    redis: Server,
    meilisearch: Server,
    second: Option<Second>,
}

impl Stack {
    /// Starts a stack, for a demo or a measurement; tests take [`Self::private`]. It ends when the value is dropped or the process ends, whichever way.
    pub async fn start(options: StackOptions) -> Result<Self, RigError> {
        let tools = Toolchain::ensure().await?;
        let sandbox = Arc::new(Sandbox::create("stack", options.parent.as_deref())?);
        let second =
            async { if options.second { second::start(&tools, &options).await.map(Some) } else { Ok(None) } };
        let started = tokio::try_join!(Self::start_in(&sandbox, &tools, &options), second);
        match started {
            Ok(((mut endpoints, [etcd, kube_apiserver, postgres, redis, meilisearch]), second)) => {
                let (second, instance) = second.unzip();
                endpoints.second = instance;
                let owned = Owned { sandbox, etcd, kube_apiserver, postgres, redis, meilisearch, second };
                Ok(Self { endpoints, owned: Some(owned) })
            }
            Err(error) => {
                sandbox.keep();
                Err(error)
            }
        }
    }

    /// A stack for one test, which says why it cannot share the one of all: each of them takes seconds and half a gigabyte.
    pub async fn private(why: &'static str) -> Result<Self, RigError> {
        Self::private_with(why, StackOptions::default()).await
    }

    /// The same, started in another way.
    pub async fn private_with(why: &'static str, options: StackOptions) -> Result<Self, RigError> {
        eprintln!("rig: a stack of its own, because {why}");
        Self::start(options).await
    }

    async fn start_in(
        sandbox: &Arc<Sandbox>,
        tools: &Programs,
        options: &StackOptions,
    ) -> Result<(Endpoints, [Server; 5]), RigError> {
        let kubernetes = async {
            let (etcd, etcd_url) = etcd::start(sandbox, &tools.etcd, options.durable).await?;
            let (server, kubeconfig) =
                kube_apiserver::start(sandbox, &tools.kube_apiserver, &etcd_url).await?;
            Ok((etcd, server, kubeconfig))
        };
        let (kubernetes, postgres, redis, meilisearch) = tokio::try_join!(
            kubernetes,
            postgres::start(sandbox, &tools.postgres, options.durable),
            redis::start(sandbox, &tools.redis),
            meilisearch::start(sandbox, &tools.meilisearch),
        )?;
        let (etcd, kube_apiserver, kubeconfig) = kubernetes;
        let (postgres, database_url) = postgres;
        let (redis, redis_url) = redis;
        let (meilisearch, (meili_url, meili_master_key)) = meilisearch;
        let endpoints = Endpoints {
            kubeconfig,
            database_url,
            redis_url,
            meili_url,
            meili_master_key,
            path: tools.search_path().to_string_lossy().into_owned(),
            programs: Default::default(),
            second: None,
        };
        Ok((endpoints, [etcd, kube_apiserver, postgres, redis, meilisearch]))
    }

    /// A bucket for snapshots, on a server of its own; only of a stack that this process started.
    pub async fn bucket(&self) -> Result<Bucket, RigError> {
        let owned = self.owned.as_ref().ok_or_else(|| {
            RigError::Refused("a stack that somebody else started gets no other servers".to_owned())
        })?;
        bucket::start(&owned.sandbox).await
    }

    /// Attaches to a stack that runs already; dropping the value leaves it running.
    pub fn attach(env_file: &Path) -> Result<Self, RigError> {
        Ok(Self { endpoints: Endpoints::read(env_file)?, owned: None })
    }

    /// The stack for tests: the one that `TENANTRY_RIG_ENV` names, else one that is started for this process and ends
    /// with it.
    pub async fn shared() -> Result<&'static Self, RigError> {
        shared::stack().await
    }

    /// How to reach the servers.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Makes a new empty database with a unique name that starts with `prefix`; yields its URL (as superuser).
    ///
    /// Roles belong to the whole server: two databases of one stack share them.
    pub async fn create_database(&self, prefix: &str) -> Result<String, RigError> {
        postgres::create_database(&self.endpoints.database_url, prefix).await
    }

    /// The scratch folder, with `logs` in it; only of a stack that this process started.
    pub fn folder(&self) -> Result<&Path, RigError> {
        Ok(self.owned()?.sandbox.folder())
    }

    /// Keeps the logs when the stack ends. A panic does so by itself.
    pub fn keep_logs(&self) {
        if let Some(owned) = &self.owned {
            owned.sandbox.keep();
            owned.second.iter().for_each(Second::keep_logs);
        }
    }

    /// etcd, to break it; only of a stack that this process started.
    pub fn etcd(&self) -> Result<&Server, RigError> {
        Ok(&self.owned()?.etcd)
    }

    /// kube-apiserver, to break it; only of a stack that this process started.
    pub fn kube_apiserver(&self) -> Result<&Server, RigError> {
        Ok(&self.owned()?.kube_apiserver)
    }

    /// PostgreSQL, to break it; only of a stack that this process started.
    pub fn postgres(&self) -> Result<&Server, RigError> {
        Ok(&self.owned()?.postgres)
    }

    /// Redis, to break it; only of a stack that this process started.
    pub fn redis(&self) -> Result<&Server, RigError> {
        Ok(&self.owned()?.redis)
    }

    /// Meilisearch, to break it; only of a stack that this process started.
    pub fn meilisearch(&self) -> Result<&Server, RigError> {
        Ok(&self.owned()?.meilisearch)
    }

    /// The second instances, to break them; only of a stack that was started with them.
    pub fn second(&self) -> Result<&Second, RigError> {
        let second = self.owned()?.second.as_ref();
        second.ok_or_else(|| RigError::Refused("this stack has one instance of each".to_owned()))
    }

    fn owned(&self) -> Result<&Owned, RigError> {
        self.owned.as_ref().ok_or_else(|| {
            RigError::Refused(
                "a stack shared with others is not broken on purpose; use Stack::start".to_owned(),
            )
        })
    }
}

/// An unguessable credential, safe in URLs, files and shells.
fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A probe by HTTP: any answer but a success says why not.
pub async fn answers_ok(request: Option<reqwest::RequestBuilder>) -> Result<(), String> {
    let request = request.ok_or("the probe cannot be repeated")?;
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("{status} {}", response.text().await.unwrap_or_default()))
}
