//! A new leader takes over the Postgres instances, each by itself: one that is down delays its own tenants only.

use std::{sync::Arc, time::Duration};

use tenantry_crds::names::InstanceName;
use tenantry_migrations::registry::{self, Of};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    app,
    backend::{Backends, postgres::Cell},
    catalog::Catalog,
    error::{Class, Error},
    metrics::Metrics,
    placement::Directory,
    rollout::{self, Rollouts},
};

/// How long instances that do not answer at all hold up the first pass.
const GRACE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What a takeover reads and where it puts that.
#[derive(Clone)]
pub struct Takeover {
    /// The instances.
    pub backends: Arc<Backends>,
    /// The published apps of all of them.
    pub catalog: Arc<Catalog>,
    /// The versions of their tenants.
    pub rollouts: Arc<Rollouts>,
    /// The tenants of all of them.
    pub directory: Arc<Directory>,
    /// Metrics.
    pub metrics: Metrics,
    /// Who leads.
    pub holder: String,
}

/// Instances that are not taken over yet; dropping this stops the attempts.
pub struct Pending {
    attempts: JoinSet<Result<InstanceName, Error>>,
}

impl Takeover {
    /// Takes over all instances that answer; at least one. The others are in what comes back.
    ///
    /// # Errors
    /// When an instance can never be taken over by this operator, and there is no other.
    #[allow(clippy::disallowed_methods, reason = "one message for each instance")]
    pub async fn begin(self) -> Result<Pending, Error> {
        let (tried, mut first_tries) = mpsc::unbounded_channel();
        let names: Vec<InstanceName> = self.backends.cells().map(|cell| cell.name().clone()).collect();
        let mut attempts = JoinSet::new();
        for name in &names {
            attempts.spawn(self.clone().until_open(name.clone(), names.len() == 1, tried.clone()));
        }
        let deadline = Instant::now() + GRACE;
        let (mut untried, mut open) = (names.len(), 0);
        while open == 0 || (untried > 0 && Instant::now() < deadline) {
            tokio::select! {
                Some(()) = first_tries.recv() => untried = untried.saturating_sub(1),
                Some(ended) = attempts.join_next() => match ended {
                    Ok(Ok(_)) => open += 1,
                    Ok(Err(error)) => return Err(error),
                    Err(_panicked) => return Err(Error::Panicked),
                },
                () = tokio::time::sleep_until(deadline), if open > 0 => break,
            }
        }
        self.backends.check_redis().await;
        Ok(Pending { attempts })
    }

    async fn until_open(
        self,
        name: InstanceName,
        only: bool,
        tried: mpsc::UnboundedSender<()>,
    ) -> Result<InstanceName, Error> {
        let cell = self.backends.cell(&name)?;
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = self.take_over(cell).await;
            // Nobody listens after the first pass began.
            let _sent = tried.send(());
            match attempt {
                Ok(()) => return Ok(name),
                // Another release may be able to; with other instances to lead, this one goes on.
                Err(error) if only && error.class() != Class::Transient => return Err(error),
                Err(error) => {
                    let error = &error as &(dyn std::error::Error + 'static);
                    tracing::warn!(instance = %name, error, "taking over");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn take_over(&self, cell: &Cell) -> Result<(), Error> {
        let epoch = cell.open(&self.holder).await?;
        app::publish_core(cell, epoch).await?;
        app::load(cell, &self.catalog).await?;
        app::load_targets(cell, &self.catalog).await?;
        self.rollouts.load(rollout::journal::read(cell).await?);
        let tenants = registry::tenants(cell.database(), Of::Every)
            .await
            .map_err(Error::database("reading the names of all tenants"))?;
        self.directory.read(cell.name(), tenants);
        cell.lead(epoch);
        self.metrics.leader_epoch.set(self.metrics.leader_epoch.get().max(epoch));
        tracing::info!(instance = %cell.name(), epoch, "leading");
        Ok(())
    }
}

impl Pending {
    /// Goes on with the others, and calls `opened` after each. Never ends.
    pub async fn go_on(mut self, opened: impl Fn(&InstanceName)) {
        while let Some(ended) = self.attempts.join_next().await {
            match ended {
                Ok(Ok(name)) => opened(&name),
                Ok(Err(error)) => tracing::error!(%error, "an instance is not taken over"),
                Err(error) => tracing::error!(%error, "an instance is not taken over"),
            }
        }
        std::future::pending::<()>().await;
    }
}
