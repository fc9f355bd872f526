//! Takes credentials back: first nobody comes in, then the Secret goes, and the row, which is the ledger, goes last.

use tenantry_crds::{names::AccessName, v1alpha1::AccessBackend};

use super::{
    desired::Credential,
    work::{Work, claimed},
};
use crate::{
    backend::{
        Placed,
        postgres::{
            access::{AccessChange, AccessRecord, RowKey},
            change::{Identity, OrphanRow},
            observe::Observed,
        },
    },
    context::Context,
    error::Error,
};

/// Told of what a backend that failed keeps: an error stops, otherwise the rest is removed, and the record of what is left
/// takes the place of the row.
pub type Leave<'a> = dyn FnMut(AccessBackend, Vec<String>, Error) -> Result<OrphanRow, Error> + Send + 'a;

/// Takes back all credentials of a tenant that goes, whatever becomes of its data.
///
/// # Errors
/// The first failure; the others were seen to all the same.
pub async fn remove_all(
    ctx: &Context,
    placed: &Placed<'_>,
    tenant: &Identity,
    observed: &Observed,
    leave: &mut Leave<'_>,
) -> Result<(), Error> {
    let ours = observed.record.as_ref().is_some_and(|record| record.uid == tenant.uid);
    if !ours || observed.accesses.is_empty() {
        return Ok(());
    }
    Work::look(ctx, placed, tenant, &[], &observed.accesses).await?.remove_unwanted(&[], leave).await
}

impl Work<'_> {
    /// Takes back what has a row and is not among `wanted`.
    pub(super) async fn remove_unwanted(
        &self,
        wanted: &[Credential],
        leave: &mut Leave<'_>,
    ) -> Result<(), Error> {
        let mut failure = None;
        for row in &self.observed.rows {
            let key = RowKey { access: AccessName::new(&row.access)?, backend: row.backend };
            if wanted.iter().all(|credential| credential.key != key)
                && let Err(error) = self.remove(&key, row, leave).await
            {
                failure = failure.or(Some(error));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn remove(&self, key: &RowKey, row: &AccessRecord, leave: &mut Leave<'_>) -> Result<(), Error> {
        let mut last = vec![AccessChange::Forget(key.clone())];
        if let Err(error) = self.close(key, row.serial).await {
            // The row is all that knows of it: in two transactions, a crash between them would lose it.
            last.push(AccessChange::Leave(leave(key.backend, vec![self.username(key, row.serial)], error)?));
        }
        if let Some(secret) = claimed(row) {
            self.ctx.leadership.check()?;
            self.secrets.remove(&secret, key).await?;
        }
        self.change(&last).await?;
        tracing::info!(tenant = %self.tenant.name, access = %key.access, backend = ?key.backend, "access removed");
        Ok(())
    }
}
