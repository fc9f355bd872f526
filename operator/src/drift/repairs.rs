//! From a finding to its repair, and whether the operator has caught up.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tenantry_crds::v1alpha1::Tenant;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    batch::{Candidate, Verdict},
    finding::{self, Finding},
};
use crate::{
    context::Context,
    driver::{Kind, stands},
};

/// How often the tenants that were woken are looked at, while there are any. It is a look into memory.
const LOOK: Duration = Duration::from_millis(200);
/// What is not repaired by then is not waited for any more: its status says why.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tenants that were woken and are not at rest again.
#[derive(Debug, Default)]
pub struct Repairs {
    open: Mutex<BTreeMap<String, Repair>>,
    changed: Notify,
    scanned: Mutex<bool>,
}

#[derive(Debug)]
struct Repair {
    /// The passes that the tenant had when it was found.
    passes: u64,
    since: Instant,
    /// What drifted; nothing where only the definition is newer.
    findings: Vec<Finding>,
}

impl Repairs {
    /// Wakes a tenant and keeps what was found until that is repaired.
    pub fn found(&self, ctx: &Context, candidate: &Candidate<'_>, verdict: Verdict) {
        let name = candidate.tenant.name_any();
        let findings = match verdict {
            Verdict::InPlace => return,
            Verdict::Behind => Vec::new(),
            Verdict::Drifted(findings) => findings,
        };
        for finding in &findings {
            if let (Some(index), Ok(search)) = (&finding.replaced, candidate.placed.search()) {
                search.tasks.replaced(index);
            }
        }
        if !findings.is_empty() {
            tracing::warn!(tenant = name, found = finding::note(&findings), "drifted");
        }
        let repair = Repair { passes: candidate.passes, since: Instant::now(), findings };
        self.open().insert(name.clone(), repair);
        ctx.lanes.tenants.wake(&name);
        self.changed.notify_one();
    }

    /// The first round is done, in which every backend answered.
    pub fn scanned_once(&self) {
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until fewer than `limit` tenants wait for their repair. One whose pass has failed waits for something else.
    pub async fn fewer_than(&self, limit: usize) {
        loop {
            let young = |repair: &&Repair| repair.since.elapsed() < PATIENCE;
            if self.open().values().filter(young).count() < limit {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sees to the end of repairs, until `stop`.
    pub async fn follow(&self, ctx: &Context, stop: &CancellationToken) {
        let began = Instant::now();
        let mut caught_up = false;
        loop {
            let idle = self.open().is_empty() && (caught_up || !self.is_scanned());
            tokio::select! {
                () = self.changed.notified(), if idle => {}
                () = tokio::time::sleep(LOOK), if !idle => {}
                () = stop.cancelled() => return,
            }
            self.settle(ctx);
            if !caught_up && self.is_scanned() && self.all_had_their_pass(ctx) {
                caught_up = true;
                ctx.metrics.drift.caught_up.set(1);
                tracing::info!(tenants = ctx.stores.tenants.len(), took = ?began.elapsed(), "caught up");
            }
        }
    }

    fn settle(&self, ctx: &Context) {
        let mut open = self.open();
        open.retain(|name, repair| {
            let Some(tenant) = ctx.stores.tenants.get(&ObjectRef::new(name)) else { return false };
            let passes = ctx.lanes.tenants.at_rest(&*tenant, Tenant::FINALIZER, Instant::now());
            if passes.is_none_or(|passes| passes <= repair.passes) || !stands(&*tenant) {
                return true;
            }
            repair.report(&tenant, ctx);
            false
        });
        let drifted = open.values().filter(|repair| !repair.findings.is_empty()).count();
        ctx.metrics.drift.drifted.set(i64::try_from(drifted).unwrap_or(i64::MAX));
    }

    /// Whether nothing is left of what may have changed before this process led. A tenant whose pass failed had its turn.
    fn all_had_their_pass(&self, ctx: &Context) -> bool {
        let waits =
            |name: &str| self.open().get(name).is_some_and(|repair| repair.since.elapsed() < PATIENCE);
        let rests =
            |tenant: &Tenant| ctx.lanes.tenants.at_rest(tenant, Tenant::FINALIZER, Instant::now()).is_some();
        ctx.stores
            .tenants
            .state()
            .iter()
            .all(|tenant| rests(tenant) && (!waits(&tenant.name_any()) || !stands(&**tenant)))
    }

    fn is_scanned(&self) -> bool {
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Repair>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repair {
    fn report(&self, tenant: &Tenant, ctx: &Context) {
        if self.findings.is_empty() {
            return;
        }
        for finding in &self.findings {
            ctx.metrics.drift.repaired(finding);
        }
        let note = finding::note(&self.findings);
        tracing::info!(tenant = tenant.name_any(), took = ?self.since.elapsed(), note, "drift repaired");
        let lost = self.findings.iter().any(|finding| finding.lost.is_some());
        ctx.events.drift_repaired(tenant, &note, lost);
    }
}
