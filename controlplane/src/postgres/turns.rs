//! The groups that wait for a lane: tenants take turns, and each has a [`Share`] of the wire. Pure, and every step takes the same
//! time however many tenants and groups wait.

use std::collections::{HashMap, VecDeque};

use tenantry_crds::names::TenantRole;
use tokio::time::{Duration, Instant};

use super::{
    error::DatabaseError,
    job::Job,
    share::{Admission, Allowance, Share},
};

/// The groups that wait for a lane, and the shares of their tenants.
///
/// A tenant stands in the ring of reads or writes while it has such groups and they may be sent. One that must wait for itself
/// leaves the ring and comes back at the end of one of its groups.
#[derive(Debug)]
pub(super) struct Turns {
    /// Milliseconds.
    slice: u32,
    seats: HashMap<TenantRole, Seat>,
    members: Vec<Member>,
    rings: [VecDeque<Seat>; 2],
    waiting: usize,
}

/// A tenant of the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(usize);

#[derive(Debug)]
struct Member {
    share: Share,
    lines: [Line; 2],
}

#[derive(Debug, Default)]
struct Line {
    jobs: VecDeque<Job>,
    in_ring: bool,
}

/// What a group is on the wire with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    seat: Seat,
    write: bool,
    /// How long it may take.
    pub allowance: Allowance,
}

impl Turns {
    /// `slice` is in milliseconds.
    pub fn new(slice: u32) -> Self {
        Self { slice, seats: HashMap::new(), members: Vec::new(), rings: Default::default(), waiting: 0 }
    }

    /// Whether no group waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Lets `job` wait behind its tenant's others.
    pub fn push(&mut self, job: Job) {
        self.enter(job, VecDeque::push_back);
    }

    /// Lets `job` wait before its tenant's others.
    pub fn push_front(&mut self, job: Job) {
        self.enter(job, VecDeque::push_front);
    }

    /// The next read or write that may be sent. Those that came too late are ended, those that are too long are handed back.
    pub fn next(&mut self, write: bool, now: Instant) -> Option<(Job, Turn)> {
        let ring = &mut self.rings[usize::from(write)];
        loop {
            let seat = ring.pop_front()?;
            let Member { share, lines } = &mut self.members[seat.0];
            let line = &mut lines[usize::from(write)];
            line.in_ring = false;
            let Some(job) = line.jobs.pop_front() else { continue };
            let admission = if job.is_due(now) {
                share.admit(write, job.group.statements.len(), now)
            } else {
                Admission::Slow
            };
            if admission == Admission::Wait {
                line.jobs.push_front(job);
                continue;
            }
            self.waiting -= 1;
            if !line.jobs.is_empty() {
                line.in_ring = true;
                ring.push_back(seat);
            }
            match admission {
                Admission::Send(allowance) => return Some((job, Turn { seat, write, allowance })),
                _ if job.is_due(now) => job.outlasted(),
                _ => job.finish(Err(DatabaseError::Expired)),
            }
        }
    }

    /// A group that had `turn` ended: see [`Share::ended`].
    pub fn ended(&mut self, turn: Turn, took: Duration, outlasted: bool, now: Instant) {
        let member = &mut self.members[turn.seat.0];
        member.share.ended(turn.write, turn.allowance, took, outlasted, now);
        for (line, ring) in member.lines.iter_mut().zip(&mut self.rings) {
            line.enter(ring, turn.seat);
        }
    }

    /// Ends groups that have waited too long to be sent.
    pub fn expire(&mut self, now: Instant) {
        for line in self.members.iter_mut().flat_map(|member| &mut member.lines) {
            if line.jobs.iter().all(|job| job.is_due(now)) {
                continue;
            }
            for job in std::mem::take(&mut line.jobs) {
                if job.is_due(now) {
                    line.jobs.push_back(job);
                } else {
                    self.waiting -= 1;
                    job.finish(Err(DatabaseError::Expired));
                }
            }
        }
    }

    /// All groups that wait.
    pub fn into_waiting(self) -> impl Iterator<Item = Job> {
        self.members.into_iter().flat_map(|member| member.lines).flat_map(|line| line.jobs)
    }

    fn enter(&mut self, job: Job, push: fn(&mut VecDeque<Job>, Job)) {
        let seat = match self.seats.get(&job.role) {
            Some(seat) => *seat,
            None => {
                let seat = Seat(self.members.len());
                self.members.push(Member { share: Share::new(self.slice), lines: Default::default() });
                self.seats.insert(job.role.clone(), seat);
                seat
            }
        };
        let write = usize::from(job.is_write());
        let line = &mut self.members[seat.0].lines[write];
        push(&mut line.jobs, job);
        self.waiting += 1;
        line.enter(&mut self.rings[write], seat);
    }
}

impl Line {
    fn enter(&mut self, ring: &mut VecDeque<Seat>, seat: Seat) {
        if !self.in_ring && !self.jobs.is_empty() {
            self.in_ring = true;
            ring.push_back(seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{
        job::fake::{Answered, job},
        statement::Access,
    };

    fn push(turns: &mut Turns, tenant: &str, times: usize) -> Vec<Answered> {
        let push = |_| {
            let (job, answer) = job(tenant, Access::Read, "a");
            turns.push(job);
            answer
        };
        (0..times).map(push).collect()
    }

    fn next(turns: &mut Turns) -> Option<(String, Turn)> {
        let (job, turn) = turns.next(false, Instant::now())?;
        Some((job.role.as_str().trim_start_matches("tenant_").to_owned(), turn))
    }

    #[test]
    fn tenants_take_turns_however_many_groups_one_of_them_has() {
        let mut turns = Turns::new(100);
        let _answers = (push(&mut turns, "noisy", 30), push(&mut turns, "b", 2), push(&mut turns, "c", 1));
        let order: Vec<_> = std::iter::from_fn(|| next(&mut turns)).map(|(name, _)| name).collect();
        assert_eq!(order, ["noisy", "b", "c", "noisy", "b", "noisy", "noisy"]);
        assert!(!turns.is_empty());
    }

    #[test]
    fn a_tenant_that_waits_for_itself_comes_back_at_the_end_of_its_group() {
        let mut turns = Turns::new(100);
        let _answers = push(&mut turns, "a", 6);
        let sent: Vec<_> = std::iter::from_fn(|| next(&mut turns)).collect();
        assert_eq!(sent.len(), 4);
        assert!(turns.rings[0].is_empty(), "nobody looks at it until then");
        turns.ended(sent[0].1, Duration::ZERO, false, Instant::now());
        assert!(next(&mut turns).is_some() && next(&mut turns).is_some(), "one has ended, and one more may");
        assert!(next(&mut turns).is_none() && turns.is_empty());
    }

    #[test]
    fn groups_that_nobody_waits_for_are_not_sent() {
        let mut turns = Turns::new(100);
        drop(push(&mut turns, "a", 3));
        let _answers = push(&mut turns, "a", 1);
        turns.expire(Instant::now());
        assert!(next(&mut turns).is_some() && turns.is_empty());
        drop(push(&mut turns, "a", 1));
        assert!(next(&mut turns).is_none() && turns.is_empty());
    }
}
