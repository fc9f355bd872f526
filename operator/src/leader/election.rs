//! Winning, keeping and releasing the Lease.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tenantry_config::settings;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    decision::{Step, Watched},
    leadership::Tenure,
};
use crate::{error::Error, killpoint::killpoint};

/// A candidate for the Lease.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    namespace: String,
    me: String,
    duration: Duration,
    renew: Duration,
}

/// The Lease as we last wrote it. Its resource version makes the next write fail if anyone else wrote in between.
pub struct Held {
    lease: Lease,
    tenure: Tenure,
}

impl Held {
    /// The right to lead that comes with it.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }
}

/// Why leading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// On request; the Lease is free for the next.
    Released,
    /// Somebody else has the Lease, or it could not be renewed in time. The process must exit at once.
    Lost,
}

impl Election {
    /// A candidate named `me`, which no other process is.
    pub fn new(client: Client, settings: &settings::Leader, me: String) -> Self {
        Self {
            leases: Api::namespaced(client, &settings.namespace),
            name: settings.lease.clone(),
            namespace: settings.namespace.clone(),
            me,
            duration: Duration::from_secs(settings.duration_seconds.max(1)),
            renew: Duration::from_secs(settings.renew_seconds.max(1)),
        }
    }

    /// We stop this long after a renewal that stayed the last: before anyone else may start, with room for a slow last step.
    fn holds_for(&self) -> Duration {
        self.duration.mul_f64(2.0 / 3.0)
    }

    /// Between two looks at a Lease that someone else has, and between two attempts to renew one that is ours.
    fn retry(&self) -> Duration {
        self.renew.mul_f64(0.4)
    }

    /// Waits until the Lease is ours; `None` when `shutdown` comes first. Calls `standby` whenever someone else has it.
    pub async fn win(&self, standby: impl Fn(), shutdown: &CancellationToken) -> Option<Held> {
        let mut watched = Watched::default();
        loop {
            match self.campaign(&mut watched).await {
                Ok(Some(held)) => return Some(held),
                Ok(None) => standby(),
                Err(error) => {
                    tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "lease");
                }
            }
            let pause = self.retry().mul_f64(rand::random::<f64>().mul_add(0.4, 0.8));
            tokio::select! {
                () = sleep(pause) => {}
                () = shutdown.cancelled() => return None,
            }
        }
    }

    async fn campaign(&self, watched: &mut Watched) -> Result<Option<Held>, Error> {
        let found = self.call("reading the lease", self.leases.get_opt(&self.name)).await?;
        let sent = Instant::now();
        let taken = match watched.step(&self.me, found.as_ref(), sent) {
            Step::Wait => return Ok(None),
            Step::Create => {
                let lease = self.written(None, &self.me, self.duration);
                killpoint!(
                    "lease.create",
                    self.call("making the lease", self.leases.create(&PostParams::default(), &lease)).await
                )
            }
            Step::Take => {
                let lease = self.written(found.as_ref(), &self.me, self.duration);
                self.replace(&lease).await
            }
        };
        match taken {
            Ok(lease) => {
                tracing::info!(holder = %self.me, "won the lease");
                let tenure = Tenure::new();
                tenure.renewed(sent, self.holds_for());
                Ok(Some(Held { lease, tenure }))
            }
            // Another candidate was faster.
            Err(error) if error.class() == crate::error::Class::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews until `stop`, then releases.
    pub async fn keep(&self, mut held: Held, stop: CancellationToken) -> Ended {
        loop {
            tokio::select! {
                () = sleep(self.renew) => {}
                () = stop.cancelled() => {
                    self.release(&held).await;
                    return Ended::Released;
                }
            }
            if let Err(error) = self.renewed(&mut held).await {
                held.tenure.give_up();
                tracing::error!(error = &error as &(dyn std::error::Error + 'static), "lost the lease");
                return Ended::Lost;
            }
        }
    }

    /// Renews once, trying again until the tenure is over.
    async fn renewed(&self, held: &mut Held) -> Result<(), Error> {
        loop {
            let sent = Instant::now();
            let lease = self.written(Some(&held.lease), &self.me, self.duration);
            match self.replace(&lease).await {
                Ok(lease) => {
                    held.lease = lease;
                    held.tenure.renewed(sent, self.holds_for());
                    return Ok(());
                }
                Err(error) if error.class() == crate::error::Class::Conflict || error.is_gone() => {
                    // Our own write whose answer was lost also looks so. Reading tells, and the tenure bounds it.
                    match self.call("reading the lease", self.leases.get_opt(&self.name)).await {
                        Ok(Some(now)) if self.is_mine(&now) => held.lease = now,
                        Ok(_) => return Err(error),
                        Err(error) => {
                            tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "lease")
                        }
                    }
                }
                Err(error) => tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "lease"),
            }
            held.tenure.check()?;
            sleep(self.retry().min(Duration::from_secs(1))).await;
        }
    }

    async fn release(&self, held: &Held) {
        held.tenure.give_up();
        let free = self.written(Some(&held.lease), "", Duration::from_secs(1));
        match self.replace(&free).await {
            Ok(_) => tracing::info!("released the lease"),
            // It runs out by itself.
            Err(error) => {
                tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "releasing the lease")
            }
        }
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.me)
    }

    fn written(&self, old: Option<&Lease>, holder: &str, duration: Duration) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = old.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let same = before.holder_identity.as_deref() == Some(holder);
        let meta = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        };
        Lease {
            metadata: old.map_or(meta, |lease| lease.metadata.clone()),
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
                acquire_time: if same { before.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!same)),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Error> {
        let doing = "writing the lease";
        killpoint!(
            "lease.write",
            self.call(doing, self.leases.replace(&self.name, &PostParams::default(), lease)).await
        )
    }

    async fn call<T>(
        &self,
        doing: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let limit = self.retry().max(Duration::from_secs(1));
        timeout(limit, request)
            .await
            .map_err(|_| Error::Timeout { doing, limit })?
            .map_err(Error::kube(doing))
    }
}
