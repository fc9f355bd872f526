//! What handlers share.

use std::{ops::Deref, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    admin::Cluster,
    auth::{Accounts, ApiKeys, Issuers, Tokens},
    data::CursorKey,
    rate::Rates,
    registry::Registry,
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
    /// API keys that were read a moment ago.
    pub api_keys: ApiKeys,
    /// What signing in needs.
    pub accounts: Accounts,
    /// The keys of external issuers.
    pub issuers: Issuers,
    /// How many requests may come.
    pub rates: Rates,
    /// Seals the cursors of lists.
    pub cursors: CursorKey,
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
