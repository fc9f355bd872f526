//! What is on the wire and what it came to. Pure: bytes come in, bytes go out.
//!
//! **Failure.** BEGIN is explicit, so an error leaves the transaction failed; the server skips to the Sync of that group and
//! refuses the groups behind it with 25P02 before they run anything. The pipeline then stops sending, rolls back, and sends
//! those groups again.
//!
//! **Durability.** A connection commits one transaction after the other, and each COMMIT would wait for the disk. Writes are
//! sent in batches instead: all but the last commit without waiting, the last one waits, which covers those before it in the
//! log, and only then are all of them acknowledged.

use std::{collections::VecDeque, io};

use bytes::{Bytes, BytesMut};
use tokio::time::{Duration, Instant};

use super::{
    cache::{Lookup, StatementCache, StatementKey, StatementName},
    error::{DatabaseError, ServerError, SqlState},
    job::Job,
    reply::{Reply, Row},
    statement::Params,
    wire::{self, Answer, CommandTag, TransactionStatus},
};

#[cfg(test)]
mod tests;

/// Reads on the wire at once.
const MAX_READS: usize = 64;
/// Writes that one wait for the disk acknowledges.
const MAX_BATCH: usize = 64;
/// Groups that wait here; beyond, the lane's queue fills.
const MAX_WAITING: usize = 64;
/// Bytes that the rows of one answer may have.
const MAX_REPLY_BYTES: usize = 32 * 1024 * 1024;
/// Times that a group is sent again because a connection broke or a statement was stale.
const MAX_RETRIES: u8 = 1;

const BEGIN: &str = "begin";
const BEGIN_READ: &str = "begin_read";
const ROLE: &str = "role";
const ROLE_DEFERRED: &str = "role_deferred";
const ROLE_TIMED: &str = "role_timed";
const ROLE_DEFERRED_TIMED: &str = "role_deferred_timed";
const FLUSH: &str = "flush";
const COMMIT: &str = "commit";
/// Of BEGIN and the role, which come before a group's own statements.
const STEPS_BEFORE: usize = 2;

/// The statements that every connection prepares before its first group.
pub(super) const PREPARED: [(&str, &str); 8] = [
    (BEGIN, "BEGIN READ WRITE"),
    (BEGIN_READ, "BEGIN READ ONLY"),
    (ROLE, "SELECT pg_catalog.set_config('role', $1, true)"),
    (
        ROLE_DEFERRED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('synchronous_commit', 'off', true)",
    ),
    // The server times each statement anew, so what is set here holds for those that follow in the group.
    (
        ROLE_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('statement_timeout', $2, true)",
    ),
    (
        ROLE_DEFERRED_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('statement_timeout', $2, true), \
         pg_catalog.set_config('synchronous_commit', 'off', true)",
    ),
    // A transaction that wrote nothing does not wait for the disk at its COMMIT; this makes any transaction one that did.
    (FLUSH, "SELECT pg_catalog.pg_logical_emit_message(true, 'tenantry', '')"),
    (COMMIT, "COMMIT"),
];

/// When a group may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// At its own COMMIT.
    Own,
    /// When a later group's COMMIT has waited for the disk.
    Deferred,
    /// At its own COMMIT, together with all that were deferred.
    ForAll,
}

/// One connection's groups.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Bytes to write. Whoever writes takes them off the front.
    pub out: BytesMut,
    queued: u64,
    cache: StatementCache,
    reads: VecDeque<Job>,
    writes: VecDeque<Job>,
    in_flight: VecDeque<Sent>,
    reads_in_flight: usize,
    writes_in_flight: usize,
    /// Committed; on disk once the next [`Durability::ForAll`] is.
    deferred: Vec<(Job, Reply)>,
    /// Failed only because a group before them had failed.
    again: Vec<Job>,
    recovering: bool,
    last_progress: Instant,
}

#[derive(Debug)]
struct Sent {
    content: Content,
    /// Statements whose Parse is in this group and not answered yet.
    parses: VecDeque<(StatementKey, StatementName)>,
    /// Where in the stream of bytes its COMMIT begins.
    commit_at: u64,
    /// Statements that are complete, BEGIN and the role included.
    complete: usize,
    committed: bool,
    error: Option<ServerError>,
    rows: Vec<Row>,
    row_bytes: usize,
}

#[derive(Debug)]
enum Content {
    Tenant(Box<Job>, Durability),
    Rollback,
    Flush,
}

impl Pipeline {
    pub fn new(statements: usize, now: Instant) -> Self {
        Self {
            out: BytesMut::with_capacity(16 * 1024),
            queued: 0,
            cache: StatementCache::new(statements),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            in_flight: VecDeque::new(),
            reads_in_flight: 0,
            writes_in_flight: 0,
            deferred: Vec::new(),
            again: Vec::new(),
            recovering: false,
            last_progress: now,
        }
    }

    /// Whether more groups may be handed in.
    pub fn has_room(&self) -> bool {
        self.reads.len() + self.writes.len() < MAX_WAITING
    }

    /// Whether nothing waits and nothing is on the wire.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.reads.is_empty()
            && self.writes.is_empty()
            && self.deferred.is_empty()
            && self.out.is_empty()
    }

    /// For how long the server has owed an answer.
    pub fn silence(&self, now: Instant) -> Duration {
        if self.in_flight.is_empty() { Duration::ZERO } else { now.duration_since(self.last_progress) }
    }

    /// Takes a group in. [`Self::pump`] sends it.
    pub fn push(&mut self, job: Job) {
        if job.is_write() { self.writes.push_back(job) } else { self.reads.push_back(job) }
    }

    /// Ends groups that have waited too long to be sent.
    pub fn expire(&mut self, now: Instant) {
        for queue in [&mut self.reads, &mut self.writes] {
            let expired = |job: &Job| job.deadline <= now || !job.is_wanted();
            if !queue.iter().any(expired) {
                continue;
            }
            for job in std::mem::take(queue) {
                if expired(&job) { job.finish(Err(DatabaseError::Expired)) } else { queue.push_back(job) }
            }
        }
    }

    /// Puts as many waiting groups on the wire as may be there.
    pub fn pump(&mut self, now: Instant) -> io::Result<()> {
        if self.recovering {
            return Ok(());
        }
        if self.in_flight.is_empty() {
            self.last_progress = now;
        }
        // Reads first: they need not wait for the disk behind a batch.
        while self.reads_in_flight < MAX_READS {
            let Some(job) = next(&mut self.reads, now) else { break };
            self.send(job, Durability::Own)?;
        }
        if self.writes_in_flight > 0 {
            // The next batch gathers while this one is on its way to the disk.
            return Ok(());
        }
        let batch: Vec<Job> = std::iter::from_fn(|| next(&mut self.writes, now)).take(MAX_BATCH).collect();
        let alone = batch.len() == 1 && self.deferred.is_empty();
        let mut batch = batch.into_iter().peekable();
        if batch.peek().is_none() && !self.deferred.is_empty() {
            self.send_flush();
            return Ok(());
        }
        while let Some(job) = batch.next() {
            let durability = match (alone, batch.peek()) {
                (true, _) => Durability::Own,
                (false, Some(_)) => Durability::Deferred,
                (false, None) => Durability::ForAll,
            };
            self.send(job, durability)?;
        }
        Ok(())
    }

    /// Takes in what the server sent.
    ///
    /// An error means that the two sides are out of step: the connection must not be used any more.
    pub fn receive(&mut self, buffer: &mut BytesMut, now: Instant) -> io::Result<()> {
        while let Some(answer) = wire::decode(buffer)? {
            let Some(front) = self.in_flight.front_mut() else {
                match answer {
                    Answer::Other => continue,
                    Answer::Error(body) => return Err(io::Error::other(ServerError::parse(&body))),
                    _ => return Err(out_of_step()),
                }
            };
            match answer {
                Answer::Other => {}
                Answer::ParseComplete => drop(front.parses.pop_front().ok_or_else(out_of_step)?),
                Answer::Row(body) => front.row(body),
                Answer::Complete(tag) => {
                    front.complete += 1;
                    front.committed = tag == CommandTag::Commit;
                }
                Answer::Error(body) => {
                    let statement = front.complete.checked_sub(STEPS_BEFORE);
                    front.error = Some(ServerError { statement, ..ServerError::parse(&body) });
                }
                Answer::Ready(status) => {
                    self.last_progress = now;
                    self.ready(status)?;
                }
            }
        }
        Ok(())
    }

    /// Ends what cannot be repeated and yields what can: the connection is gone.
    pub fn into_unfinished(mut self) -> Vec<Job> {
        let written = self.queued - self.out.len() as u64;
        let mut unfinished = Vec::new();
        let mut server_left = false;
        for sent in std::mem::take(&mut self.in_flight) {
            let steps = sent.steps();
            let fatal = sent.error.as_ref().is_some_and(|error| error.fatal);
            // The server runs groups in order: it said goodbye before it came to this one, or before this one's COMMIT.
            let failed_before_commit = sent.error.is_some() && sent.complete < steps;
            let ran_nothing = server_left || failed_before_commit || written <= sent.commit_at;
            server_left |= fatal;
            let Content::Tenant(mut job, _) = sent.content else { continue };
            if job.is_write() && !ran_nothing {
                job.finish(Err(DatabaseError::OutcomeUnknown));
            } else if job.retries < MAX_RETRIES {
                job.retries += 1;
                unfinished.push(*job);
            } else {
                job.finish(Err(DatabaseError::Unavailable));
            }
        }
        for (job, _) in self.deferred {
            job.finish(Err(DatabaseError::OutcomeUnknown));
        }
        unfinished.extend(self.again);
        unfinished.extend(self.reads);
        unfinished.extend(self.writes);
        unfinished
    }

    fn ready(&mut self, status: TransactionStatus) -> io::Result<()> {
        let sent = self.in_flight.pop_front().ok_or_else(out_of_step)?;
        for (key, name) in &sent.parses {
            self.cache.forget(key, *name);
        }
        match status {
            TransactionStatus::Open => return Err(out_of_step()),
            TransactionStatus::Failed if !self.recovering => self.send_rollback()?,
            TransactionStatus::Failed | TransactionStatus::Idle => {}
        }
        match sent.content {
            Content::Rollback if sent.error.is_some() || status != TransactionStatus::Idle => {
                return Err(out_of_step());
            }
            Content::Rollback => self.recovering = false,
            Content::Flush if !sent.committed => return Err(out_of_step()),
            Content::Flush => {
                self.writes_in_flight -= 1;
                self.acknowledge_deferred();
            }
            Content::Tenant(job, durability) => {
                let in_flight =
                    if job.is_write() { &mut self.writes_in_flight } else { &mut self.reads_in_flight };
                *in_flight -= 1;
                match sent.error {
                    Some(error) => self.failed(*job, error),
                    None if !sent.committed => return Err(out_of_step()),
                    None if sent.row_bytes > MAX_REPLY_BYTES => {
                        job.finish(Err(DatabaseError::ReplyTooLarge { limit: MAX_REPLY_BYTES }));
                    }
                    None => self.committed(*job, Reply { rows: sent.rows }, durability),
                }
            }
        }
        if !self.recovering {
            for job in std::mem::take(&mut self.again).into_iter().rev() {
                if job.is_write() { self.writes.push_front(job) } else { self.reads.push_front(job) }
            }
        }
        Ok(())
    }

    fn committed(&mut self, job: Job, reply: Reply, durability: Durability) {
        match durability {
            Durability::Own => job.finish(Ok(reply)),
            Durability::Deferred => self.deferred.push((job, reply)),
            Durability::ForAll => {
                self.acknowledge_deferred();
                job.finish(Ok(reply));
            }
        }
    }

    fn acknowledge_deferred(&mut self) {
        for (job, reply) in self.deferred.drain(..) {
            job.finish(Ok(reply));
        }
    }

    fn failed(&mut self, mut job: Job, error: ServerError) {
        match error.state {
            // A group before it failed. It ran nothing, so this is no retry of its own; its deadline bounds it.
            SqlState::IN_FAILED_TRANSACTION => self.again.push(job),
            SqlState::FEATURE_NOT_SUPPORTED | SqlState::UNKNOWN_STATEMENT if job.retries < MAX_RETRIES => {
                job.retries += 1;
                for bound in &job.group.statements {
                    self.cache.discard(&key(&job, &bound.template));
                }
                self.again.push(job);
            }
            _ => job.finish(Err(DatabaseError::Refused(Box::new(error)))),
        }
    }

    fn send(&mut self, job: Job, durability: Durability) -> io::Result<()> {
        let start = self.out.len();
        // Before BEGIN: a group that fails skips what comes after its error, but never this.
        for name in self.cache.take_closing() {
            wire::close(&mut self.out, &name.to_string())?;
        }
        let mut role = Params::default();
        role.push(Some(job.role.as_str()));
        let none = Params::default();
        let write = job.is_write();
        wire::bind_and_execute(&mut self.out, if write { BEGIN } else { BEGIN_READ }, &none);
        let deferred = durability == Durability::Deferred;
        let become_tenant = match job.statement_timeout {
            None if deferred => ROLE_DEFERRED,
            None => ROLE,
            Some(milliseconds) => {
                role.push(Some(&milliseconds.to_string()));
                if deferred { ROLE_DEFERRED_TIMED } else { ROLE_TIMED }
            }
        };
        wire::bind_and_execute(&mut self.out, become_tenant, &role);
        let mut parses = VecDeque::new();
        for bound in &job.group.statements {
            let key = key(&job, &bound.template);
            let name = match self.cache.lookup(&key) {
                Lookup::Known(name) => name.to_string(),
                Lookup::Parse(name) => {
                    // After the role: a statement is parsed with the rights of the tenant.
                    wire::parse(&mut self.out, &name.to_string(), &bound.template.render(&job.schema))?;
                    parses.push_back((key, name));
                    name.to_string()
                }
            };
            wire::bind_and_execute(&mut self.out, &name, &bound.params);
        }
        if durability == Durability::ForAll {
            wire::bind_and_execute(&mut self.out, FLUSH, &none);
        }
        let commit_at = self.queued + (self.out.len() - start) as u64;
        wire::bind_and_execute(&mut self.out, COMMIT, &none);
        wire::sync(&mut self.out);
        *(if write { &mut self.writes_in_flight } else { &mut self.reads_in_flight }) += 1;
        self.sent(start, Content::Tenant(Box::new(job), durability), parses, commit_at);
        Ok(())
    }

    fn send_rollback(&mut self) -> io::Result<()> {
        self.recovering = true;
        let start = self.out.len();
        wire::query(&mut self.out, "ROLLBACK")?;
        self.sent(start, Content::Rollback, VecDeque::new(), self.queued);
        Ok(())
    }

    /// Waits for the disk on behalf of deferred groups whose batch lost its last one.
    fn send_flush(&mut self) {
        let start = self.out.len();
        let none = Params::default();
        for statement in [BEGIN, FLUSH, COMMIT] {
            wire::bind_and_execute(&mut self.out, statement, &none);
        }
        wire::sync(&mut self.out);
        self.writes_in_flight += 1;
        self.sent(start, Content::Flush, VecDeque::new(), self.queued);
    }

    fn sent(
        &mut self,
        start: usize,
        content: Content,
        parses: VecDeque<(StatementKey, StatementName)>,
        commit_at: u64,
    ) {
        self.queued += (self.out.len() - start) as u64;
        self.in_flight.push_back(Sent {
            content,
            parses,
            commit_at,
            complete: 0,
            committed: false,
            error: None,
            rows: Vec::new(),
            row_bytes: 0,
        });
    }
}

impl Sent {
    /// Statements before the COMMIT.
    fn steps(&self) -> usize {
        match &self.content {
            Content::Tenant(job, durability) => {
                STEPS_BEFORE + job.group.statements.len() + usize::from(*durability == Durability::ForAll)
            }
            Content::Rollback | Content::Flush => 0,
        }
    }

    fn row(&mut self, body: Bytes) {
        let Content::Tenant(job, _) = &self.content else { return };
        // Rows of the role and of the flush stand before and after those of the group.
        let Some(statement) = self.complete.checked_sub(STEPS_BEFORE) else { return };
        if statement >= job.group.statements.len() {
            return;
        }
        self.row_bytes += body.len();
        if self.row_bytes > MAX_REPLY_BYTES {
            self.rows = Vec::new();
        } else {
            self.rows.push(Row::new(body));
        }
    }
}

fn key(job: &Job, template: &super::Template) -> StatementKey {
    StatementKey { schema: job.schema.clone(), template: template.clone() }
}

/// The next group that is worth sending.
fn next(queue: &mut VecDeque<Job>, now: Instant) -> Option<Job> {
    loop {
        let job = queue.pop_front()?;
        if job.is_wanted() && job.deadline > now {
            return Some(job);
        }
        job.finish(Err(DatabaseError::Expired));
    }
}

fn out_of_step() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server's answers do not match what was asked")
}
