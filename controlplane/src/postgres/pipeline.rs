//! What is on the wire and what it came to. Pure: bytes come in, bytes go out.
//!
//! **Transactions.** What stands before a Sync is one implicit transaction. An error undoes it, the server skips to that Sync,
//! and the groups behind it run as if nothing had happened. BEGIN and COMMIT would be two statements more for each request.
//! (PostgreSQL documentation, "Pipelining" in the chapter on message flow.)
//!
//! **Durability.** A connection commits one transaction after the other, and each commit would wait for the disk. Writes are
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
    wire::{self, Answer, TransactionStatus},
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

const READ: &str = "read";
const READ_TIMED: &str = "read_timed";
const WRITE: &str = "write";
const WRITE_TIMED: &str = "write_timed";
const DEFERRED: &str = "deferred";
const DEFERRED_TIMED: &str = "deferred_timed";
const FLUSH: &str = "flush";
/// Statements that come before a group's own: the one that makes the transaction the tenant's.
const STEPS_BEFORE: usize = 1;

/// A plan for any values, made at the first use, as most writes are planned: their rows are found by a key. The server would plan
/// each of the first five uses anew, and a connection has many tenants of which each writes now and then.
const PLANNED_ONCE: &str = "force_generic_plan";
/// As the server sees fit.
const PLANNED_BY_VALUE: &str = "auto";

/// The statements that every connection prepares before its first group. All but the last begin one: the tenant's role until the
/// transaction ends, and how it runs. The server times each statement anew, so the timeout that is set here holds for those that
/// follow.
pub(super) const PREPARED: [(&str, &str); 7] = [
    (
        READ,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('transaction_read_only', 'on', true)",
    ),
    (
        READ_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('transaction_read_only', 'on', true), \
         pg_catalog.set_config('statement_timeout', $2, true)",
    ),
    (
        WRITE,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true)",
    ),
    (
        WRITE_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true), \
         pg_catalog.set_config('statement_timeout', $3, true)",
    ),
    (
        DEFERRED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true), \
         pg_catalog.set_config('synchronous_commit', 'off', true)",
    ),
    (
        DEFERRED_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true), \
         pg_catalog.set_config('synchronous_commit', 'off', true), \
         pg_catalog.set_config('statement_timeout', $3, true)",
    ),
    // A transaction that wrote nothing does not wait for the disk at its end; this makes any transaction one that did.
    (FLUSH, "SELECT pg_catalog.pg_logical_emit_message(true, 'tenantry', '')"),
];

/// When a group may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// At its own end.
    Own,
    /// When the end of a later group has waited for the disk.
    Deferred,
    /// At its own end, together with all that were deferred.
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
    last_progress: Instant,
}

#[derive(Debug)]
struct Sent {
    content: Content,
    /// Statements whose Parse is in this group and not answered yet.
    parses: VecDeque<(StatementKey, StatementName)>,
    /// Where in the stream of bytes its Sync begins, with which it is committed.
    sync_at: u64,
    /// Statements that are complete, the one that sets the role included.
    complete: usize,
    error: Option<ServerError>,
    rows: Vec<Row>,
    row_bytes: usize,
}

#[derive(Debug)]
enum Content {
    Tenant(Box<Job>, Durability),
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
                Answer::ParseComplete => {
                    let (key, name) = front.parses.pop_front().ok_or_else(out_of_step)?;
                    self.cache.parsed(&key, name);
                }
                Answer::Row(body) => front.row(body),
                Answer::Complete => front.complete += 1,
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
            // The server runs groups in order: it said goodbye before it came to this one, or before this one's Sync.
            let failed_before_sync = sent.error.is_some() && sent.complete < steps;
            let ran_nothing = server_left || failed_before_sync || written <= sent.sync_at;
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
        unfinished.extend(self.reads);
        unfinished.extend(self.writes);
        unfinished
    }

    fn ready(&mut self, status: TransactionStatus) -> io::Result<()> {
        let sent = self.in_flight.pop_front().ok_or_else(out_of_step)?;
        for (key, name) in &sent.parses {
            self.cache.forget(key, *name);
        }
        // A transaction that goes on after its Sync was begun by nobody here.
        if status != TransactionStatus::Idle || (sent.error.is_none() && sent.complete != sent.steps()) {
            return Err(out_of_step());
        }
        match sent.content {
            Content::Flush if sent.error.is_some() => return Err(out_of_step()),
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
                    None if sent.row_bytes > MAX_REPLY_BYTES => {
                        job.finish(Err(DatabaseError::ReplyTooLarge { limit: MAX_REPLY_BYTES }));
                    }
                    None => self.committed(*job, Reply { rows: sent.rows }, durability),
                }
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
            // The second also says that the group which was to parse it failed before it came to that; the next time it is parsed
            // for this one.
            SqlState::FEATURE_NOT_SUPPORTED | SqlState::UNKNOWN_STATEMENT if job.retries < MAX_RETRIES => {
                job.retries += 1;
                for bound in &job.group.statements {
                    self.cache.discard(&key(&job, &bound.template));
                }
                if job.is_write() { self.writes.push_front(job) } else { self.reads.push_front(job) }
            }
            _ => job.finish(Err(DatabaseError::Refused(Box::new(error)))),
        }
    }

    fn send(&mut self, job: Job, durability: Durability) -> io::Result<()> {
        let start = self.out.len();
        // First of all: a group that fails skips what comes after its error, but never this.
        for name in self.cache.take_closing() {
            wire::close(&mut self.out, &name.to_string())?;
        }
        let write = job.is_write();
        let (usual, timed) = match (write, durability) {
            (false, _) => (READ, READ_TIMED),
            (true, Durability::Deferred) => (DEFERRED, DEFERRED_TIMED),
            (true, Durability::Own | Durability::ForAll) => (WRITE, WRITE_TIMED),
        };
        let mut params = Params::default();
        params.push(Some(job.role.as_str()));
        if write {
            let by_value = job.group.statements.iter().any(|bound| bound.by_value);
            params.push(Some(if by_value { PLANNED_BY_VALUE } else { PLANNED_ONCE }));
        }
        if let Some(milliseconds) = job.statement_timeout {
            params.push(Some(&milliseconds.to_string()));
        }
        let begin = if job.statement_timeout.is_some() { timed } else { usual };
        wire::bind_and_execute(&mut self.out, begin, &params);
        let mut parses = VecDeque::new();
        for bound in &job.group.statements {
            let key = key(&job, &bound.template);
            let name = match self.cache.lookup(&key, job.retries == 0) {
                Lookup::Known(name) => name,
                Lookup::Parse(name) => {
                    // After the role: a statement is parsed with the rights of the tenant.
                    wire::parse(&mut self.out, &name.to_string(), &bound.template.render(&job.schema))?;
                    parses.push_back((key, name));
                    name
                }
            };
            wire::bind_and_execute(&mut self.out, name, &bound.params);
        }
        if durability == Durability::ForAll {
            wire::bind_and_execute(&mut self.out, FLUSH, &Params::default());
        }
        *(if write { &mut self.writes_in_flight } else { &mut self.reads_in_flight }) += 1;
        self.sent(start, Content::Tenant(Box::new(job), durability), parses);
        Ok(())
    }

    /// Waits for the disk on behalf of deferred groups whose batch lost its last one.
    fn send_flush(&mut self) {
        let start = self.out.len();
        wire::bind_and_execute(&mut self.out, FLUSH, &Params::default());
        self.writes_in_flight += 1;
        self.sent(start, Content::Flush, VecDeque::new());
    }

    /// Ends the group that begins at `start` of what is to be written.
    fn sent(&mut self, start: usize, content: Content, parses: VecDeque<(StatementKey, StatementName)>) {
        let sync_at = self.queued + (self.out.len() - start) as u64;
        wire::sync(&mut self.out);
        self.queued += (self.out.len() - start) as u64;
        self.in_flight.push_back(Sent {
            content,
            parses,
            sync_at,
            complete: 0,
            error: None,
            rows: Vec::new(),
            row_bytes: 0,
        });
    }
}

impl Sent {
    /// Statements before the Sync.
    fn steps(&self) -> usize {
        match &self.content {
            Content::Tenant(job, durability) => {
                STEPS_BEFORE + job.group.statements.len() + usize::from(*durability == Durability::ForAll)
            }
            Content::Flush => 1,
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
