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
    begin::{self, Durability, STEPS_BEFORE},
    cache::{Lookup, StatementCache, StatementKey, StatementName},
    error::{DatabaseError, ServerError, SqlState},
    job::Job,
    kept::Kept,
    reply::Reply,
    turns::{Turn, Turns},
    wire::{self, Answer, Decoder, TransactionStatus},
};
use crate::load::Load;

#[cfg(test)]
mod tests;

/// Reads on the wire at once.
const MAX_READS: usize = 64;
/// Writes that one wait for the disk acknowledges.
const MAX_BATCH: usize = 64;
/// Times that a group is sent again because a connection broke or a statement was stale.
const MAX_RETRIES: u8 = 1;

/// How a connection divides the time of its server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// A lane: many groups are on the wire, each with a part of a slice. A group that outlasts its part is handed back.
    Slices {
        /// Milliseconds. The session's `statement_timeout` is the same, so a whole slice need not be set.
        slice: u32,
        /// Whether every group sets its timeout, because the tenant's code may have changed the session's.
        always_set: bool,
    },
    /// One group, which has as long as its tenant's quota says, or else the session.
    Unhurried {
        /// Milliseconds that the session has, to be set by every group; see `always_set`.
        set: Option<u32>,
    },
}

/// One connection's groups.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Bytes to write. Whoever writes takes them off the front.
    pub out: BytesMut,
    queued: u64,
    decoder: Decoder,
    pace: Pace,
    cache: StatementCache,
    turns: Turns,
    in_flight: VecDeque<Sent>,
    reads_in_flight: usize,
    writes_in_flight: usize,
    /// Committed; on disk once the next [`Durability::ForAll`] is.
    deferred: Vec<(Job, Result<Reply, DatabaseError>)>,
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
    rows: Kept,
}

#[derive(Debug)]
enum Content {
    Tenant(Box<Job>, Durability, Turn),
    Flush,
}

impl Pipeline {
    /// `statements` are those that the connection keeps prepared.
    pub fn new(statements: usize, pace: Pace, now: Instant) -> Self {
        let slice = match pace {
            Pace::Slices { slice, .. } => slice,
            Pace::Unhurried { .. } => u32::MAX,
        };
        Self {
            out: BytesMut::with_capacity(16 * 1024),
            queued: 0,
            decoder: Decoder::default(),
            pace,
            cache: StatementCache::new(statements),
            turns: Turns::new(slice),
            in_flight: VecDeque::new(),
            reads_in_flight: 0,
            writes_in_flight: 0,
            deferred: Vec::new(),
            last_progress: now,
        }
    }

    /// Whether nothing waits and nothing is on the wire.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.turns.is_empty() && self.deferred.is_empty() && self.out.is_empty()
    }

    /// For how long the server has owed an answer.
    pub fn silence(&self, now: Instant) -> Duration {
        if self.in_flight.is_empty() { Duration::ZERO } else { now.duration_since(self.last_progress) }
    }

    /// Whether all that is on the wire ran, and only the end of its transaction is not known.
    pub fn is_committing(&self) -> bool {
        self.in_flight.iter().all(|sent| sent.error.is_none() && sent.complete == sent.steps())
    }

    /// Takes a group in. [`Self::pump`] sends it.
    pub fn push(&mut self, job: Job) {
        self.turns.push(job);
    }

    /// Ends groups that have waited too long to be sent.
    pub fn expire(&mut self, now: Instant) {
        self.turns.expire(now);
    }

    /// Puts as many waiting groups on the wire as may be there.
    pub fn pump(&mut self, now: Instant) -> io::Result<()> {
        if self.in_flight.is_empty() {
            self.last_progress = now;
        }
        // Reads first: they need not wait for the disk behind a batch.
        while self.reads_in_flight < MAX_READS {
            let Some((job, turn)) = self.turns.next(false, now) else { break };
            self.send(job, turn, Durability::Own)?;
        }
        if self.writes_in_flight > 0 {
            // The next batch gathers while this one is on its way to the disk.
            return Ok(());
        }
        if !self.deferred.is_empty() {
            // Before the next batch: it could fail as well, and so could all that come after it.
            self.send_flush();
        }
        let next = || self.turns.next(true, now);
        let batch: Vec<(Job, Turn)> = std::iter::from_fn(next).take(MAX_BATCH).collect();
        let alone = batch.len() == 1;
        let mut batch = batch.into_iter().peekable();
        while let Some((job, turn)) = batch.next() {
            let durability = match (alone, batch.peek()) {
                (true, _) => Durability::Own,
                (false, Some(_)) => Durability::Deferred,
                (false, None) => Durability::ForAll,
            };
            self.send(job, turn, durability)?;
        }
        Ok(())
    }

    /// Takes in what the server sent.
    ///
    /// An error means that the two sides are out of step: the connection must not be used any more.
    pub fn receive(&mut self, buffer: &mut BytesMut, now: Instant) -> io::Result<()> {
        while let Some(answer) = self.decoder.next(buffer)? {
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
                Answer::RowTooLarge => front.rows.too_large(),
                Answer::Complete => front.complete += 1,
                Answer::Error(body) => {
                    let statement = front.complete.checked_sub(STEPS_BEFORE);
                    front.error = Some(ServerError { statement, ..ServerError::parse(&body) });
                }
                Answer::Ready(status) => {
                    let took = now.duration_since(self.last_progress);
                    self.last_progress = now;
                    self.ready(status, took, now)?;
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
            let Content::Tenant(mut job, ..) = sent.content else { continue };
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
        unfinished.extend(self.turns.into_waiting());
        unfinished
    }

    fn ready(&mut self, status: TransactionStatus, took: Duration, now: Instant) -> io::Result<()> {
        let sent = self.in_flight.pop_front().ok_or_else(out_of_step)?;
        for (key, name) in &sent.parses {
            self.cache.forget(key, *name);
        }
        // A transaction that goes on after its Sync was begun by nobody here.
        if status != TransactionStatus::Idle || (sent.error.is_none() && sent.complete != sent.steps()) {
            return Err(out_of_step());
        }
        let outlasted = sent.error.as_ref().is_some_and(ServerError::is_out_of_time);
        match sent.content {
            // The disk takes longer than a slice. The deferred groups wait for the next flush.
            Content::Flush if outlasted => self.writes_in_flight -= 1,
            Content::Flush if sent.error.is_some() => return Err(out_of_step()),
            Content::Flush => {
                self.writes_in_flight -= 1;
                self.acknowledge_deferred();
            }
            Content::Tenant(job, durability, turn) => {
                let in_flight =
                    if job.is_write() { &mut self.writes_in_flight } else { &mut self.reads_in_flight };
                *in_flight -= 1;
                self.turns.ended(turn, took, outlasted, now);
                match sent.error {
                    Some(error) => self.failed(*job, error, turn),
                    None => {
                        let reply = sent.rows.into_reply(job.group.access);
                        self.committed(*job, reply, durability);
                    }
                }
            }
        }
        Ok(())
    }

    fn committed(&mut self, job: Job, reply: Result<Reply, DatabaseError>, durability: Durability) {
        match durability {
            Durability::Own => job.finish(reply),
            Durability::Deferred => self.deferred.push((job, reply)),
            Durability::ForAll => {
                self.acknowledge_deferred();
                job.finish(reply);
            }
        }
    }

    fn acknowledge_deferred(&mut self) {
        for (job, reply) in self.deferred.drain(..) {
            job.finish(reply);
        }
    }

    fn failed(&mut self, mut job: Job, error: ServerError, turn: Turn) {
        match error.state {
            // The second also says that the group which was to parse it failed before it came to that; the next time it is parsed
            // for this one.
            SqlState::FEATURE_NOT_SUPPORTED | SqlState::UNKNOWN_STATEMENT if job.retries < MAX_RETRIES => {
                job.retries += 1;
                for bound in &job.group.statements {
                    self.cache.discard(&key(&job, &bound.template));
                }
                self.turns.push_front(job);
            }
            _ if error.is_out_of_time() && self.has_more_time(&job, turn) => job.outlasted(),
            SqlState::INSUFFICIENT_PRIVILEGE if error.statement.is_none() => {
                job.not_let_in(DatabaseError::Refused(Box::new(error)));
            }
            // Of values that the caller sent there are none in it.
            _ if error.statement.is_none() && error.state.class() == "22" => {
                job.finish(Err(DatabaseError::NoRole(Box::new(error))));
            }
            _ => job.finish(Err(DatabaseError::Refused(Box::new(error)))),
        }
    }

    /// Whether there is a connection that would give this group longer than this one did.
    fn has_more_time(&self, job: &Job, turn: Turn) -> bool {
        match self.pace {
            Pace::Slices { .. } => job.quota.is_none_or(|quota| quota > turn.allowance.statement),
            Pace::Unhurried { .. } => false,
        }
    }

    /// Milliseconds that a group must set, unless the session's timeout is right for it.
    fn timeout(&self, job: &Job, turn: Turn) -> Option<u32> {
        match self.pace {
            Pace::Slices { slice, always_set } => {
                let quota = job.quota.unwrap_or(u32::MAX);
                let timeout = turn.allowance.statement.min(quota);
                (always_set || timeout < slice).then_some(timeout)
            }
            Pace::Unhurried { set } => job.quota.or(set),
        }
    }

    fn send(&mut self, job: Job, turn: Turn, durability: Durability) -> io::Result<()> {
        let start = self.out.len();
        // First of all: a group that fails skips what comes after its error, but never this.
        for name in self.cache.take_closing() {
            wire::close(&mut self.out, &name.to_string())?;
        }
        let timeout = self.timeout(&job, turn);
        begin::begin(&mut self.out, &job, durability, timeout);
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
            begin::flush(&mut self.out);
        }
        *(if job.is_write() { &mut self.writes_in_flight } else { &mut self.reads_in_flight }) += 1;
        self.sent(start, Content::Tenant(Box::new(job), durability, turn), parses);
        Ok(())
    }

    /// Waits for the disk on behalf of deferred groups whose batch lost its last one.
    fn send_flush(&mut self) {
        let start = self.out.len();
        begin::flush(&mut self.out);
        self.writes_in_flight += 1;
        self.sent(start, Content::Flush, VecDeque::new());
    }

    /// Ends the group that begins at `start` of what is to be written.
    fn sent(&mut self, start: usize, content: Content, parses: VecDeque<(StatementKey, StatementName)>) {
        let sync_at = self.queued + (self.out.len() - start) as u64;
        wire::sync(&mut self.out);
        self.queued += (self.out.len() - start) as u64;
        let rows = match &content {
            Content::Tenant(job, ..) => Kept::new(job.group.load.clone()),
            Content::Flush => Kept::new(Load::default()),
        };
        self.in_flight.push_back(Sent { content, parses, sync_at, complete: 0, error: None, rows });
    }
}

impl Sent {
    /// Statements before the Sync.
    fn steps(&self) -> usize {
        match &self.content {
            Content::Tenant(job, durability, _) => {
                STEPS_BEFORE + job.group.statements.len() + usize::from(*durability == Durability::ForAll)
            }
            Content::Flush => 1,
        }
    }

    fn row(&mut self, body: Bytes) {
        let Content::Tenant(job, ..) = &self.content else { return };
        // Rows of the role and of the flush stand before and after those of the group.
        let Some(statement) = self.complete.checked_sub(STEPS_BEFORE) else { return };
        if statement >= job.group.statements.len() {
            return;
        }
        self.rows.add(body);
    }
}

fn key(job: &Job, template: &super::Template) -> StatementKey {
    StatementKey { schema: job.schema.clone(), template: template.clone() }
}

fn out_of_step() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server's answers do not match what was asked")
}
