//! Carries out what a batch means for the indexes, and waits for the engine to have done it.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::plan::{Change, EventId};
use crate::{
    error::Chain,
    search::{Fault, Meilisearch, Outcome},
};

const FIRST_LOOK: Duration = Duration::from_millis(20);
const SLOWEST_LOOK: Duration = Duration::from_secs(1);
/// A task that takes longer is looked at again with the next batch, whose tasks come behind it.
const TASK_LIMIT: Duration = Duration::from_secs(600);

/// A document for an index, with the events that it stands for.
pub(super) type Document = (Value, Vec<EventId>);

/// What became of a change.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Events whose documents the index has, or has no more.
    pub done: Vec<EventId>,
    /// Events whose documents the engine will not take.
    pub parked: Vec<EventId>,
    /// Why the rest was not done.
    pub failure: Option<Failure>,
}

/// Why a change was not done. Its events stay.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such index (any more).
    #[error("the engine has no such index")]
    Missing,
    /// The engine does not take requests.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A task failed for a reason that is not a document's.
    #[error("a task of the engine failed: {0}")]
    Task(String),
    /// A task did not end.
    #[error("a task of the engine takes longer than {TASK_LIMIT:?}")]
    Slow,
}

/// What was asked of the engine for one index.
#[derive(Debug)]
pub(super) struct Submitted {
    index: String,
    put: Vec<Document>,
    put_task: Option<u64>,
    deletions: Vec<EventId>,
    delete_task: Option<u64>,
}

/// Asks the engine for a change: one request for all documents, one for all deletions.
pub(super) async fn submit(engine: &Meilisearch, index: &str, change: Change) -> Result<Submitted, Failure> {
    // The engine would make the index anew, after the operator removed it with its tenant.
    if !engine.has(index).await? {
        return Err(Failure::Missing);
    }
    let mut submitted = Submitted {
        index: index.to_owned(),
        put: change.put,
        put_task: None,
        deletions: change.deletions,
        delete_task: None,
    };
    if !submitted.put.is_empty() {
        submitted.put_task = Some(put(engine, index, &submitted.put).await?);
    }
    if !change.delete.is_empty() {
        submitted.delete_task = Some(engine.delete(index, &change.delete).await?);
    }
    Ok(submitted)
}

/// Waits for all that was asked, in one request at a time, and says what became of each.
pub(super) async fn settle(engine: &Meilisearch, all: Vec<Submitted>) -> Vec<Applied> {
    let tasks: Vec<u64> = all.iter().flat_map(|one| [one.put_task, one.delete_task]).flatten().collect();
    let outcomes = match wait(engine, &tasks).await {
        Ok(outcomes) => outcomes,
        Err(failure) => {
            tracing::warn!(cause = %Chain(&failure), "waiting for the engine");
            return all
                .iter()
                .map(|_| Applied { failure: Some(Failure::Slow), ..Applied::default() })
                .collect();
        }
    };
    let outcome_of = |task: u64| tasks.iter().position(|known| *known == task).map(|n| &outcomes[n]);
    let mut applied = Vec::with_capacity(all.len());
    for one in all {
        let mut result = Applied::default();
        match one.put_task.and_then(outcome_of) {
            None => {}
            Some(Outcome::Failed(code)) if is_of_a_document(code) => {
                bisect(engine, &one.index, one.put, &mut result).await;
            }
            Some(outcome) => take(outcome, one.put.into_iter().flat_map(|(_, ids)| ids), &mut result),
        }
        if let Some(outcome) = one.delete_task.and_then(outcome_of) {
            take(outcome, one.deletions, &mut result);
        }
        applied.push(result);
    }
    applied
}

/// Puts documents and waits until the index has them.
pub(super) async fn put_and_wait(
    engine: &Meilisearch,
    index: &str,
    documents: Vec<Document>,
) -> Result<(), Failure> {
    let submitted = submit(engine, index, Change { put: documents, ..Change::default() }).await?;
    let applied = settle(engine, vec![submitted]).await;
    applied.into_iter().find_map(|applied| applied.failure).map_or(Ok(()), Err)
}

fn take(outcome: &Outcome, events: impl IntoIterator<Item = EventId>, applied: &mut Applied) {
    match outcome {
        Outcome::Succeeded => applied.done.extend(events),
        Outcome::Failed(code) if code == "index_not_found" => applied.failure = Some(Failure::Missing),
        Outcome::Failed(code) => applied.failure = Some(Failure::Task(code.clone())),
        Outcome::Running => applied.failure = Some(Failure::Slow),
    }
}

/// One document that the engine will not take fails the task of all: halves are tried until it stands alone. It is parked, so
/// that it does not keep the others out.
async fn bisect(engine: &Meilisearch, index: &str, documents: Vec<Document>, applied: &mut Applied) {
    let mut open = vec![documents];
    while let Some(mut part) = open.pop() {
        let outcome = match put(engine, index, &part).await {
            Ok(task) => wait(engine, &[task]).await,
            Err(failure) => Err(failure),
        };
        match outcome.map(|outcomes| outcomes.into_iter().next()) {
            Ok(Some(Outcome::Failed(code))) if is_of_a_document(&code) && part.len() > 1 => {
                let other = part.split_off(part.len() / 2);
                open.extend([other, part]);
            }
            Ok(Some(Outcome::Failed(code))) if is_of_a_document(&code) => {
                tracing::error!(index, code, "the engine will not take a document; it is left out");
                applied.parked.extend(part.into_iter().flat_map(|(_, ids)| ids));
            }
            Ok(Some(outcome)) => take(&outcome, part.into_iter().flat_map(|(_, ids)| ids), applied),
            Ok(None) => applied.failure = Some(Failure::Slow),
            Err(failure) => applied.failure = Some(failure),
        }
    }
}

async fn put(engine: &Meilisearch, index: &str, documents: &[Document]) -> Result<u64, Failure> {
    let bodies: Vec<&Value> = documents.iter().map(|(document, _)| document).collect();
    Ok(engine.put(index, &bodies).await?)
}

/// The outcomes of `tasks`, once none runs any more.
async fn wait(engine: &Meilisearch, tasks: &[u64]) -> Result<Vec<Outcome>, Failure> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let deadline = Instant::now() + TASK_LIMIT;
    let mut look = FIRST_LOOK;
    loop {
        tokio::time::sleep(look).await;
        look = (look * 3 / 2).min(SLOWEST_LOOK);
        let outcomes = match engine.outcomes(tasks).await {
            Ok(outcomes) => outcomes,
            Err(fault) if Instant::now() > deadline => return Err(fault.into()),
            // The tasks are written down and go on when the engine is back.
            Err(_) => continue,
        };
        let running = outcomes.contains(&Outcome::Running);
        if !running || Instant::now() > deadline {
            return Ok(outcomes);
        }
    }
}

/// Whether the engine blames a document, by its stable codes.
fn is_of_a_document(code: &str) -> bool {
    code.starts_with("invalid_document")
        || matches!(code, "missing_document_id" | "max_fields_limit_exceeded" | "invalid_vector_dimensions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documents_are_parked() {
        for code in ["invalid_document_id", "invalid_document_geo_field", "missing_document_id"] {
            assert!(is_of_a_document(code), "{code}");
        }
        for code in ["index_not_found", "no_space_left_on_device", "internal", "canceled", "unknown"] {
            assert!(!is_of_a_document(code), "{code}");
        }
    }

    #[test]
    fn events_are_done_only_when_the_task_succeeded() {
        let events = || vec![("tenant_acme".to_owned(), 1)];
        let taken = |outcome: Outcome| {
            let mut applied = Applied::default();
            take(&outcome, events(), &mut applied);
            (applied.done.len(), applied.failure.is_some())
        };
        assert_eq!(taken(Outcome::Succeeded), (1, false));
        assert_eq!(taken(Outcome::Running), (0, true));
        assert_eq!(taken(Outcome::Failed("index_not_found".into())), (0, true));
        assert_eq!(taken(Outcome::Failed("internal".into())), (0, true));
    }
}
