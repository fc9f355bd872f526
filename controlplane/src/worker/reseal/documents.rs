//! Sealed fields of one type of a tenant.

use std::sync::Arc;

use super::ByKey;
use crate::{
    data::{DocModel, sealed},
    duty::Lease,
    error::{ApiError, Chain},
    postgres::{Bound, DatabaseError, Group, Reply},
    registry::TenantEntry,
    vault::Place,
};

/// Documents that one transaction changes, and transactions in one look.
const AT_ONCE: usize = 100;
const IN_A_ROW: usize = 40;

/// A type of a tenant.
pub(super) struct Shelf {
    tenant: Arc<TenantEntry>,
    doc: Arc<DocModel>,
}

/// What a look at a type came to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Values that are under the primary key now.
    pub moved: u64,
    /// Values that do not open: they stay as they are.
    pub unreadable: u64,
    /// The last document that was looked at, where there may be more.
    pub goes_on_after: Option<String>,
    /// What is under which key, once all documents were looked at.
    pub found: Option<ByKey>,
    /// It did not come to its end.
    pub failed: bool,
    why: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("there is no way into the database")]
    Unavailable(#[from] ApiError),
}

impl Shelf {
    pub(super) fn new(tenant: &Arc<TenantEntry>, doc: &Arc<DocModel>) -> Self {
        Self { tenant: Arc::clone(tenant), doc: Arc::clone(doc) }
    }

    /// Moves values that do not begin with `prefix`, of documents after `after`.
    pub(super) async fn look(&self, prefix: &str, after: Option<&str>, lease: &Lease) -> Looked {
        let mut looked = Looked { goes_on_after: after.map(str::to_owned), ..Looked::default() };
        for _ in 0..IN_A_ROW {
            if lease.check().is_err() {
                return looked;
            }
            match self.page(prefix, &mut looked).await {
                Ok(true) => {}
                Ok(false) => match self.count().await {
                    Ok(found) => {
                        looked.goes_on_after = None;
                        looked.found = Some(found);
                        return looked;
                    }
                    Err(error) => return looked.cut_off(&error),
                },
                Err(error) => return looked.cut_off(&error),
            }
        }
        looked
    }

    /// One transaction; whether there may be more.
    async fn page(&self, prefix: &str, looked: &mut Looked) -> Result<bool, Failed> {
        let columns: Vec<_> = self.doc.sealed().collect();
        let after = looked.goes_on_after.as_deref();
        let found =
            self.run(Group::read(sealed::not_under(&self.doc, &columns, prefix, after, AT_ONCE))).await?;
        let safe = self.tenant.safe()?;
        let mut changes: Vec<Bound> = Vec::new();
        for row in &found.rows {
            let Some(id) = row.text(0) else { continue };
            for (n, column) in columns.iter().enumerate() {
                let Some(stored) = row.text(n + 1).filter(|stored| !stored.starts_with(prefix)) else {
                    continue;
                };
                match safe.renew(&Place::of(&self.doc, column), stored) {
                    Ok(Some(new)) => changes.push(sealed::put_in_place(&self.doc, column, id, stored, &new)),
                    Ok(None) => {}
                    Err(error) => {
                        looked.unreadable += 1;
                        looked.why.get_or_insert_with(|| error.to_string());
                    }
                }
            }
        }
        let moved = changes.len() as u64;
        if !changes.is_empty() {
            self.run(Group::write(changes)).await?;
        }
        looked.moved += moved;
        if let Some(last) = found.rows.last().and_then(|row| row.text(0)) {
            looked.goes_on_after = Some(last.to_owned());
        }
        Ok(found.rows.len() == AT_ONCE)
    }

    async fn count(&self) -> Result<ByKey, Failed> {
        let (mut all, vault) = (ByKey::new(), self.tenant.home.vault()?);
        for column in self.doc.sealed() {
            let count = sealed::count_by_key(&self.doc, column, vault.names());
            for row in &self.run(Group::read(count)).await?.rows {
                let count = row.text(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
                *all.entry(row.text(0).map(str::to_owned)).or_default() += count;
            }
        }
        Ok(all)
    }

    async fn run(&self, group: Group) -> Result<Reply, Failed> {
        Ok(self.tenant.home.database()?.run(&self.tenant, group).await?)
    }

    /// Says what a look came to, where there is something to say.
    pub(super) fn tell(&self, looked: Option<&Looked>) {
        let (tenant, table) = (&self.tenant.name, &self.doc.table);
        match looked {
            None => tracing::warn!(%tenant, %table, "the look at secrets took too long"),
            Some(looked) => {
                if looked.moved > 0 {
                    tracing::info!(%tenant, %table, secrets = looked.moved, "moved to the primary key");
                }
                if let Some(why) = &looked.why {
                    tracing::warn!(%tenant, %table, unreadable = looked.unreadable, cause = why, "secrets stay as they are");
                }
            }
        }
    }
}

impl Looked {
    fn cut_off(mut self, error: &Failed) -> Self {
        self.failed = true;
        self.why = Some(Chain(error).to_string());
        self
    }
}
