//! The process that has the duty, and what it does in a turn.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use tenantry_config::settings;
use tenantry_crds::names::InstanceName;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    backfill::{Filler, Unfilled},
    hold::Holds,
    index::{self, Failure, Submitted},
    metrics::{CellMetrics, Event},
    outbox::{Cursor, EventRow, Lost, Outbox, Target},
    plan::{self, EventId, Fate},
};
use crate::{
    data::CursorKey,
    database::Login,
    duty::{Duty, Lease},
    error::Chain,
    registry::{Registry, TenantEntry},
    search::Meilisearch,
};

/// After the connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);
/// Between two looks for indexes that were never filled.
const LOOK_FOR_NEW: Duration = Duration::from_secs(1);
/// Indexes that are filled at once.
const FILLS: usize = 2;
/// After a batch that was not full: each look has its price, and a moment later there is more than one event to pay it.
const GATHER: Duration = Duration::from_millis(50);

/// The worker of a Postgres instance.
pub(super) struct Worker {
    /// The Postgres instance whose outbox it drains.
    pub cell: InstanceName,
    pub registry: Registry,
    pub login: Login,
    pub duty: Duty,
    pub cursors: CursorKey,
    pub settings: settings::Worker,
    pub metrics: CellMetrics,
}

/// What was asked of one search instance in a turn.
struct Asked {
    engine: Meilisearch,
    is_up: bool,
    submitted: Vec<Submitted>,
    /// What `submitted` is about.
    open: Vec<(String, Target)>,
}

/// A time in which this process is the one that works.
struct Term<'a> {
    worker: &'a Worker,
    outbox: Outbox,
    cursor: Cursor,
    holds: Holds,
    /// Indexes whose filling failed: one that cannot be filled must not keep the others waiting.
    unfilled: Holds,
    fills: JoinSet<(Target, Result<usize, Unfilled>)>,
    filling: HashSet<Target>,
    looked: Option<Instant>,
}

impl Asked {
    fn of(engine: Meilisearch) -> Self {
        Self { engine, is_up: true, submitted: Vec::new(), open: Vec::new() }
    }
}

impl Worker {
    /// Works whenever no other process does, until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = self.registry.is_read(&self.cell) => {}
        }
        while !shutdown.is_cancelled() {
            // What is cut off by the shutdown is done again: events are removed when the engine has them.
            let ended = self.duty.hold(&shutdown, async |lease| self.term(lease).await).await;
            self.metrics.leader.set(0.0);
            if let Err(lost) = ended {
                tracing::warn!(instance = %self.cell, cause = %Chain(&lost), "the worker pauses");
                tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
            }
        }
    }

    /// Works until the connection is lost.
    async fn term(&self, lease: Lease) -> Result<Infallible, Lost> {
        let outbox = Outbox::open(&self.login, lease).await?;
        tracing::info!(instance = %self.cell, "draining the outbox");
        self.metrics.leader.set(1.0);
        let mut term = Term {
            worker: self,
            outbox,
            cursor: Cursor::default(),
            holds: Holds::default(),
            unfilled: Holds::default(),
            fills: JoinSet::new(),
            filling: HashSet::new(),
            looked: None,
        };
        term.work().await
    }
}

impl Term<'_> {
    async fn work(&mut self) -> Result<Infallible, Lost> {
        let poll = Duration::from_millis(self.worker.settings.poll_milliseconds.max(10));
        loop {
            self.take_fills().await?;
            self.start_fills().await?;
            let now = Instant::now();
            self.holds.sweep(now);
            self.unfilled.sweep(now);
            let held = self.holds.waiting(now);
            let limit = i64::from(self.worker.settings.batch.max(1));
            let events = self.outbox.batch(&mut self.cursor, &held, limit).await?;
            let oldest = events.iter().map(|event| event.age).fold(0.0, f64::max);
            self.worker.metrics.lag.set(oldest);
            if events.is_empty() {
                tokio::time::sleep(poll).await;
                continue;
            }
            let _timer = self.worker.metrics.batch.start_timer();
            self.worker.metrics.size.observe(events.len() as f64);
            self.turn(events).await?;
            if self.cursor.is_at_the_start() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    async fn turn(&mut self, events: Vec<EventRow>) -> Result<(), Lost> {
        let snapshot = Arc::clone(&self.worker.registry.snapshot());
        let groups =
            plan::groups(events, &snapshot, &self.worker.cell, |tenant| tenant.home.search().is_some());
        let targets: Vec<&Target> = groups
            .iter()
            .filter_map(|group| match &group.fate {
                Fate::Index(target) => Some(target),
                Fate::Unwanted | Fate::Wait => None,
            })
            .collect();
        let filled: HashSet<Target> = match targets.as_slice() {
            [] => HashSet::new(),
            targets => self.outbox.backfilled(targets).await?.into_iter().collect(),
        };
        let mut done = Vec::new();
        let mut asked: BTreeMap<InstanceName, Asked> = BTreeMap::new();
        for group in groups {
            let ids = || group.events.iter().map(|event| (event.role.clone(), event.id));
            let target = match &group.fate {
                Fate::Unwanted => {
                    self.worker.metrics.count(Event::Unwanted, group.events.len());
                    done.extend(ids());
                    continue;
                }
                Fate::Index(target) if filled.contains(target) => Some(target.clone()),
                Fate::Index(_) | Fate::Wait => None,
            };
            let tenant = target.as_ref().and_then(|target| snapshot.by_name(&target.tenant));
            let asked = tenant.and_then(|tenant| tenant.home.search()).map(|search| {
                asked.entry(search.name.clone()).or_insert_with(|| Asked::of(search.engine.clone()))
            });
            let (Some(target), Some(asked)) = (target, asked.filter(|asked| asked.is_up)) else {
                self.worker.metrics.count(Event::Held, group.events.len());
                self.holds.pause(&group.key, Instant::now());
                continue;
            };
            let Some(doc_type) = tenant.and_then(|tenant| tenant.apps.get(&target.app)).and_then(|app| {
                app.doc_types.iter().find(|doc_type| doc_type.name.as_str() == target.doc_type)
            }) else {
                self.holds.pause(&group.key, Instant::now());
                continue;
            };
            let change = plan::coalesce(group.events, doc_type);
            self.park(&target, &change.unfit, &mut done);
            self.outbox.is_ours()?;
            match index::submit(&asked.engine, &target.index_uid, change).await {
                Ok(submitted) => {
                    asked.submitted.push(submitted);
                    asked.open.push((group.key, target));
                }
                Err(failure) => {
                    asked.is_up &= matches!(failure, Failure::Missing);
                    self.failed(&group.key, &target, &failure).await?;
                }
            }
        }
        for Asked { engine, submitted, open, .. } in
            asked.into_values().filter(|asked| !asked.open.is_empty())
        {
            let applied = index::settle(&engine, submitted).await;
            for ((key, target), applied) in open.into_iter().zip(applied) {
                self.worker.metrics.count(Event::Indexed, applied.done.len());
                done.extend(applied.done);
                self.park(&target, &applied.parked, &mut done);
                match applied.failure {
                    None => self.holds.release(&key),
                    Some(failure) => self.failed(&key, &target, &failure).await?,
                }
            }
        }
        self.outbox.remove(&done).await
    }

    fn park(&self, target: &Target, events: &[EventId], done: &mut Vec<EventId>) {
        if !events.is_empty() {
            tracing::error!(
                tenant = target.tenant,
                index = target.index_uid,
                events = events.len(),
                "documents cannot be indexed"
            );
            self.worker.metrics.count(Event::Parked, events.len());
            done.extend_from_slice(events);
        }
    }

    async fn failed(&mut self, key: &str, target: &Target, failure: &Failure) -> Result<(), Lost> {
        tracing::warn!(tenant = target.tenant, index = target.index_uid, cause = %Chain(failure), "index waits");
        self.holds.hold(key, Instant::now());
        if matches!(failure, Failure::Missing) {
            // When the operator has made it again, it is empty.
            self.outbox.forget(target).await?;
        }
        Ok(())
    }

    async fn take_fills(&mut self) -> Result<(), Lost> {
        while let Some(ended) = self.fills.try_join_next() {
            let Ok((target, result)) = ended else {
                // A panic is in the log already. The look for new indexes comes upon it again.
                self.filling.clear();
                continue;
            };
            match result {
                Ok(documents) => {
                    self.unfilled.release(&target.index_uid);
                    self.outbox.finish(&target).await?;
                    tracing::info!(
                        tenant = target.tenant,
                        index = target.index_uid,
                        documents,
                        "index filled"
                    );
                }
                Err(error) => {
                    self.unfilled.hold(&target.index_uid, Instant::now());
                    tracing::warn!(tenant = target.tenant, index = target.index_uid, cause = %Chain(&error), "index not filled");
                }
            }
            self.filling.remove(&target);
        }
        Ok(())
    }

    async fn start_fills(&mut self) -> Result<(), Lost> {
        if self.fills.len() >= FILLS || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_FOR_NEW) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let wanting = self.outbox.wanting(&self.unfilled.waiting(Instant::now())).await?;
        let snapshot = Arc::clone(&self.worker.registry.snapshot());
        for target in wanting {
            if self.fills.len() >= FILLS {
                // More wait: go on as soon as one is done.
                self.looked = None;
                return Ok(());
            }
            // From a snapshot that has the index on, its events are kept; those before are covered by what is read now.
            let tenant = snapshot
                .by_name(&target.tenant)
                .filter(|tenant| tenant.home.cell == self.worker.cell && is_live(tenant, &target));
            let (Some(tenant), false) = (tenant.cloned(), self.filling.contains(&target)) else { continue };
            let (Some(search), Ok(database)) = (tenant.home.search(), tenant.home.database()) else {
                continue;
            };
            let filler = Filler {
                engine: search.engine.clone(),
                database: Arc::clone(database),
                cursors: self.worker.cursors.clone(),
            };
            self.filling.insert(target.clone());
            self.fills.spawn(async move {
                let result = filler.fill(tenant, &target).await;
                (target, result)
            });
        }
        Ok(())
    }
}

fn is_live(tenant: &TenantEntry, target: &Target) -> bool {
    let bindings: HashMap<_, _> = tenant
        .search
        .iter()
        .map(|((app, doc_type), binding)| ((app.as_str(), doc_type.as_str()), binding))
        .collect();
    bindings
        .get(&(target.app.as_str(), target.doc_type.as_str()))
        .is_some_and(|binding| binding.live && binding.index_uid == target.index_uid)
}
