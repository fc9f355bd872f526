//! Failed attempts to sign in, and how long whoever made them has to wait.
//!
//! An attempt counts as failed before the password is looked at, and is taken back when it was right: attempts at the same
//! moment are all counted. What is counted is a digest, the same for accounts that exist and that do not.

use std::net::IpAddr;

use uuid::Uuid;

use super::{
    super::{
        secret::{Purpose, SecretKey},
        sql::{array, bound, statement},
    },
    Visit,
};
use crate::{
    error::{ApiError, Code},
    postgres::{Bound, Group, Row},
    rate::counted,
};

/// Attempts on one account from one address before they have to wait.
const PAIR_LIMIT: &str = "10";
/// Attempts on one account from all addresses, and from one address on all accounts.
const WIDE_LIMIT: &str = "100";

// The first waits 15 seconds, each further one twice as long, up to a quarter of an hour. After an hour without any, the count
// begins anew.
statement!(
    NOTE,
    "INSERT INTO tenantry.auth_attempt AS a (id, failures) \
     SELECT n.id, 1 FROM unnest($1::text[]) AS n (id) ORDER BY n.id \
     ON CONFLICT (role, id) DO UPDATE SET last_at = now(), \
        failures = CASE WHEN a.last_at < now() - interval '1 hour' THEN 1 ELSE a.failures + 1 END, \
        blocked_until = CASE WHEN a.last_at >= now() - interval '1 hour' \
            AND a.failures + 1 >= CASE WHEN excluded.id LIKE 'pair %' THEN ",
    PAIR_LIMIT,
    " ELSE ",
    WIDE_LIMIT,
    " END \
            THEN now() + make_interval(secs => least(900, 15 * power(2, least(10, a.failures + 1 \
                - CASE WHEN excluded.id LIKE 'pair %' THEN ",
    PAIR_LIMIT,
    " ELSE ",
    WIDE_LIMIT,
    " END)))) END \
     WHERE a.blocked_until IS NULL OR a.blocked_until <= now() \
     RETURNING 'noted'"
);
statement!(
    BLOCKED,
    "SELECT 'blocked', ceil(extract(epoch FROM max(blocked_until) - now()))::integer FROM tenantry.auth_attempt \
     WHERE role = current_user AND id = ANY ($1::text[])"
);
// The worker removes the rows: a tenant's role may not.
statement!(
    FORGIVE,
    "UPDATE tenantry.auth_attempt SET failures = 0, blocked_until = NULL \
     WHERE role = current_user AND id = ANY ($1::text[])"
);
statement!(
    TAKE_BACK,
    "UPDATE tenantry.auth_attempt SET failures = greatest(0, failures - 1) \
     WHERE role = current_user AND id = $1::text"
);

/// What one attempt counts for.
#[derive(Debug)]
pub(super) struct Attempt {
    pair: String,
    account: String,
    address: String,
}

impl Attempt {
    pub(super) fn new(key: &SecretKey, tenant: Uuid, account: &str, address: Option<IpAddr>) -> Self {
        // Whoever has a network of IPv6 has addresses without end.
        let client = address.map_or_else(|| "unknown".to_owned(), |address| counted(address).to_string());
        let digest = |label: &str, parts: &[&[u8]]| {
            let digest = key.derive(Purpose::Attempt, parts);
            let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{label} {hex}")
        };
        let (tenant, account, client) = (tenant.as_bytes(), account.as_bytes(), client.as_bytes());
        Self {
            pair: digest("pair", &[tenant, account, client]),
            account: digest("account", &[tenant, account]),
            address: digest("address", &[tenant, client]),
        }
    }

    /// Counts it; yields a row for each count that is not blocked.
    pub(super) fn note(&self) -> Bound {
        bound(&NOTE, &[Some(&self.all())])
    }

    /// How many seconds are left to wait.
    pub(super) fn blocked(&self) -> Bound {
        bound(&BLOCKED, &[Some(&self.all())])
    }

    /// It was right: the account has no failures, the address one less.
    pub(super) fn forgive(&self) -> [Bound; 2] {
        let account = array([self.pair.as_str(), &self.account]);
        [bound(&FORGIVE, &[Some(&account)]), bound(&TAKE_BACK, &[Some(&self.address)])]
    }

    fn all(&self) -> String {
        array([self.pair.as_str(), &self.account, &self.address])
    }
}

/// What [`Attempt::note`] and [`Attempt::blocked`] yielded.
#[derive(Debug, Default)]
pub(super) struct Tally {
    noted: usize,
    wait: u64,
}

impl Tally {
    /// What is noted when the attempt may go on.
    const ALL: usize = 3;

    /// Takes a row in; whether it was one of theirs.
    pub(super) fn takes(&mut self, row: &Row) -> bool {
        match row.text(0) {
            Some("noted") => self.noted += 1,
            Some("blocked") => {
                self.wait = row.text(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
            }
            _ => return false,
        }
        true
    }

    /// # Errors
    /// When too many attempts have failed.
    pub(super) fn admit(&self) -> Result<(), ApiError> {
        if self.noted >= Self::ALL {
            return Ok(());
        }
        Err(ApiError::new(Code::TooManyAttempts, "too many attempts have failed; wait a while")
            .retry_after(self.wait.max(1)))
    }
}

impl Visit<'_> {
    /// Counts an attempt on `account`, before what was shown is looked at.
    ///
    /// # Errors
    /// When too many have failed.
    pub(super) async fn attempt(self, account: &str) -> Result<Attempt, ApiError> {
        let attempt = Attempt::new(self.secrets(), self.tenant.origin, account, self.request.address);
        let reply = self.run(Group::write(vec![attempt.note(), attempt.blocked()])).await?;
        let mut tally = Tally::default();
        for row in &reply.rows {
            tally.takes(row);
        }
        tally.admit()?;
        Ok(attempt)
    }

    /// Takes an attempt back: what was shown was right.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn succeeded(self, attempt: &Attempt) -> Result<(), ApiError> {
        self.run(Group::write(Vec::from(attempt.forgive()))).await?;
        Ok(())
    }
}
