//! Search indexes: what the engine is asked, and what of it the registry may say.
//!
//! A pass never waits for a task of the engine. It asks, leaves the task to [`crate::backend::search::Tasks`], and the next
//! pass looks at the engine again. So a task that a restart forgot is found done, or asked for once more.

use tenantry_crds::reason::Reason;
use tenantry_migrations::registry::SearchBindingRecord;

use super::desired::Desired;
use crate::{
    backend::{
        Placed,
        postgres::{
            change::{RowChange, SearchKey, SearchRow},
            observe::Observed,
        },
        search::{IndexSettings, Search, Tasks},
    },
    context::Context,
    error::Error,
};

/// What a pass has to do about one search index.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// It is wanted, and the registry has no row of it.
    Claim(SearchRow),
    /// It is live, and someone may have changed it in the engine.
    Verify(SearchRow),
    /// It is ours, and the engine may not have it or not with these settings.
    Configure(SearchRow),
    /// It is ours and not wanted any more.
    Remove(SearchKey),
}

/// How far the search indexes are.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the registry may say now.
    pub rows: Vec<RowChange>,
    /// Indexes whose tasks are running.
    pub pending: Vec<String>,
    /// The first thing that went wrong; the other indexes were seen to all the same.
    pub failure: Option<Error>,
}

/// What there is to do, wanted indexes first. For an index that is live with these settings that is one look at the engine.
pub fn work(desired: &Desired, searches: &[SearchBindingRecord]) -> Vec<Work> {
    let wanted = desired.searches.iter().map(|row| {
        let bound = searches.iter().find(|have| have.index_uid == row.index.as_str());
        match bound {
            None => Work::Claim(row.clone()),
            Some(have) if have.live && have.settings_digest == row.digest => Work::Verify(row.clone()),
            Some(_) => Work::Configure(row.clone()),
        }
    });
    let unwanted = searches
        .iter()
        .filter(|have| desired.searches.iter().all(|row| row.index.as_str() != have.index_uid))
        .map(|have| Work::Remove(SearchKey::of(have)));
    wanted.chain(unwanted).collect()
}

/// Those of the wanted indexes without a row that the engine does not have either: only these may become ours.
///
/// # Errors
/// When the engine does not answer; NameConflict when an index is somebody else's.
pub async fn claimable(
    placed: &Placed<'_>,
    desired: &Desired,
    observed: &Observed,
) -> Result<Vec<String>, Error> {
    let mut absent = Vec::new();
    for work in work(desired, &observed.searches) {
        let Work::Claim(row) = work else { continue };
        let search = placed.search()?;
        // A registry that lost its newest rows may have lost ours; what was seen in place since is still ours.
        if search.indexes.was_ours(row.index.as_str()) {
            absent.push(row.index.as_str().to_owned());
            continue;
        }
        let found = search.engine.has_index(row.index.as_str()).await;
        if found.map_err(|error| error.at(&placed.placement.search))? {
            return Err(Error::blocked(
                Reason::NameConflict,
                format!(
                    "search index {} exists and is not Tenantry's; remove or rename it, or narrow the SearchIndex",
                    row.index
                ),
            ));
        }
        absent.push(row.index.as_str().to_owned());
    }
    Ok(absent)
}

/// Brings the engine on; `bound` are the uids of the indexes that have a row by now.
pub async fn advance(
    ctx: &Context,
    placed: &Placed<'_>,
    tenant: &str,
    work: Vec<Work>,
    bound: &[String],
) -> Outcome {
    let mut outcome = Outcome::default();
    for item in work {
        let step = match &item {
            Work::Claim(row) if !bound.iter().any(|uid| uid == row.index.as_str()) => continue,
            Work::Claim(row) | Work::Verify(row) | Work::Configure(row) => {
                configure(ctx, placed, tenant, row).await
            }
            Work::Remove(key) => remove(ctx, placed, tenant, key).await,
        };
        match step {
            // The registry says so already.
            Ok(Step::Done(_)) if matches!(item, Work::Verify(_)) => {}
            Ok(Step::Done(row)) => outcome.rows.push(row),
            Ok(Step::Pending(index)) => outcome.pending.push(index),
            Ok(Step::Made(row)) => {
                outcome.pending.push(row.index.as_str().to_owned());
                // An index that got lost is a new one: what the worker knows of its contents goes with the old row.
                if !matches!(item, Work::Claim(_)) {
                    outcome.rows.push(RowChange::RemoveSearch(SearchKey::from(&row)));
                    outcome.rows.push(RowChange::PutSearch(row));
                }
            }
            Err(error) => {
                let error = error.at(&placed.placement.search);
                outcome.failure = outcome.failure.or(Some(error));
            }
        }
    }
    outcome
}

enum Step {
    Done(RowChange),
    Pending(String),
    Made(SearchRow),
}

async fn configure(ctx: &Context, placed: &Placed<'_>, tenant: &str, row: &SearchRow) -> Result<Step, Error> {
    let index = row.index.as_str();
    let Search { engine, tasks, .. } = placed.search()?;
    if let Some(pending) = unfinished(tasks, index)? {
        return Ok(pending);
    }
    let found = engine.settings(index).await?;
    let anew = found.is_none() || tasks.is_replaced(index);
    if !anew && found.as_ref() == Some(&IndexSettings::of(&row.settings)) {
        return Ok(Step::Done(RowChange::SearchIsLive(row.clone())));
    }
    ctx.leadership.check()?;
    if found.is_none() {
        tasks.watch(engine.create_index(index).await?, tenant, index);
    }
    tasks.watch(engine.update_settings(index, &row.settings).await?, tenant, index);
    tasks.renewed(index);
    Ok(if anew { Step::Made(row.clone()) } else { Step::Pending(index.to_owned()) })
}

async fn remove(ctx: &Context, placed: &Placed<'_>, tenant: &str, key: &SearchKey) -> Result<Step, Error> {
    let Search { engine, tasks, .. } = placed.search()?;
    if let Some(pending) = unfinished(tasks, &key.index)? {
        return Ok(pending);
    }
    if !engine.has_index(&key.index).await? {
        return Ok(Step::Done(RowChange::RemoveSearch(key.clone())));
    }
    ctx.leadership.check()?;
    tasks.watch(engine.delete_index(&key.index).await?, tenant, &key.index);
    Ok(Step::Pending(key.index.clone()))
}

/// A task that is running is waited for; one that failed is told, and the next pass asks again.
fn unfinished(tasks: &Tasks, index: &str) -> Result<Option<Step>, Error> {
    if tasks.is_running(index) {
        return Ok(Some(Step::Pending(index.to_owned())));
    }
    match tasks.take_failure(index) {
        Some(fault) => Err(Error::search("waiting for the search engine")(fault)),
        None => Ok(None),
    }
}
