use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::{
    load::{Capacity, Full, Load},
    postgres::{
        job::{
            Outcome,
            fake::{Answered, job},
        },
        statement::Access,
    },
};

/// Milliseconds.
const SLICE: u32 = 100;

struct Test(Pipeline);

impl Test {
    fn new() -> Self {
        Self(Pipeline::new(8, Pace::Slices { slice: SLICE, always_set: false }, Instant::now()))
    }

    /// Hands a group in; yields its answer and what was sent.
    fn give(&mut self, access: Access, sql: &str) -> Answered {
        let (job, answer) = job("acme", access, sql);
        self.0.push(job);
        answer
    }

    /// The same, of a group whose rows are charged to `load`.
    fn give_charged(&mut self, access: Access, sql: &str, load: &Load) -> Answered {
        let (job, answer) = job("acme", access, sql);
        self.0.push(Job { group: job.group.charged_to(load), ..job });
        answer
    }

    /// What goes out, as the types of the messages.
    fn sent(&mut self) -> String {
        self.0.pump(Instant::now()).unwrap();
        let mut bytes = std::mem::take(&mut self.0.out);
        let mut types = String::new();
        while !bytes.is_empty() {
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
            types.push(char::from(bytes[0]));
            let _ = bytes.split_to(length as usize + 1);
        }
        types.replace("BE", "x")
    }

    /// How the groups that go out begin: the statement, and its timeout where it sets one.
    fn begun(&mut self) -> String {
        self.0.pump(Instant::now()).unwrap();
        let bytes = std::mem::take(&mut self.0.out);
        let (mut rest, mut begun) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize + 1;
            let text = String::from_utf8_lossy(&rest[..length]).into_owned();
            let parts: Vec<_> = text.split(char::is_control).filter(|part| !part.is_empty()).collect();
            if let Some(name) =
                parts.iter().find(|part| part.starts_with("read") || part.starts_with("write"))
            {
                let timeout = parts.iter().rev().find(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
                begun
                    .push(timeout.map_or_else(|| (*name).to_string(), |timeout| format!("{name} {timeout}")));
            }
            rest = &rest[length..];
        }
        begun.join(", ")
    }

    fn receive(&mut self, script: &[Say]) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        for say in script {
            say.write(&mut bytes);
        }
        self.0.receive(&mut bytes, Instant::now())
    }
}

#[derive(Clone, Copy)]
enum Say {
    Parsed,
    Done(&'static str),
    Row(&'static str),
    Error(&'static str),
    Fatal,
    Ready(u8),
}

use Say::{Done, Error, Fatal, Parsed, Ready};

impl Say {
    fn write(self, out: &mut BytesMut) {
        let mut message = |kind: u8, body: &[u8]| {
            out.extend_from_slice(&[kind]);
            out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            out.extend_from_slice(body);
        };
        match self {
            Self::Parsed => message(b'1', b""),
            Self::Done(tag) => {
                message(b'2', b"");
                message(b'C', format!("{tag}\0").as_bytes());
            }
            Self::Row(value) => {
                let mut body = vec![0, 1];
                body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend_from_slice(value.as_bytes());
                message(b'D', &body);
            }
            Self::Error(state) => message(b'E', format!("VERROR\0C{state}\0Mwrong\0\0").as_bytes()),
            Self::Fatal => message(b'E', b"VFATAL\0C57P01\0Mgoing\0\0"),
            Self::Ready(status) => message(b'Z', &[status]),
        }
    }
}

/// The transaction is the tenant's.
const OPENED: [Say; 2] = [Say::Row("tenant_acme"), Done("SELECT 1")];
const CLOSED: [Say; 1] = [Ready(b'I')];

/// The answer, which must be there.
fn done(answer: &mut Answered) -> Result<Reply, DatabaseError> {
    match answer.try_recv().unwrap() {
        Outcome::Done(result) => result,
        other => panic!("handed back: {other:?}"),
    }
}

fn all(parts: &[&[Say]]) -> Vec<Say> {
    parts.concat()
}

#[test]
fn a_statement_is_parsed_in_its_first_group_and_rows_are_its_own() {
    let mut test = Test::new();
    let mut first = test.give(Access::Read, "a");
    assert_eq!(test.sent(), "xPxS");
    test.receive(&all(&[&OPENED, &[Parsed, Say::Row("r"), Done("SELECT 1")], &CLOSED])).unwrap();
    let reply = done(&mut first).unwrap();
    assert_eq!(reply.rows.len(), 1);
    assert_eq!(reply.rows[0].text(0), Some("r"));
    let _second = test.give(Access::Read, "a");
    assert_eq!(test.sent(), "xxS");
}

#[test]
fn groups_behind_a_failed_one_run_and_those_that_relied_on_its_parse_come_again() {
    let mut test = Test::new();
    let mut failing = test.give(Access::Read, "a");
    let mut second = test.give(Access::Read, "b");
    let mut third = test.give(Access::Read, "a");
    let mut fourth = test.give(Access::Read, "a");
    // These two rely on the Parse of the first.
    assert_eq!(test.sent(), "xPxSxPxSxxSxxS");
    // Which fails with its group's role, before it comes to that.
    test.receive(&[Error("22023"), Ready(b'I')]).unwrap();
    assert!(matches!(done(&mut failing), Err(DatabaseError::NoRole(_))));
    test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
    assert!(done(&mut second).is_ok());
    test.receive(&all(&[&OPENED, &[Error("26000")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Error("26000")], &CLOSED])).unwrap();
    assert_eq!(third.try_recv().unwrap_err(), TryRecvError::Empty);
    // Neither relies on the other's this time: each is told what is wrong with its statement, if anything is.
    assert_eq!(test.sent(), "xPxSxPxS");
    test.receive(&all(&[&OPENED, &[Error("42703")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
    assert!(matches!(done(&mut fourth), Err(DatabaseError::Refused(_))));
    assert!(done(&mut third).is_ok());
}

#[test]
fn a_statement_that_was_parsed_survives_its_groups_failure() {
    let mut test = Test::new();
    let _failing = test.give(Access::Read, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Error("22012"), Ready(b'I')]])).unwrap();
    let _again = test.give(Access::Read, "a");
    assert_eq!(test.sent(), "xxS");
}

#[test]
fn an_error_at_the_end_of_a_transaction_is_the_groups() {
    let mut test = Test::new();
    let mut failing = test.give(Access::Write, "a");
    let mut behind = test.give(Access::Read, "b");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
    assert!(done(&mut behind).is_ok(), "reads are sent first");
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1"), Error("40001"), Ready(b'I')]])).unwrap();
    assert!(matches!(done(&mut failing), Err(DatabaseError::Refused(_))));
    let _next = test.give(Access::Write, "a");
    assert_eq!(test.sent(), "xxS");
}

#[test]
fn a_lost_statement_is_parsed_again_once() {
    let mut test = Test::new();
    let _first = test.give(Access::Read, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
    let mut second = test.give(Access::Read, "a");
    for attempt in 0..2 {
        assert_eq!(test.sent(), if attempt == 0 { "xxS" } else { "CxPxS" });
        test.receive(&all(&[&OPENED, &[Error("26000"), Ready(b'I')]])).unwrap();
    }
    assert!(matches!(done(&mut second), Err(DatabaseError::Refused(_))));
}

#[test]
fn a_batch_is_acknowledged_by_its_last_transaction() {
    let mut test = Test::new();
    let mut answers: Vec<_> = (0..3).map(|_| test.give(Access::Write, "a")).collect();
    assert_eq!(test.sent(), "xPxSxxSxxxS", "the last one flushes");
    let mut late = test.give(Access::Write, "a");
    assert_eq!(test.sent(), "", "the next batch gathers");
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Done("INSERT 0 1")], &CLOSED])).unwrap();
    for answer in &mut answers {
        assert_eq!(answer.try_recv().unwrap_err(), TryRecvError::Empty, "not on disk yet");
    }
    test.receive(&all(&[&OPENED, &[Done("INSERT 0 1"), Say::Row("0/1"), Done("SELECT 1")], &CLOSED]))
        .unwrap();
    for answer in &mut answers {
        assert!(done(answer).unwrap().rows.is_empty());
    }
    assert_eq!(test.sent(), "xxS");
    test.receive(&all(&[&OPENED, &[Done("INSERT 0 1")], &CLOSED])).unwrap();
    assert!(done(&mut late).is_ok());
}

#[test]
fn a_batch_that_loses_its_last_write_is_flushed_all_the_same() {
    let mut test = Test::new();
    let mut first = test.give(Access::Write, "a");
    let mut last = test.give(Access::Write, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Error("23505"), Ready(b'I')]])).unwrap();
    assert!(matches!(done(&mut last), Err(DatabaseError::Refused(_))));
    assert_eq!(first.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(test.sent(), "xS", "a transaction that only waits for the disk");
    test.receive(&[Say::Row("0/1"), Done("SELECT 1")]).unwrap();
    test.receive(&CLOSED).unwrap();
    assert!(done(&mut first).is_ok());
}

#[test]
fn a_lost_connection_repeats_reads_and_what_surely_did_not_run() {
    let mut test = Test::new();
    let _read = test.give(Access::Read, "a");
    let mut sent = test.give(Access::Write, "a");
    test.sent();
    let _waiting = test.give(Access::Write, "a");
    test.0.pump(Instant::now()).unwrap();
    let unfinished = test.0.into_unfinished();
    assert_eq!(unfinished.len(), 2);
    assert!(matches!(done(&mut sent), Err(DatabaseError::OutcomeUnknown)));
}

#[test]
fn a_write_whose_sync_was_not_written_is_repeated() {
    let mut test = Test::new();
    let mut write = test.give(Access::Write, "a");
    test.0.pump(Instant::now()).unwrap();
    let _ = test.0.out.split_to(40);
    assert_eq!(test.0.into_unfinished().len(), 1);
    assert_eq!(write.try_recv().unwrap_err(), TryRecvError::Closed, "dropped with the job, not answered");
}

#[test]
fn a_server_that_says_goodbye_before_the_sync_ran_nothing() {
    let mut test = Test::new();
    let mut answers: Vec<_> = (0..3).map(|_| test.give(Access::Write, "a")).collect();
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Fatal]])).unwrap();
    let unfinished = test.0.into_unfinished();
    assert_eq!(unfinished.len(), 2, "the one that was cut off and the one behind it");
    assert!(matches!(done(&mut answers[0]), Err(DatabaseError::OutcomeUnknown)));
}

#[test]
fn a_deferred_write_is_unknown_when_the_connection_breaks() {
    let mut test = Test::new();
    let mut first = test.give(Access::Write, "a");
    let _second = test.give(Access::Write, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    drop(test.0.into_unfinished());
    assert!(matches!(done(&mut first), Err(DatabaseError::OutcomeUnknown)));
}

#[test]
fn answers_that_do_not_match_end_the_connection() {
    let mut test = Test::new();
    let _read = test.give(Access::Read, "a");
    test.sent();
    assert!(test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0"), Ready(b'T')]])).is_err());
    let mut test = Test::new();
    let _read = test.give(Access::Read, "a");
    test.sent();
    assert!(test.receive(&all(&[&OPENED, &[Parsed], &CLOSED])).is_err(), "a statement that never ended");
    assert!(Test::new().receive(&[Ready(b'I')]).is_err());
}

#[test]
fn a_group_that_nobody_waits_for_is_not_sent() {
    let mut test = Test::new();
    drop(test.give(Access::Write, "a"));
    assert_eq!(test.sent(), "");
    assert!(test.0.is_idle());
}

#[test]
fn writes_that_keep_failing_do_not_hold_back_what_was_committed_before_them() {
    let mut test = Test::new();
    let (victims, mut victim) = job("victim", Access::Write, "a");
    test.0.push(victims);
    let mut failing: Vec<_> = vec![test.give(Access::Write, "b")];
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    // More of them come before the last of each batch has failed.
    failing.extend((0..3).map(|_| test.give(Access::Write, "b")));
    test.receive(&all(&[&OPENED, &[Parsed, Error("23505"), Ready(b'I')]])).unwrap();
    assert_eq!(victim.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(test.sent(), "xSxxSxxSxxxS", "the flush goes before the next batch");
    test.receive(&[Say::Row("0/1"), Done("SELECT 1"), Ready(b'I')]).unwrap();
    assert!(done(&mut victim).is_ok());
    for _ in 0..3 {
        test.receive(&all(&[&OPENED, &[Error("23505"), Ready(b'I')]])).unwrap();
    }
    assert!(failing.iter_mut().all(|answer| done(answer).is_err()));
    assert_eq!(test.sent(), "");
    assert!(test.0.is_idle());
}

#[test]
fn a_flush_that_outlasts_a_slice_is_sent_again() {
    let mut test = Test::new();
    let mut first = test.give(Access::Write, "a");
    let _last = test.give(Access::Write, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Error("23505"), Ready(b'I')]])).unwrap();
    assert_eq!(test.sent(), "xS");
    test.receive(&[Error("57014"), Ready(b'I')]).unwrap();
    assert_eq!(test.sent(), "xS");
    test.receive(&[Say::Row("0/1"), Done("SELECT 1"), Ready(b'I')]).unwrap();
    assert!(done(&mut first).is_ok());
}

#[test]
fn what_outlasts_its_slice_or_waits_for_a_lock_is_handed_back() {
    for state in ["57014", "55P03"] {
        let mut test = Test::new();
        let mut slow = test.give(Access::Read, "a");
        let mut behind = test.give(Access::Read, "b");
        test.sent();
        test.receive(&all(&[&OPENED, &[Parsed, Error(state), Ready(b'I')]])).unwrap();
        assert!(matches!(slow.try_recv().unwrap(), Outcome::Outlasted(group) if group.statements.len() == 1));
        test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
        assert!(done(&mut behind).is_ok());
    }
}

#[test]
fn a_quota_that_is_less_than_a_slice_is_final() {
    let mut test = Test::new();
    let (quick, mut answer) = job("acme", Access::Read, "a");
    test.0.push(Job { quota: Some(SLICE / 2), ..quick });
    assert!(test.begun().contains("read_timed 50"), "set for this group");
    test.receive(&all(&[&OPENED, &[Parsed, Error("57014"), Ready(b'I')]])).unwrap();
    assert!(matches!(done(&mut answer), Err(DatabaseError::Refused(_))));
}

#[test]
fn groups_of_one_tenant_share_a_slice_and_those_of_others_have_their_own() {
    let mut test = Test::new();
    let _answers: Vec<_> = (0..3).map(|_| test.give(Access::Read, "a")).collect();
    let (other, _answer) = job("other", Access::Read, "a");
    test.0.push(other);
    // The first two of a tenant have the session's timeout, which is a slice.
    assert_eq!(test.begun(), "read, read, read, read_timed 33");
}

#[test]
fn code_in_the_session_cannot_lift_the_timeout_of_a_group() {
    let pace = Pace::Slices { slice: SLICE, always_set: true };
    let mut test = Test(Pipeline::new(8, pace, Instant::now()));
    let _read = test.give(Access::Read, "a");
    assert_eq!(test.begun(), "read_timed 100");
    let mut test = Test(Pipeline::new(8, Pace::Unhurried { set: Some(5000) }, Instant::now()));
    let _write = test.give(Access::Write, "a");
    assert_eq!(test.begun(), "write_timed 5000");
}

#[test]
fn what_takes_too_long_without_hurry_is_the_groups_error() {
    let mut test = Test(Pipeline::new(8, Pace::Unhurried { set: None }, Instant::now()));
    for _ in 0..2 {
        let mut slow = test.give(Access::Read, "a");
        test.sent();
        assert!(!test.0.is_committing());
        test.receive(&OPENED).unwrap();
        test.receive(&[Parsed, Error("57014"), Ready(b'I')]).unwrap_or_else(|_| panic!("out of step"));
        assert!(matches!(done(&mut slow), Err(DatabaseError::Refused(_))));
        test = Test(Pipeline::new(8, Pace::Unhurried { set: None }, Instant::now()));
    }
}

#[test]
fn a_login_that_may_not_become_the_tenant_hands_the_group_back() {
    let mut test = Test::new();
    let mut group = test.give(Access::Write, "a");
    test.sent();
    test.receive(&[Error("42501"), Ready(b'I')]).unwrap();
    assert!(matches!(group.try_recv().unwrap(), Outcome::NotLetIn(..)));
    // In a statement of the group it is the tenant's own business.
    let mut group = test.give(Access::Write, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Error("42501"), Ready(b'I')]])).unwrap();
    assert!(matches!(done(&mut group), Err(DatabaseError::Refused(_))));
}

#[test]
fn rows_without_columns_are_bounded_too() {
    let mut test = Test::new();
    let mut answer = test.give(Access::Read, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed]])).unwrap();
    let rows = [Say::Row(""); 1000];
    for _ in 0..1000 {
        test.receive(&rows).unwrap();
    }
    test.receive(&all(&[&[Done("SELECT 1000000")], &CLOSED])).unwrap();
    assert!(matches!(done(&mut answer), Err(DatabaseError::ReplyTooLarge { .. })));
}

const KIB: u64 = 1024;

/// A budget of 1 MiB, of which one request may have half.
fn budget() -> Capacity {
    Capacity::new(1024 * 1024, 100)
}

fn request(capacity: &Capacity) -> Load {
    let load = capacity.places().begin().unwrap();
    load.of_tenant(uuid::Uuid::from_u128(1)).unwrap();
    load
}

/// So many rows of about 16 KiB.
fn rows(count: usize) -> Vec<Say> {
    vec![Say::Row("x".repeat(16 * 1024).leak()); count]
}

#[test]
fn rows_are_charged_in_steps_while_they_arrive_and_to_the_byte_at_the_end() {
    let (capacity, mut test) = (budget(), Test::new());
    let load = request(&capacity);
    let mut answer = test.give_charged(Access::Read, "a", &load);
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed], &rows(3)])).unwrap();
    assert_eq!(capacity.held_bytes(), 0, "most answers have no more");
    test.receive(&rows(2)).unwrap();
    assert_eq!(capacity.held_bytes(), 256 * KIB);
    test.receive(&rows(15)).unwrap();
    assert_eq!(capacity.held_bytes(), 512 * KIB);
    test.receive(&all(&[&[Done("SELECT 20")], &CLOSED])).unwrap();
    assert_eq!(done(&mut answer).unwrap().rows.len(), 20);
    let held = capacity.held_bytes();
    assert!((320 * KIB..322 * KIB).contains(&held), "{held}");
    drop((answer, load));
    assert_eq!(capacity.held_bytes(), 0);
}

#[test]
fn a_read_without_memory_drops_its_rows_and_the_next_group_is_served() {
    let (capacity, mut test) = (budget(), Test::new());
    let (large, neighbour) = (request(&capacity), request(&capacity));
    let mut answer = test.give_charged(Access::Read, "a", &large);
    let mut behind = test.give_charged(Access::Read, "b", &neighbour);
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed], &rows(30)])).unwrap();
    assert_eq!(capacity.held_bytes(), 512 * KIB);
    test.receive(&rows(10)).unwrap();
    assert_eq!(capacity.held_bytes(), 0, "more than a request may ever have");
    test.receive(&all(&[&rows(10), &[Done("SELECT 50")], &CLOSED])).unwrap();
    assert!(matches!(done(&mut answer), Err(DatabaseError::NoMemory(Full::Never))));
    large.take(500 * 1024).unwrap();
    test.receive(&all(&[&OPENED, &[Parsed], &rows(5), &[Done("SELECT 5")], &CLOSED])).unwrap();
    assert!(
        matches!(done(&mut behind), Err(DatabaseError::NoMemory(Full::Tenant))),
        "the tenant has its share"
    );
    assert_eq!(capacity.held_bytes(), 500 * KIB);
}

#[test]
fn a_write_without_memory_says_that_it_has_happened_once_it_has() {
    let (capacity, mut test) = (budget(), Test::new());
    let load = request(&capacity);
    let mut first = test.give_charged(Access::Write, "a", &load);
    let mut last = test.give_charged(Access::Write, "a", &load);
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed], &rows(40), &[Done("INSERT 0 40")], &CLOSED])).unwrap();
    assert_eq!(first.try_recv().unwrap_err(), TryRecvError::Empty, "not on disk yet");
    let flushed = [Done("INSERT 0 1"), Say::Row("0/1"), Done("SELECT 1")];
    test.receive(&all(&[&OPENED, &rows(1), &flushed, &CLOSED])).unwrap();
    assert!(matches!(done(&mut first), Err(DatabaseError::Untold)));
    assert_eq!(done(&mut last).unwrap().rows.len(), 1);
    let mut undone = test.give_charged(Access::Write, "a", &load);
    test.sent();
    test.receive(&all(&[&OPENED, &rows(40), &[Error("23505"), Ready(b'I')]])).unwrap();
    assert!(matches!(done(&mut undone), Err(DatabaseError::Refused(_))), "it has not happened");
}

#[test]
fn few_rows_of_a_write_are_told_with_or_without_memory() {
    let (capacity, mut test) = (budget(), Test::new());
    let load = request(&capacity);
    load.hold_anyway(1024 * 1024);
    let mut answer = test.give_charged(Access::Write, "a", &load);
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed], &rows(1), &[Done("INSERT 0 1")], &CLOSED])).unwrap();
    assert_eq!(done(&mut answer).unwrap().rows.len(), 1);
}

#[test]
fn rows_of_what_is_cut_off_give_their_memory_back() {
    let (capacity, mut test) = (budget(), Test::new());
    let load = request(&capacity);
    let _read = test.give_charged(Access::Read, "a", &load);
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed], &rows(10)])).unwrap();
    assert_eq!(capacity.held_bytes(), 256 * KIB);
    let unfinished = test.0.into_unfinished();
    assert_eq!((unfinished.len(), capacity.held_bytes()), (1, 0));
}
