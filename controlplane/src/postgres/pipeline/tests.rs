use tenantry_crds::names::{SchemaName, TenantName, TenantRole};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::*;
use crate::postgres::{Bound, Group, TemplateBuilder, statement::Access};

type Answered = oneshot::Receiver<Result<Reply, DatabaseError>>;

fn job(access: Access, sql: &str) -> (Job, Answered) {
    let tenant = TenantName::new("acme").unwrap();
    let (reply, answer) = oneshot::channel();
    let template = TemplateBuilder::new(sql).build();
    let statements = vec![Bound { template, params: Params::default(), by_value: false }];
    let job = Job {
        group: Group { access, statements },
        schema: SchemaName::of(&tenant),
        role: TenantRole::of(&tenant),
        statement_timeout: None,
        deadline: Instant::now() + Duration::from_secs(60),
        retries: 0,
        reply,
        permit: None,
    };
    (job, answer)
}

struct Test(Pipeline);

impl Test {
    fn new() -> Self {
        Self(Pipeline::new(8, Instant::now()))
    }

    /// Hands a group in; yields its answer and what was sent.
    fn give(&mut self, access: Access, sql: &str) -> Answered {
        let (job, answer) = job(access, sql);
        self.0.push(job);
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

fn all(parts: &[&[Say]]) -> Vec<Say> {
    parts.concat()
}

#[test]
fn a_statement_is_parsed_in_its_first_group_and_rows_are_its_own() {
    let mut test = Test::new();
    let mut first = test.give(Access::Read, "a");
    assert_eq!(test.sent(), "xPxS");
    test.receive(&all(&[&OPENED, &[Parsed, Say::Row("r"), Done("SELECT 1")], &CLOSED])).unwrap();
    let reply = first.try_recv().unwrap().unwrap();
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
    assert!(matches!(failing.try_recv().unwrap(), Err(DatabaseError::Refused(_))));
    test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
    assert!(second.try_recv().unwrap().is_ok());
    test.receive(&all(&[&OPENED, &[Error("26000")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Error("26000")], &CLOSED])).unwrap();
    assert_eq!(third.try_recv().unwrap_err(), TryRecvError::Empty);
    // Neither relies on the other's this time: each is told what is wrong with its statement, if anything is.
    assert_eq!(test.sent(), "xPxSxPxS");
    test.receive(&all(&[&OPENED, &[Error("42703")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Parsed, Done("SELECT 0")], &CLOSED])).unwrap();
    assert!(matches!(fourth.try_recv().unwrap(), Err(DatabaseError::Refused(_))));
    assert!(third.try_recv().unwrap().is_ok());
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
    assert!(behind.try_recv().unwrap().is_ok(), "reads are sent first");
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1"), Error("40001"), Ready(b'I')]])).unwrap();
    assert!(matches!(failing.try_recv().unwrap(), Err(DatabaseError::Refused(_))));
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
    assert!(matches!(second.try_recv().unwrap(), Err(DatabaseError::Refused(_))));
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
        assert!(answer.try_recv().unwrap().unwrap().rows.is_empty());
    }
    assert_eq!(test.sent(), "xxS");
    test.receive(&all(&[&OPENED, &[Done("INSERT 0 1")], &CLOSED])).unwrap();
    assert!(late.try_recv().unwrap().is_ok());
}

#[test]
fn a_batch_that_loses_its_last_write_is_flushed_all_the_same() {
    let mut test = Test::new();
    let mut first = test.give(Access::Write, "a");
    let mut last = test.give(Access::Write, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    test.receive(&all(&[&OPENED, &[Error("23505"), Ready(b'I')]])).unwrap();
    assert!(matches!(last.try_recv().unwrap(), Err(DatabaseError::Refused(_))));
    assert_eq!(first.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(test.sent(), "xS", "a transaction that only waits for the disk");
    test.receive(&[Say::Row("0/1"), Done("SELECT 1")]).unwrap();
    test.receive(&CLOSED).unwrap();
    assert!(first.try_recv().unwrap().is_ok());
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
    assert!(matches!(sent.try_recv().unwrap(), Err(DatabaseError::OutcomeUnknown)));
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
    assert!(matches!(answers[0].try_recv().unwrap(), Err(DatabaseError::OutcomeUnknown)));
}

#[test]
fn a_deferred_write_is_unknown_when_the_connection_breaks() {
    let mut test = Test::new();
    let mut first = test.give(Access::Write, "a");
    let _second = test.give(Access::Write, "a");
    test.sent();
    test.receive(&all(&[&OPENED, &[Parsed, Done("INSERT 0 1")], &CLOSED])).unwrap();
    drop(test.0.into_unfinished());
    assert!(matches!(first.try_recv().unwrap(), Err(DatabaseError::OutcomeUnknown)));
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
