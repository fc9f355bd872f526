//! One pass, in the order that matters: leadership, turn, deadline and panic guard, finalizer, converge or clean up, status
//! on every outcome.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{ResourceExt, runtime::controller::Action};
use tenantry_crds::{
    conditions::{ConditionType, settle},
    labels::{PAUSED_ANNOTATION, PLAN_ANNOTATION},
};

use super::{
    api,
    backoff::delay,
    kind::{Cleanup, Kind, Pass},
    lane::Turn,
    standing::may_rest,
    verdict::{Ended, Next, Verdict},
};
use crate::{
    context::Context,
    error::Error,
    metrics::{Outcome, Queue},
};

/// The failures after which a change is tried again among the standing population: by then nobody waits for it in front of a
/// screen.
const STAYS_URGENT: u32 = 5;

/// When to look again whether we lead. A renewal that came late may still have succeeded, and then nobody else will ask for
/// this object: what is not asked for again is never done. A process that lost the Lease exits long before.
const LEADS_AGAIN: Duration = Duration::from_secs(1);

/// Gives `object` its pass, or says when it gets one. Never fails: what failed is in the status and in the lane.
pub(super) async fn reconcile<K: Kind>(object: Arc<K>, ctx: Arc<Context>) -> Result<Action, Infallible> {
    ctx.stores.complete().await;
    ctx.rollouts.take_stock(&ctx.stores.apps);
    if ctx.leadership.check().is_err() {
        return Ok(Action::requeue(LEADS_AGAIN));
    }
    rest(&*object, &ctx);
    let (name, now) = (object.name_any(), Instant::now());
    let lane = K::lane(&ctx);
    let turn = lane.turn(&*object, K::FINALIZER, is_handled(&*object), now);
    let noticed = lane.began(&name, now);
    let (failures, urgent) = match turn {
        Turn::After(wait) => {
            lane.withdraw(&name);
            return Ok(Action::requeue(wait));
        }
        Turn::Now { failures, urgent } => (failures, urgent),
    };
    let place = if urgent {
        lane.withdraw(&name);
        ctx.metrics.queue.began(K::NAME, Queue::Urgent, noticed.unwrap_or_default());
        None
    } else {
        let Some((place, waited)) = lane.background(&name, now) else {
            ctx.metrics.queue.depth(K::NAME, lane);
            return Ok(Action::await_change());
        };
        ctx.metrics.queue.began(K::NAME, Queue::Background, waited);
        Some(place)
    };
    ctx.metrics.queue.depth(K::NAME, lane);
    if failures > 0 {
        ctx.metrics.queue.retried(K::NAME, if urgent { Queue::Urgent } else { Queue::Background });
    }
    let run = Run { failures, urgent, started: now };
    let working = ctx.metrics.working(K::NAME);
    // A panic that leaves here ends the Controller and aborts every other pass (kube 5.0, `applier`).
    let passed = AssertUnwindSafe(pass_over(object.clone(), &ctx, run)).catch_unwind().await;
    let action = passed.unwrap_or_else(|_| conclude(&*object, &ctx, &Err(Error::Panicked), run));
    drop((working, place));
    ctx.metrics.queue.depth(K::NAME, lane);
    Ok(action)
}

/// How a pass came about.
#[derive(Debug, Clone, Copy)]
struct Run {
    failures: u32,
    urgent: bool,
    started: Instant,
}

async fn pass_over<K: Kind>(object: Arc<K>, ctx: &Context, run: Run) -> Action {
    let mut subject = Subject { before: object.status().cloned().unwrap_or_default(), object };
    let mut pass = Pass::new(subject.before.clone());
    let mut end = guarded(&mut subject, ctx, &mut pass).await;
    if matches!(end, Ok(Ended::Cleaned(Cleanup::Done))) {
        ctx.metrics.reconciled(K::NAME, "deleted", Outcome::Success, run.started.elapsed());
        K::lane(ctx).forget(&subject.object.name_any());
        return Action::await_change();
    }
    if !matches!(end, Err(Error::Fenced))
        && let Err(error) = report(&subject, ctx, pass, &end).await
    {
        // Only a pass that reached its goal is worse off without its status.
        end = end.and(Err(error));
    }
    conclude(&*subject.object, ctx, &end, run)
}

/// Whether the status speaks of this generation. Such an object is part of the standing population when it is seen first.
pub(super) fn is_handled<K: Kind>(object: &K) -> bool {
    let observed = object.status().and_then(|status| ready(K::conditions(status))?.observed_generation);
    object.meta().deletion_timestamp.is_none() && observed.is_some() && observed == object.meta().generation
}

/// Gives an object that was Ready before this process came its place in the lane, without a pass. Does nothing for one that
/// is known.
pub fn rest<K: Kind>(object: &K, ctx: &Context) {
    let reconcile = &ctx.settings.reconcile;
    if reconcile.drift_scan_seconds > 0 && may_rest(object) {
        let resync = Duration::from_secs(reconcile.resync_seconds);
        let due = Instant::now() + delay(Next::Resync, 0, resync, rand::random());
        K::lane(ctx).rests(object, K::FINALIZER, due);
    }
}

/// The object of a pass; the finalizer write replaces it.
struct Subject<K: Kind> {
    object: Arc<K>,
    before: K::Status,
}

async fn guarded<K: Kind>(
    subject: &mut Subject<K>,
    ctx: &Context,
    pass: &mut Pass<K::Status>,
) -> Result<Ended, Error> {
    let limit = Duration::from_secs(ctx.settings.reconcile.deadline_seconds);
    // Caught here as well as around the whole: what was found before it still reaches the status.
    let attempt = AssertUnwindSafe(attempt(subject, ctx, pass)).catch_unwind();
    match tokio::time::timeout(limit, attempt).await {
        Ok(Ok(end)) => end,
        Ok(Err(_)) => Err(Error::Panicked),
        Err(_) => Err(Error::Deadline { limit }),
    }
}

async fn attempt<K: Kind>(
    subject: &mut Subject<K>,
    ctx: &Context,
    pass: &mut Pass<K::Status>,
) -> Result<Ended, Error> {
    let object = &subject.object;
    let ours = |object: &K| K::FINALIZER.filter(|ours| object.finalizers().iter().any(|f| f == ours));
    let is_set = |name| object.annotations().get(name).is_some_and(|value| value == "true");
    if is_set(PAUSED_ANNOTATION) {
        return Ok(Ended::Paused);
    }
    // Before the finalizer: a plan changes nothing. A deletion is not held up by it.
    if is_set(PLAN_ANNOTATION)
        && object.meta().deletion_timestamp.is_none()
        && object.preview(ctx, pass).await?
    {
        return Ok(Ended::Planned { standing: ours(object).is_some() });
    }
    if object.meta().deletion_timestamp.is_some() {
        let Some(finalizer) = ours(object) else { return Ok(Ended::Cleaned(Cleanup::Done)) };
        let cleanup = object.cleanup(ctx, pass).await?;
        if cleanup == Cleanup::Done {
            ctx.leadership.check()?;
            api::remove_finalizer(&ctx.client, &**object, finalizer).await?;
        }
        return Ok(Ended::Cleaned(cleanup));
    }
    if let (Some(finalizer), None) = (K::FINALIZER, ours(object)) {
        subject.object = api::add_finalizer(&ctx.client, object, finalizer).await?;
        K::lane(ctx).wrote(&*subject.object, Instant::now());
        if subject.object.meta().deletion_timestamp.is_some() {
            return Err(Error::waiting(tenantry_crds::reason::Reason::Deleting, "deleted meanwhile"));
        }
    }
    subject.object.converge(ctx, pass).await.map(Ended::Converged)
}

/// Saves the status if it says anything new, and publishes a failure that was not there before.
async fn report<K: Kind>(
    subject: &Subject<K>,
    ctx: &Context,
    pass: Pass<K::Status>,
    end: &Result<Ended, Error>,
) -> Result<(), Error> {
    let Subject { object, before } = subject;
    let generation = object.meta().generation.unwrap_or_default();
    let status = status_after::<K>(before, pass, end, generation, &Time(Timestamp::now()));
    if status == *before {
        return Ok(());
    }
    ctx.leadership.check()?;
    let (old, after) = (K::conditions(before), K::conditions(&status));
    // What comes by itself is no failure: an App and its tenants are often applied together.
    if let Err(error) = end
        && !matches!(error, Error::Waiting { .. })
        && ready(old).map(|c| &c.reason) != ready(after).map(|c| &c.reason)
    {
        ctx.events.failed(&**object, error);
    }
    if let (Some(was), Some(is)) = (ready(old), ready(after))
        && was.status == "False"
        && is.status == "True"
    {
        ctx.events.recovered(&**object, &is.message);
    }
    if let Some(saved) = api::save_status(&ctx.client, &**object, &status).await? {
        K::lane(ctx).wrote(&saved, Instant::now());
        let first = |conditions| ready(conditions).is_some_and(|c| c.status == "True");
        if first(after) && !first(old) && K::lane(ctx).first_ready(&**object) {
            observe_time_to_ready(&**object, ctx);
        }
    }
    Ok(())
}

/// The status after a pass that ended so. The same as `before` when the pass found nothing new, so that a resync writes nothing.
fn status_after<K: Kind>(
    before: &K::Status,
    pass: Pass<K::Status>,
    end: &Result<Ended, Error>,
    generation: i64,
    now: &Time,
) -> K::Status {
    let old = K::conditions(before);
    let findings: Vec<_> = Verdict::of(end).summary.iter().chain(pass.findings()).cloned().collect();
    let mut conditions = settle(old, &findings, generation, now);
    if matches!(end, Ok(Ended::Paused)) {
        conditions.extend(old.iter().filter(|condition| is_backend(condition)).cloned());
    }
    let mut status = pass.status;
    if matches!(end, Ok(Ended::Planned { standing: true })) {
        // What was said of the object as it was last converged goes on to be true of that generation.
        return status;
    }
    K::settle(&mut status, generation, conditions);
    status
}

/// Records the pass and says when the next one is.
fn conclude<K: Kind>(object: &K, ctx: &Context, end: &Result<Ended, Error>, run: Run) -> Action {
    let verdict = Verdict::of(end);
    let failures = if verdict.failed { run.failures.saturating_add(1) } else { 0 };
    let resync = Duration::from_secs(ctx.settings.reconcile.resync_seconds);
    let wait = delay(verdict.next, failures, resync, rand::random());
    let outcome = verdict.outcome();
    let fresh = run.urgent && outcome != Outcome::Success && failures < STAYS_URGENT;
    K::lane(ctx).passed(object, K::FINALIZER, failures, Instant::now() + wait, fresh);
    ctx.metrics.reconciled(K::NAME, verdict.result, outcome, run.started.elapsed());
    match end {
        Err(error) => tracing::warn!(
            object = object.name_any(), class = verdict.result, reason = %error.reason(), failures,
            error = error as &(dyn std::error::Error + 'static), "pass failed"
        ),
        Ok(_) => tracing::debug!(object = object.name_any(), result = verdict.result, "pass ended"),
    }
    Action::requeue(wait)
}

fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str())
}

fn is_backend(condition: &Condition) -> bool {
    let summary = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled];
    summary.iter().all(|kind| kind.as_str() != condition.type_)
}

fn observe_time_to_ready<K: Kind>(object: &K, ctx: &Context) {
    let created = object.meta().creation_timestamp.as_ref().map(|time| time.0);
    let took = created.and_then(|created| Duration::try_from(Timestamp::now() - created).ok());
    if let Some(took) = took {
        ctx.metrics.became_ready(K::NAME, took);
    }
}
