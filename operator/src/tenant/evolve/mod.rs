//! Steps: changes of tables that hold rows, beside the passes.
//!
//! A pass leaves the steps of its tenant here, waits for a moment, and reports what is under way. The end of the steps wakes
//! the tenant, and the next pass looks at the tables again: nothing of this has to outlive the process.

mod run;

pub(super) use run::waited_for;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tenantry_crds::names::{InstanceName, TenantName};
use tenantry_migrations::logins::LoginShard;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::postgres::{change::Identity, step::Step},
    context::Context,
    error::Error,
};

/// Tenants whose steps run at the same time: each reads a table as a whole, or builds an index over it.
const AT_ONCE: usize = 4;
/// Most tenants are done by then, and their pass says how it ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// The steps of one tenant.
#[derive(Debug, Clone)]
pub struct Evolution {
    /// Whose.
    pub tenant: Identity,
    /// The Postgres instance that it is in.
    pub cell: InstanceName,
    /// Whose logins provision it.
    pub shard: LoginShard,
    /// In their order.
    pub steps: Vec<Step>,
}

/// The steps of all tenants.
#[derive(Debug, Default)]
pub struct Evolutions {
    tenants: Mutex<HashMap<TenantName, State>>,
    waiting: Mutex<VecDeque<(Evolution, Ticket)>>,
    added: Notify,
}

/// The steps of a tenant, and how far they are.
#[derive(Debug)]
struct State {
    steps: Vec<Step>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Running { ended: watch::Receiver<bool>, stop: CancellationToken },
    Failed(Error),
}

#[derive(Debug)]
struct Ticket {
    ended: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Evolutions {
    /// Whether steps of this tenant wait or run.
    pub fn is_running(&self, tenant: &TenantName) -> bool {
        self.tenants().get(tenant).is_some_and(|state| matches!(state.progress, Progress::Running { .. }))
    }

    /// Begins the steps of a tenant, unless some are running already, and waits for a moment; how they ended, if they did.
    pub async fn advance(&self, evolution: Evolution) -> Option<Result<(), Error>> {
        let tenant = evolution.tenant.name.clone();
        let mut ended = match self.begin(evolution) {
            Begun::Waits(ended) => ended,
            // Theirs is another outcome than ours; their end wakes the tenant.
            Begun::OthersRun => return None,
            Begun::Failed(error) => return Some(Err(error)),
        };
        // Whether the time is over or the sender gone, what counts is the state.
        let _elapsed = tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended)).await;
        take_outcome(&mut self.tenants(), &tenant)
    }

    fn begin(&self, evolution: Evolution) -> Begun {
        let tenant = evolution.tenant.name.clone();
        let mut tenants = self.tenants();
        match tenants.remove(&tenant) {
            Some(State { steps, progress: Progress::Failed(error) }) if steps == evolution.steps => {
                return Begun::Failed(error);
            }
            Some(State { steps, progress: Progress::Running { ended, stop } }) => {
                let same = steps == evolution.steps;
                let begun = if same { Begun::Waits(ended.clone()) } else { Begun::OthersRun };
                tenants.insert(tenant, State { steps, progress: Progress::Running { ended, stop } });
                return begun;
            }
            // The failure of what is not planned any more is nobody's.
            Some(_) | None => {}
        }
        let (sender, ended) = watch::channel(false);
        let stop = CancellationToken::new();
        let progress = Progress::Running { ended: ended.clone(), stop: stop.clone() };
        tenants.insert(tenant, State { steps: evolution.steps.clone(), progress });
        self.waiting().push_back((evolution, Ticket { ended: sender, stop }));
        self.added.notify_one();
        Begun::Waits(ended)
    }

    /// Ends the steps of a tenant that is being deleted.
    pub fn cancel(&self, tenant: &TenantName) {
        let mut tenants = self.tenants();
        match tenants.get(tenant).map(|state| &state.progress) {
            Some(Progress::Running { stop, .. }) => stop.cancel(),
            Some(Progress::Failed(_)) => drop(tenants.remove(tenant)),
            None => {}
        }
    }

    /// Runs the steps of all tenants until `stop`, and wakes each tenant whose steps ended.
    pub async fn run(&self, ctx: &Arc<Context>, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        loop {
            let permit = tokio::select! {
                permit = permits.clone().acquire_owned() => permit,
                () = stop.cancelled() => return,
            };
            let (evolution, ticket) = tokio::select! {
                next = self.next() => next,
                () = stop.cancelled() => return,
            };
            while running.try_join_next().is_some() {}
            let ctx = ctx.clone();
            running.spawn(async move {
                let _permit = permit;
                let name = evolution.tenant.name.clone();
                let outcome = tokio::select! {
                    outcome = run::run(&ctx, &evolution) => Some(outcome),
                    () = ticket.stop.cancelled() => None,
                };
                if ctx.evolutions.end(&name, outcome, &ticket) {
                    ctx.lanes.tenants.wake(name.as_str());
                }
            });
        }
    }

    async fn next(&self) -> (Evolution, Ticket) {
        loop {
            if let Some(next) = self.waiting().pop_front() {
                return next;
            }
            self.added.notified().await;
        }
    }

    /// Takes note of the end; whether the tenant needs a pass. A failure that a pass waits for is told by it, and another pass
    /// would only try the same again.
    fn end(&self, tenant: &TenantName, outcome: Option<Result<(), Error>>, ticket: &Ticket) -> bool {
        let mut tenants = self.tenants();
        let state = tenants.remove(tenant);
        let failed = match (outcome, state) {
            (Some(Err(error)), Some(State { steps, .. })) => {
                tenants.insert(tenant.clone(), State { steps, progress: Progress::Failed(error) });
                true
            }
            // The next pass finds what they made.
            _ => false,
        };
        ticket.ended.send_replace(true);
        !failed || ticket.ended.receiver_count() == 0
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantName, State>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Evolution, Ticket)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of the wish to run some steps.
enum Begun {
    Waits(watch::Receiver<bool>),
    OthersRun,
    Failed(Error),
}

/// How the steps ended; nothing while they run. Those that are gone from here ended well.
fn take_outcome(tenants: &mut HashMap<TenantName, State>, tenant: &TenantName) -> Option<Result<(), Error>> {
    match tenants.remove(tenant) {
        Some(State { progress: Progress::Failed(error), .. }) => Some(Err(error)),
        Some(running) => {
            tenants.insert(tenant.clone(), running);
            None
        }
        None => Some(Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::fixtures::{SHARD, desired};
    use tenantry_crds::{names::TableName, reason::Reason};
    use tenantry_migrations::layout::Column;

    fn evolution(number: usize) -> Evolution {
        let desired = desired(None);
        let layout = desired.tables().next().unwrap();
        let step = |column: &Column| Step::Require(TableName::clone(&layout.table), column.clone());
        let steps = layout.columns.iter().take(number).map(step).collect();
        Evolution { tenant: desired.tenant.clone(), cell: InstanceName::default(), shard: SHARD, steps }
    }

    async fn next(evolutions: &Evolutions) -> Ticket {
        evolutions.next().await.1
    }

    fn failure() -> Option<Result<(), Error>> {
        Some(Err(Error::blocked(Reason::DataConflict, "3 rows")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_waits_tells_how_the_steps_ended() {
        let evolutions = Evolutions::default();
        let name = evolution(1).tenant.name;
        let work = async {
            let ticket = next(&evolutions).await;
            assert!(!evolutions.end(&name, failure(), &ticket), "the pass tells it");
        };
        let (outcome, ()) = tokio::join!(evolutions.advance(evolution(1)), work);
        assert!(matches!(outcome, Some(Err(Error::Blocked { .. }))), "{outcome:?}");
        assert!(!evolutions.is_running(&name));
        let work = async {
            let ticket = next(&evolutions).await;
            assert!(evolutions.end(&name, Some(Ok(())), &ticket), "the next pass looks at what was made");
        };
        let (outcome, ()) = tokio::join!(evolutions.advance(evolution(1)), work);
        assert!(matches!(outcome, Some(Ok(()))), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn long_steps_go_on_without_the_pass_and_wake_the_tenant_when_they_fail() {
        let evolutions = Evolutions::default();
        let name = evolution(1).tenant.name;
        assert!(evolutions.advance(evolution(1)).await.is_none());
        assert!(evolutions.is_running(&name));
        assert!(evolutions.advance(evolution(2)).await.is_none(), "other steps wait for these");
        let ticket = next(&evolutions).await;
        assert!(evolutions.end(&name, failure(), &ticket));
        assert!(matches!(evolutions.advance(evolution(1)).await, Some(Err(_))), "told once");
        assert!(evolutions.advance(evolution(1)).await.is_none(), "and tried again then");
    }

    #[tokio::test(start_paused = true)]
    async fn the_failure_of_other_steps_is_not_ours() {
        let evolutions = Evolutions::default();
        let name = evolution(1).tenant.name;
        assert!(evolutions.advance(evolution(1)).await.is_none());
        let ticket = next(&evolutions).await;
        evolutions.end(&name, failure(), &ticket);
        assert!(evolutions.advance(evolution(2)).await.is_none());
        assert!(evolutions.is_running(&name));
        evolutions.cancel(&name);
        assert!(next(&evolutions).await.stop.is_cancelled());
    }
}
