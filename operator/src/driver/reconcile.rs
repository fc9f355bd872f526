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
use crate::{context::Context, error::Error};

/// Gives `object` its pass, or says when it gets one. Never fails: what failed is in the status and in the lane.
pub(super) async fn reconcile<K: Kind>(object: Arc<K>, ctx: Arc<Context>) -> Result<Action, Infallible> {
    ctx.stores.complete().await;
    if ctx.leadership.check().is_err() {
        return Ok(Action::await_change());
    }
    rest(&*object, &ctx);
    let failures = match K::lane(&ctx).turn(&*object, K::FINALIZER, Instant::now()) {
        Turn::After(wait) => return Ok(Action::requeue(wait)),
        Turn::Now { failures } => failures,
    };
    let started = Instant::now();
    let mut subject = Subject { before: object.status().cloned().unwrap_or_default(), object };
    let mut pass = Pass::new(subject.before.clone());
    let mut end = guarded(&mut subject, &ctx, &mut pass).await;
    if matches!(end, Ok(Ended::Cleaned(Cleanup::Done))) {
        ctx.metrics.reconciled(K::NAME, "deleted", started.elapsed());
        K::lane(&ctx).forget(&subject.object.name_any());
        return Ok(Action::await_change());
    }
    if !matches!(end, Err(Error::Fenced))
        && let Err(error) = report(&subject, &ctx, pass, &end).await
    {
        // Only a pass that reached its goal is worse off without its status.
        end = end.and(Err(error));
    }
    Ok(conclude(&subject, &ctx, &end, failures, started))
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
    // A panic that leaves here ends the Controller and aborts every other pass (kube 5.0, `applier`).
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
fn conclude<K: Kind>(
    subject: &Subject<K>,
    ctx: &Context,
    end: &Result<Ended, Error>,
    failures: u32,
    started: Instant,
) -> Action {
    let object = &*subject.object;
    let verdict = Verdict::of(end);
    let failures = if verdict.failed { failures.saturating_add(1) } else { 0 };
    let resync = Duration::from_secs(ctx.settings.reconcile.resync_seconds);
    let wait = delay(verdict.next, failures, resync, rand::random());
    K::lane(ctx).passed(object, K::FINALIZER, failures, Instant::now() + wait);
    ctx.metrics.reconciled(K::NAME, verdict.result, started.elapsed());
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
