//! What handlers share.

use std::{ops::Deref, sync::Arc};

use crate::{auth::Tokens, registry::Registry};

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
