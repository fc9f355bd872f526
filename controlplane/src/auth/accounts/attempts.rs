//! Failed attempts to sign in, and how long whoever made them has to wait.
//!
//! An attempt counts as failed before the password is looked at, and is taken back when it was right: attempts at the same
//! moment are all counted. One that is refused writes nothing and counts for nobody: only what may be tried is counted.
//!
//! What is counted is a digest, the same for accounts that exist and that do not. It has 16 bits, so a tenant has a bounded number
//! of rows, whoever tries whatever: 65,536 of each kind.

use std::net::IpAddr;

use uuid::Uuid;

use super::{
    super::{
        secret::{Purpose, SecretKey},
        sql::{array, bound, is_true, statement},
    },
    Visit,
};
use crate::{
    error::{ApiError, Code},
    postgres::{Bound, Group, Row},
    rate::{counted, network},
};

/// Attempts on one account from one address before they have to wait.
const PAIR_LIMIT: u32 = 10;
/// Attempts on one account from one network.
const NEAR_LIMIT: u32 = 30;
/// Attempts on one account from everywhere. Of one network only as many count as one address may make, or one that tries on would
/// lock the account for everybody else.
const ACCOUNT_LIMIT: u32 = 100;
/// Attempts from one address on all accounts.
const ADDRESS_LIMIT: u32 = 100;
/// Attempts from one network on all accounts.
const NETWORK_LIMIT: u32 = 1000;

// Each count is made under the lock of its row and only if the one before it was, so none of attempts at the same moment is counted
// for others when its own pair may not try any more.
statement!(
    NOTE,
    "WITH held AS (SELECT FROM tenantry.auth_attempt WHERE role = current_user \
        AND id IN ($1::text, $2::text, $3::text, $4::text, $5::text) AND blocked_until > now()), ",
    count("pair", "$1", "NOT EXISTS (SELECT FROM held)", PAIR_LIMIT).as_str(),
    count("near", "$2", "EXISTS (SELECT FROM pair)", NEAR_LIMIT).as_str(),
    count("account", "$3", &format!("(SELECT failures FROM near) <= {PAIR_LIMIT}"), ACCOUNT_LIMIT).as_str(),
    count("address", "$4", "EXISTS (SELECT FROM near)", ADDRESS_LIMIT).as_str(),
    count("network", "$5", "EXISTS (SELECT FROM address)", NETWORK_LIMIT).as_str(),
    "admitted AS (SELECT FROM network WHERE EXISTS (SELECT FROM account) OR (SELECT failures FROM near) > ",
    PAIR_LIMIT.to_string().as_str(),
    ") SELECT 'noted', EXISTS (SELECT FROM admitted)"
);

/// Counts one more failure in the row `id`, if `admitted` holds and the row is not blocked. The first beyond the limit waits 15 seconds,
/// each further one twice as long, up to a quarter of an hour. After an hour without any, the count begins anew.
fn count(name: &str, id: &str, admitted: &str, limit: u32) -> String {
    format!(
        "{name} AS (INSERT INTO tenantry.auth_attempt AS a (id, failures) SELECT {id}::text, 1 WHERE {admitted} \
         ON CONFLICT (role, id) DO UPDATE SET last_at = now(), \
            failures = CASE WHEN a.last_at < now() - interval '1 hour' THEN 1 ELSE a.failures + 1 END, \
            blocked_until = CASE WHEN a.last_at >= now() - interval '1 hour' AND a.failures + 1 >= {limit} \
                THEN now() + make_interval(secs => least(900, 15 * power(2, least(10, a.failures + 1 - {limit})))) END \
         WHERE a.blocked_until IS NULL OR a.blocked_until <= now() RETURNING a.failures), "
    )
}

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
     WHERE role = current_user AND id = ANY ($1::text[])"
);

// Whatever is asked for is noted, so that an address which is known takes no longer than one which is not.
statement!(
    ASKED,
    "INSERT INTO tenantry.auth_attempt AS a (id, failures) VALUES ($1::text, 0) \
     ON CONFLICT (role, id) DO UPDATE SET last_at = now()"
);

/// Notes that somebody has e-mail sent to `account`.
pub(super) fn asked(key: &SecretKey, tenant: Uuid, account: &str) -> Bound {
    bound(&ASKED, &[Some(&bucket(key, "mail", &[tenant.as_bytes(), account.as_bytes()]))])
}

/// The name of the row that these count for.
fn bucket(key: &SecretKey, label: &str, parts: &[&[u8]]) -> String {
    let digest = key.derive(Purpose::Attempt, parts);
    format!("{label} {:02x}{:02x}", digest[0], digest[1])
}

/// What one attempt counts for.
#[derive(Debug)]
pub(super) struct Attempt {
    pair: String,
    near: String,
    account: String,
    address: String,
    network: String,
}

impl Attempt {
    pub(super) fn new(key: &SecretKey, tenant: Uuid, account: &str, address: Option<IpAddr>) -> Self {
        let named = |of: fn(IpAddr) -> IpAddr| {
            address.map_or_else(|| "unknown".to_owned(), |address| of(address).to_string())
        };
        // Whoever has a network of IPv6 has addresses without end.
        let (client, around) = (named(counted), named(network));
        let digest = |label: &str, parts: &[&[u8]]| bucket(key, label, parts);
        let (tenant, account) = (tenant.as_bytes(), account.as_bytes());
        let (client, around) = (client.as_bytes(), around.as_bytes());
        Self {
            pair: digest("pair", &[tenant, account, client]),
            near: digest("near", &[tenant, account, around]),
            account: digest("account", &[tenant, account]),
            address: digest("address", &[tenant, client]),
            network: digest("network", &[tenant, around]),
        }
    }

    /// Counts it, if it may be made; yields a row that says so.
    pub(super) fn note(&self) -> Bound {
        bound(&NOTE, &self.all().map(Some))
    }

    /// How many seconds are left to wait.
    pub(super) fn blocked(&self) -> Bound {
        bound(&BLOCKED, &[Some(&array(self.all()))])
    }

    /// It was right: the account has no failures from there, the address and its network one less.
    pub(super) fn forgive(&self) -> [Bound; 2] {
        let account = array([self.pair.as_str(), &self.near, &self.account]);
        let places = array([self.address.as_str(), &self.network]);
        [bound(&FORGIVE, &[Some(&account)]), bound(&TAKE_BACK, &[Some(&places)])]
    }

    pub(super) fn all(&self) -> [&str; 5] {
        [&self.pair, &self.near, &self.account, &self.address, &self.network]
    }
}

/// What [`Attempt::note`] and [`Attempt::blocked`] yielded.
#[derive(Debug, Default)]
pub(super) struct Tally {
    noted: bool,
    wait: u64,
}

impl Tally {
    /// Takes a row in; whether it was one of theirs.
    pub(super) fn takes(&mut self, row: &Row) -> bool {
        match row.text(0) {
            Some("noted") => self.noted = is_true(row, 1),
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
        if self.noted {
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
