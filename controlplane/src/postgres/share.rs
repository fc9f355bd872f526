//! How much of a lane one tenant may have. Pure.
//!
//! A lane is one server process that works on one group after the other, so a group on the wire delays all groups behind it. A
//! tenant therefore has a share of what is on the wire, in groups and in the time that the server may spend on them:
//!
//! - The first groups of a tenant may take a whole slice each, as its session has it: to set another timeout costs the server a
//!   tenth of a small read. From then on the k-th takes a k-th part, and each statement of a group its part of that, but never less
//!   than [`FLOOR`]. Together they have [`BUDGET`] slices. One group may exceed that, so that a
//!   long write does not wait for its tenant's reads for ever.
//! - How many groups that are begins with [`FIRST`]. It grows with each one that ends in time and is halved by one that does not.
//! - A tenant whose group took longer than a whole slice is on probation: one group on the wire, with [`FLOOR`] for each
//!   statement.
//!
//! A tenant that does its worst thereby holds a lane for [`BUDGET`] slices and one group once, then for one slice each [`PROBATION`],
//! and for [`FLOOR`] in each of its turns between.

use tokio::time::{Duration, Instant};

/// Milliseconds that each statement gets at least, so that a moment without a processor is not taken for a slow statement.
pub(super) const FLOOR: u32 = 10;
/// Groups of a tenant that have a whole slice.
const WHOLE: usize = 2;
/// Slices that the groups of one tenant may take together. 24 groups of one statement have 481 ms of 500.
const BUDGET: u32 = 5;
/// Groups that a tenant may have on the wire before the first has ended.
const FIRST: usize = 4;
/// Reads of one tenant on the wire: as many as hide a round trip.
const READS: usize = 8;
/// Writes of one tenant on the wire. They share a wait for the disk, so more of them are more throughput.
const WRITES: usize = 24;
/// How long a tenant is on probation.
const PROBATION: Duration = Duration::from_secs(10);

/// One tenant's share of a lane.
#[derive(Debug)]
pub(super) struct Share {
    /// Milliseconds.
    slice: u32,
    reads: usize,
    writes: usize,
    /// Milliseconds that the server may work on what is on the wire.
    promised: u32,
    window: usize,
    probation: Option<Instant>,
}

/// The time that a group on the wire may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Milliseconds for each of its statements.
    pub statement: u32,
    /// Milliseconds for all of them.
    total: u32,
    /// Whether it has a whole slice.
    whole: bool,
}

/// What becomes of a tenant's next group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is sent.
    Send(Allowance),
    /// It waits for the end of one of the tenant's groups. There is one on the wire.
    Wait,
    /// It is too long for a lane at this time.
    Slow,
}

impl Share {
    /// `slice` is in milliseconds.
    pub fn new(slice: u32) -> Self {
        Self { slice: slice.max(FLOOR), reads: 0, writes: 0, promised: 0, window: FIRST, probation: None }
    }

    /// Takes a group of so many statements in, if it may be sent now.
    pub fn admit(&mut self, write: bool, statements: usize, now: Instant) -> Admission {
        if self.probation.is_some_and(|until| until <= now) {
            self.probation = None;
        }
        let on_wire = self.reads + self.writes;
        let (class, most) = if write { (self.writes, WRITES) } else { (self.reads, READS) };
        if on_wire >= self.window || class >= most {
            return Admission::Wait;
        }
        let statements = u32::try_from(statements.max(1)).unwrap_or(u32::MAX);
        let whole = on_wire < WHOLE;
        let parts = if whole { 1 } else { u32::try_from(on_wire + 1).unwrap_or(u32::MAX) };
        let parts = parts.saturating_mul(statements);
        let statement = if self.probation.is_some() { FLOOR } else { (self.slice / parts).max(FLOOR) };
        let total = statement.saturating_mul(statements);
        if self.probation.is_some() && total > self.slice {
            return Admission::Slow;
        }
        let budget = self.slice.saturating_mul(BUDGET);
        let exceeds = self.promised.saturating_add(total) > budget;
        if exceeds && (class > 0 || self.promised > budget) {
            return Admission::Wait;
        }
        self.promised = self.promised.saturating_add(total);
        *(if write { &mut self.writes } else { &mut self.reads }) += 1;
        Admission::Send(Allowance { statement, total, whole })
    }

    /// A group ended, `took` after the server came to it, and `outlasted` its allowance or not.
    pub fn ended(
        &mut self,
        write: bool,
        allowance: Allowance,
        took: Duration,
        outlasted: bool,
        now: Instant,
    ) {
        *(if write { &mut self.writes } else { &mut self.reads }) -= 1;
        self.promised -= allowance.total;
        // Many statements, each within its part, can still be too much together.
        let overlong = allowance.total > self.slice && took > Duration::from_millis(u64::from(self.slice));
        if overlong || (outlasted && allowance.whole) {
            self.window = 1;
            // Not prolonged by what fails meanwhile: a statement that is planned for the first time can take longer than the
            // floor, and its tenant would never come off.
            self.probation.get_or_insert(now + PROBATION);
        } else if outlasted {
            self.window = (self.window / 2).max(1);
        } else if self.probation.is_none() {
            self.window = (self.window + 1).min(READS + WRITES);
        }
    }

    /// Whether the tenant has groups on the wire.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.reads + self.writes == 0 && self.promised == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: u32 = 100;

    fn sent(share: &mut Share, write: bool, statements: usize) -> Vec<Allowance> {
        std::iter::from_fn(|| match share.admit(write, statements, Instant::now()) {
            Admission::Send(allowance) => Some(allowance),
            _ => None,
        })
        .collect()
    }

    fn end(share: &mut Share, write: bool, allowances: Vec<Allowance>, outlasted: bool) {
        for allowance in allowances {
            let took = Duration::from_millis(allowance.statement.into());
            share.ended(write, allowance, took, outlasted, Instant::now());
        }
    }

    /// A share whose tenant may have as much on the wire as any.
    fn grown() -> Share {
        let mut share = Share::new(SLICE);
        for _ in 0..8 {
            let groups = sent(&mut share, true, 1);
            end(&mut share, true, groups, false);
        }
        share
    }

    #[test]
    fn the_first_groups_have_a_whole_slice_and_the_kth_a_kth_part() {
        let mut share = Share::new(SLICE);
        let statements: Vec<_> = sent(&mut share, false, 1).iter().map(|group| group.statement).collect();
        assert_eq!(statements, [100, 100, 33, 25]);
    }

    #[test]
    fn what_a_tenant_has_on_the_wire_is_bounded_in_groups_and_in_time() {
        for statements in [1, 2, 5, 10, 50, 100] {
            let mut share = grown();
            let reads = sent(&mut share, false, statements);
            let writes = sent(&mut share, true, statements);
            assert!(reads.len() <= READS && writes.len() <= WRITES);
            let total: u32 = reads.iter().chain(&writes).map(|group| group.total).sum();
            let alone = u32::try_from(statements).unwrap() * FLOOR;
            assert!(total <= SLICE * BUDGET + alone, "{total} ms with {statements} statements each");
        }
        let mut share = grown();
        assert_eq!(sent(&mut share, true, 1).len(), WRITES, "a batch is not smaller than it was useful");
    }

    #[test]
    fn a_tenant_whose_group_outlasts_a_slice_is_on_probation() {
        let mut share = grown();
        let burst = sent(&mut share, false, 1);
        let cost: u32 = burst.iter().map(|group| group.total).sum();
        assert!(cost < 4 * SLICE);
        end(&mut share, false, burst, true);
        // What the tenant holds until its probation ends: one floor in each of its turns, however long its statements take.
        let began = Instant::now();
        for _ in 0..100 {
            let groups = sent(&mut share, false, 1);
            assert_eq!(groups.iter().map(|group| group.total).collect::<Vec<_>>(), [FLOOR]);
            end(&mut share, false, groups, true);
        }
        assert_eq!(
            share.admit(false, 11, began),
            Admission::Slow,
            "more than a slice, if only by its number"
        );
        let Admission::Send(after) = share.admit(false, 1, began + PROBATION * 2) else { panic!("it waits") };
        assert_eq!(after.statement, SLICE);
        assert_eq!(share.admit(false, 1, began + PROBATION * 2), Admission::Wait, "one at first");
    }

    #[test]
    fn a_group_that_outlasts_a_part_of_a_slice_halves_what_may_be_on_the_wire() {
        let mut share = grown();
        let mut groups = sent(&mut share, true, 1);
        assert_eq!(groups.len(), WRITES);
        let stalled = groups.pop().unwrap();
        end(&mut share, true, vec![stalled], true);
        end(&mut share, true, groups, false);
        assert!(share.is_idle() && share.probation.is_none());
        assert_eq!(sent(&mut share, true, 1).len(), WRITES, "one bad moment costs nothing that lasts");
    }

    #[test]
    fn many_statements_that_take_longer_than_a_slice_together_lead_to_probation() {
        let mut share = grown();
        let Admission::Send(group) = share.admit(true, 100, Instant::now()) else { panic!("it waits") };
        assert_eq!((group.statement, group.total), (FLOOR, 1000));
        assert_eq!(share.admit(true, 1, Instant::now()), Admission::Wait, "nothing beside it");
        share.ended(true, group, Duration::from_millis(900), false, Instant::now());
        assert_eq!(share.admit(true, 100, Instant::now()), Admission::Slow);
        assert!(matches!(share.admit(true, 2, Instant::now()), Admission::Send(_)));
    }
}
