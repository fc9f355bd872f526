//! What handlers share.

use std::{ops::Deref, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    admin::Cluster, auth::Tokens, data::CursorKey, jobs::Queues, postgres::TenantDatabase,
    registry::Registry, search::Meilisearch,
};

/// What handlers share; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Shared>);

/// The parts of [`AppState`].
#[derive(Debug)]
pub struct Shared {
    /// The tenants.
    pub registry: Registry,
    /// Verifies access tokens.
    pub tokens: Tokens,
    /// Tenants' way into Postgres.
    pub database: TenantDatabase,
    /// Seals the cursors of lists.
    pub cursors: CursorKey,
    /// Job queues.
    pub queues: Queues,
    /// The search engine, if there is one.
    pub search: Option<Meilisearch>,
    /// The Kubernetes API, for the admin routes.
    pub cluster: Cluster,
    /// Cancelled when the program ends; whatever waits on behalf of a caller stops waiting.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// Shares `parts`.
    pub fn new(parts: Shared) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
