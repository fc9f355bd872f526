//! Waits for the engine's tasks, all of them in one request, and wakes the tenants that they belong to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::error::SearchFault;

/// A small index takes some 50 ms.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// What a slow engine is asked at most: once a second in all, however many tasks there are.
const SLOWEST_LOOK: Duration = Duration::from_secs(1);
/// Tasks asked for in one request, the oldest first; the rest is asked for when these have ended.
const AT_ONCE: usize = 500;

/// The tasks that tenants wait for. After a restart the next pass over a tenant looks at its index itself, so nothing of
/// this has to outlive the process.
#[derive(Debug, Default)]
pub struct Tasks {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<u64, Waiting>,
    /// By index.
    failed: HashMap<String, (u64, String)>,
    /// Indexes that somebody made again under the same name.
    replaced: HashSet<String>,
}

#[derive(Debug)]
struct Waiting {
    tenant: String,
    index: String,
}

impl Tasks {
    /// `tenant` waits for `task`, which is about `index`.
    pub fn watch(&self, task: u64, tenant: &str, index: &str) {
        let waiting = Waiting { tenant: tenant.to_owned(), index: index.to_owned() };
        self.state().running.insert(task, waiting);
        self.added.notify_one();
    }

    /// Whether a task about `index` has not ended.
    pub fn is_running(&self, index: &str) -> bool {
        self.state().running.values().any(|waiting| waiting.index == index)
    }

    /// The failure of the last task about `index`, once.
    pub fn take_failure(&self, index: &str) -> Option<SearchFault> {
        let (task, code) = self.state().failed.remove(index)?;
        Some(SearchFault::TaskFailed { task, code })
    }

    /// Somebody removed the index and made another with its name: the next pass starts it anew.
    pub fn replaced(&self, index: &str) {
        self.state().replaced.insert(index.to_owned());
    }

    /// Whether the index was replaced and not started anew since.
    pub fn is_replaced(&self, index: &str) -> bool {
        self.state().replaced.contains(index)
    }

    /// The index was started anew.
    pub fn renewed(&self, index: &str) {
        self.state().replaced.remove(index);
    }

    /// Looks at the tasks until `stop`, and calls `wake` with each tenant that waits for none any more.
    pub async fn run(&self, engine: &Engine, wake: impl Fn(&str), stop: CancellationToken) {
        let mut pause = FIRST_LOOK;
        loop {
            let oldest: Vec<u64> = self.state().running.keys().copied().take(AT_ONCE).collect();
            if oldest.is_empty() {
                tokio::select! {
                    () = self.added.notified() => pause = FIRST_LOOK,
                    () = stop.cancelled() => return,
                }
                continue;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            match engine.ended(&oldest).await {
                Ok(ended) if ended.is_empty() => pause = longer(pause),
                Ok(ended) => {
                    pause = FIRST_LOOK;
                    for tenant in self.settle(ended) {
                        wake(&tenant);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "search tasks cannot be looked at");
                    pause = SLOWEST_LOOK;
                }
            }
        }
    }

    /// Takes note of what ended; the tenants that wait for nothing more.
    fn settle(&self, ended: Vec<super::TaskOutcome>) -> Vec<String> {
        let mut state = self.state();
        let mut tenants = Vec::new();
        for outcome in ended {
            let Some(waiting) = state.running.remove(&outcome.task) else { continue };
            if let Some(code) = outcome.failure {
                state.failed.insert(waiting.index, (outcome.task, code));
            }
            tenants.push(waiting.tenant);
        }
        tenants.sort_unstable();
        tenants.dedup();
        tenants.retain(|tenant| state.running.values().all(|waiting| waiting.tenant != *tenant));
        tenants
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(SLOWEST_LOOK)
}

#[cfg(test)]
mod tests {
    use super::{super::TaskOutcome, *};

    fn done(task: u64) -> TaskOutcome {
        TaskOutcome { task, failure: None }
    }

    #[test]
    fn a_tenant_is_woken_when_its_last_task_ended() {
        let tasks = Tasks::default();
        tasks.watch(1, "acme", "acme_crm_customer");
        tasks.watch(2, "acme", "acme_crm_customer");
        tasks.watch(3, "globex", "globex_crm_customer");
        assert_eq!(tasks.settle(vec![done(1), done(3)]), ["globex"]);
        assert!(tasks.is_running("acme_crm_customer"));
        assert_eq!(tasks.settle(vec![done(2)]), ["acme"]);
        assert!(!tasks.is_running("acme_crm_customer"));
    }

    #[test]
    fn a_failure_is_told_once() {
        let tasks = Tasks::default();
        tasks.watch(1, "acme", "i");
        tasks.settle(vec![TaskOutcome { task: 1, failure: Some("no_space_left".into()) }]);
        assert!(matches!(tasks.take_failure("i"), Some(SearchFault::TaskFailed { task: 1, .. })));
        assert!(tasks.take_failure("i").is_none());
    }

    #[test]
    fn the_pause_is_bounded() {
        let last = (0..50).fold(FIRST_LOOK, |pause, _| longer(pause));
        assert_eq!(last, SLOWEST_LOOK);
    }
}
