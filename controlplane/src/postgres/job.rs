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
    /// Milliseconds that the tenant's own quota lets the server work on one statement.
    pub quota: Option<u32>,
    /// After this moment it is not sent any more.
    pub deadline: Instant,
    /// How often it was sent and had to be sent again for a reason of its own.
    pub retries: u8,
    pub reply: oneshot::Sender<Outcome>,
    /// One of the tenant's places. Held to the end of the group, also when nobody waits any more.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// What a connection has to say about a group.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It came to its end.
    Done(Result<Reply, DatabaseError>),
    /// It took longer than a lane has time for. It was rolled back, or was not sent.
    Outlasted(Group),
    /// The login may not become the tenant, or does not get in. Nothing of the group ran.
    NotLetIn(Group, DatabaseError),
}

impl Job {
    pub fn is_write(&self) -> bool {
        self.group.access == Access::Write
    }

    /// Whether it is worth sending.
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline > now && !self.reply.is_closed()
    }

    /// Ends it. Nobody may wait any more; then the answer has no reader and is dropped.
    pub fn finish(self, result: Result<Reply, DatabaseError>) {
        self.answer(|_| Outcome::Done(result));
    }

    /// Hands it back: it needs more time than a lane has.
    pub fn outlasted(self) {
        self.answer(Outcome::Outlasted);
    }

    /// Hands it back: this login does not serve its tenant.
    pub fn not_let_in(self, error: DatabaseError) {
        self.answer(|group| Outcome::NotLetIn(group, error));
    }

    fn answer(self, outcome: impl FnOnce(Group) -> Outcome) {
        drop(self.permit);
        drop(self.reply.send(outcome(self.group)));
    }
}

/// Groups of nobody, for the tests of what is pure.
#[cfg(test)]
pub(super) mod fake {
    use tenantry_crds::names::TenantName;
    use tokio::time::Duration;

    use super::*;
    use crate::{
        load::Load,
        postgres::{Bound, Params, TemplateBuilder},
    };

    /// Where the outcome of a fake job arrives.
    pub type Answered = oneshot::Receiver<Outcome>;

    /// A group of one statement.
    pub fn job(tenant: &str, access: Access, sql: &str) -> (Job, Answered) {
        let tenant = TenantName::new(tenant).unwrap();
        let (reply, answer) = oneshot::channel();
        let template = TemplateBuilder::new(sql).build();
        let statements = vec![Bound { template, params: Params::default(), by_value: false }];
        let job = Job {
            group: Group { access, statements, load: Load::default() },
            schema: SchemaName::of(&tenant),
            role: TenantRole::of(&tenant),
            quota: None,
            deadline: Instant::now() + Duration::from_secs(60),
            retries: 0,
            reply,
            permit: None,
        };
        (job, answer)
    }
}
