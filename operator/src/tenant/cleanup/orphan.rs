//! What a deletion leaves behind because it was told to: recorded in the registry, or at least told.

use serde_json::json;
use tenantry_crds::{reason::Reason, v1alpha1::AccessBackend};

use super::{
    Deletion,
    release::{Backend, Release, stuck},
};
use crate::{
    backend::postgres::change::{OrphanRow, RowChange, SearchKey},
    error::Error,
};

/// What is left behind so far.
pub(super) struct Orphans<'a> {
    release: &'a Release,
    left: Vec<Left>,
}

struct Left {
    backend: Backend,
    kind: &'static str,
    names: Vec<String>,
    why: String,
}

impl<'a> Orphans<'a> {
    /// Nothing yet.
    pub(super) fn new(release: &'a Release) -> Self {
        Self { release, left: Vec::new() }
    }

    /// `backend` failed: `names` stay there if the object says so. The record of it.
    ///
    /// # Errors
    /// `error`, with the way out, when it does not.
    pub(super) fn leave(
        &mut self,
        backend: Backend,
        kind: &'static str,
        names: Vec<String>,
        error: Error,
    ) -> Result<OrphanRow, Error> {
        if self.release.covers(backend, &error) {
            return Ok(self.left(backend, kind, names, &error));
        }
        Err(stuck(backend, format!("{} {kind} ({})", names.len(), names.join(", ")), error))
    }

    /// As [`Self::leave`], for users or keys of direct access.
    pub(super) fn leave_access(
        &mut self,
        backend: AccessBackend,
        names: Vec<String>,
        error: Error,
    ) -> Result<OrphanRow, Error> {
        match backend {
            AccessBackend::Postgres => Err(error),
            AccessBackend::Redis => self.leave(Backend::Redis, "users", names, error),
            AccessBackend::Search => self.leave(Backend::Search, "keys", names, error),
        }
    }

    /// `names` stay in `backend`.
    pub(super) fn left(
        &mut self,
        backend: Backend,
        kind: &'static str,
        names: Vec<String>,
        error: &Error,
    ) -> OrphanRow {
        let left = Left { backend, kind, names, why: error.to_string() };
        let row = self.row(&left);
        self.left.push(left);
        row
    }

    fn row(&self, left: &Left) -> OrphanRow {
        let what = json!({left.kind: left.names, "why": left.why});
        OrphanRow { backend: left.backend.as_str(), what, by: self.release.by.clone() }
    }

    /// The record of it, and no row any more that would try again: `searches` are the indexes that the registry knows.
    pub(super) fn rows(&self, searches: &[SearchKey]) -> Vec<RowChange> {
        let mut rows: Vec<RowChange> =
            self.left.iter().map(|left| RowChange::Orphan(self.row(left))).collect();
        if self.left.iter().any(|left| left.backend == Backend::Search) {
            rows.extend(searches.iter().cloned().map(RowChange::RemoveSearch));
        }
        rows
    }

    /// Says it in the log and in an Event.
    pub(super) fn tell(&self, deletion: Deletion<'_>) {
        for Left { backend, kind, names, why } in &self.left {
            let (backend, names, by) = (backend.as_str(), names.join(", "), &self.release.by);
            tracing::warn!(tenant = %deletion.tenant.name, uid = %deletion.tenant.uid, backend, kind, names, by, why, "orphaned");
            let note = format!("left behind in {backend}, as {by} asked for: {kind} {names}");
            deletion.ctx.events.told(deletion.live, Reason::Orphaned, &note);
        }
    }
}
