//! What is too long.

use std::time::Duration;

/// Postgres itself ends what is beyond the settings of the login, more gently; the watchdog comes a moment later.
const GRACE: Duration = Duration::from_secs(15);
/// As `docs/access.md` says, and as the settings of a login of direct access are.
const STATEMENT: Duration = Duration::from_secs(300);
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(60);
/// A transaction as a whole, whatever it does.
const TRANSACTION: Duration = Duration::from_secs(600);
/// Advisory locks of one session: the table of locks is one for all.
const ADVISORY_LOCKS: i64 = 100;

/// A limit that a session is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A statement runs too long.
    Statement,
    /// A transaction is open and nothing happens in it.
    IdleInTransaction,
    /// A transaction is open too long.
    Transaction,
    /// The session holds too many advisory locks.
    AdvisoryLocks,
}

impl Limit {
    /// As the log and the metric name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::IdleInTransaction => "idle_in_transaction",
            Self::Transaction => "transaction",
            Self::AdvisoryLocks => "advisory_locks",
        }
    }
}

/// What a session does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Session {
    /// How long its statement has run, if one runs.
    pub statement: Option<Duration>,
    /// How long it has been idle in a transaction, if it is.
    pub idle: Option<Duration>,
    /// How long its transaction has been open; zero without one.
    pub transaction: Duration,
    /// The advisory locks that it holds or waits for.
    pub advisory_locks: i64,
}

impl Session {
    /// The limit that it is beyond, if it is.
    pub fn beyond(&self) -> Option<Limit> {
        let over = |age: Option<Duration>, limit: Duration| age.is_some_and(|age| age > limit + GRACE);
        if over(self.statement, STATEMENT) {
            Some(Limit::Statement)
        } else if over(self.idle, IDLE_IN_TRANSACTION) {
            Some(Limit::IdleInTransaction)
        } else if over(Some(self.transaction), TRANSACTION) {
            Some(Limit::Transaction)
        } else if self.advisory_locks > ADVISORY_LOCKS {
            Some(Limit::AdvisoryLocks)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_within_its_limits_is_left_alone() {
        let none = Session::default();
        assert_eq!(none.beyond(), None);
        let busy = Session { statement: Some(seconds(310)), transaction: seconds(600), ..none };
        assert_eq!(busy.beyond(), None, "the server ends it itself");
        assert_eq!(Session { idle: Some(seconds(70)), transaction: seconds(70), ..none }.beyond(), None);
        assert_eq!(Session { advisory_locks: 100, ..none }.beyond(), None);
    }

    #[test]
    fn a_session_beyond_a_limit_is_named_by_it() {
        let none = Session::default();
        let of = |session: Session| session.beyond().unwrap();
        assert_eq!(of(Session { statement: Some(seconds(316)), ..none }), Limit::Statement);
        assert_eq!(of(Session { idle: Some(seconds(76)), ..none }), Limit::IdleInTransaction);
        let busy = Session { statement: Some(seconds(1)), transaction: seconds(616), ..none };
        assert_eq!(of(busy), Limit::Transaction, "one that is never idle for long");
        assert_eq!(of(Session { advisory_locks: 101, ..none }), Limit::AdvisoryLocks);
    }
}
