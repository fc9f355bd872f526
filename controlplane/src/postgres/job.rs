//! A group on its way.

use tenantry_crds::names::{SchemaName, TenantRole};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::{
    error::DatabaseError,
    reply::Reply,
    statement::{Access, Group},
};

/// A group on its way, and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub group: Group,
    pub schema: SchemaName,
    pub role: TenantRole,
    /// Milliseconds that the server may work on one statement; as the connection has it unless given.
    pub statement_timeout: Option<u32>,
    /// After this moment it is not sent any more.
    pub deadline: Instant,
    /// How often it was sent and had to be sent again for a reason of its own.
    pub retries: u8,
    pub reply: oneshot::Sender<Result<Reply, DatabaseError>>,
    /// One of the tenant's places. Held to the end of the group, also when nobody waits any more.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Job {
    pub fn is_write(&self) -> bool {
        self.group.access == Access::Write
    }

    /// Whether it is worth sending.
    pub fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Ends it. Nobody may wait any more; then the answer has no reader and is dropped.
    pub fn finish(self, result: Result<Reply, DatabaseError>) {
        drop(self.permit);
        drop(self.reply.send(result));
    }
}
