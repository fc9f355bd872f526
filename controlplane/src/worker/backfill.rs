//! Documents that were there before their index.
//!
//! While an index is filled its events wait, so what they say comes after what was read here: a document that is changed or
//! deleted in the meantime ends up as its last event says.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{
    index::{Failure, put_and_wait},
    outbox::Target,
};
use crate::{
    auth::{Caller, RequestInfo, Scope, UserId},
    data::{CursorKey, Documents},
    error::ApiError,
    postgres::TenantDatabase,
    registry::TenantEntry,
    search::{Meilisearch, indexed},
};

/// Documents read at once.
const PAGE: &str = "200";

/// What filling an index needs.
#[derive(Debug, Clone)]
pub(super) struct Filler {
    pub engine: Meilisearch,
    pub database: Arc<TenantDatabase>,
    pub cursors: CursorKey,
}

/// Why an index was not filled. It is begun again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfilled {
    #[error("the registry does not have this index")]
    Unknown,
    #[error("reading documents")]
    Documents(#[from] ApiError),
    #[error("reading a page of documents")]
    Page(#[from] serde_json::Error),
    #[error("writing documents")]
    Engine(#[from] Failure),
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}

impl Filler {
    /// Puts all documents of `target` into its index; how many there were.
    pub(super) async fn fill(self, tenant: Arc<TenantEntry>, target: &Target) -> Result<usize, Unfilled> {
        let app = tenant.apps.get(&target.app).ok_or(Unfilled::Unknown)?;
        let doc_type = app.doc_types.iter().find(|doc_type| doc_type.name.as_str() == target.doc_type);
        let doc_type = doc_type.ok_or(Unfilled::Unknown)?;
        let doc = tenant.apps.catalog().doc_type(&target.app, doc_type.plural.as_str());
        let doc = doc.ok_or(Unfilled::Unknown)?;
        let scope = Scope {
            tenant: Arc::clone(&tenant),
            // Sees every document, and no more of each than a reader does.
            caller: Arc::new(Caller::new(&UserId::Worker.to_string(), &[Caller::ADMIN.to_owned()])),
            proof: Default::default(),
            request: RequestInfo { id: "backfill".into(), ..RequestInfo::default() },
        };
        let documents = Documents { database: &self.database, cursors: &self.cursors, scope: &scope, doc };
        let (mut count, mut after) = (0, None);
        loop {
            let mut query = vec![("order", "id"), ("limit", PAGE)];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let query: Vec<_> =
                query.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let page: Page = serde_json::from_slice(&documents.list(&query).await?)?;
            count += page.items.len();
            let indexed = page.items.into_iter().filter_map(|document| {
                let id = document.get("id")?.as_str()?.to_owned();
                Some((indexed::index(doc_type, &id, document)?, Vec::new()))
            });
            let indexed: Vec<_> = indexed.collect();
            if !indexed.is_empty() {
                put_and_wait(&self.engine, &target.index_uid, indexed).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }
}
