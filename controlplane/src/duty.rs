//! Duties: what one process at a time does for a Postgres instance.
//!
//! The right to a duty is a lease in `tenantry.duty`, by the clock of the server. Advisory locks would not do, since every tenant that
//! can log in can take one. A holder stops a moment before its lease is over; what must not happen twice is fenced as well: the
//! statement that writes it asks for the holder's epoch ([`Lease::epoch`]).

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Login;

/// How long a duty stays with a holder that is not heard of.
const LEASE: Duration = Duration::from_secs(4);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(1);
/// A holder stops so long before its lease is over: the clocks of two machines do not run alike.
const MARGIN: Duration = Duration::from_millis(500);
/// Between two tries of a process that stands by.
const STAND_BY: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(5);
/// How long a release may hold up the end of the process.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// To bring events of the outbox into the search indexes.
    Index,
    /// To seal the audit journal.
    Seal,
    /// To remove what has had its time.
    Sweep,
    /// To move secrets to the primary key.
    Reseal,
}

impl Name {
    /// As `tenantry.duty` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Seal => "seal",
            Self::Sweep => "sweep",
            Self::Reseal => "reseal",
        }
    }
}

/// A duty of this process in a Postgres instance.
#[derive(Debug)]
pub struct Duty {
    name: Name,
    login: Login,
    /// A name that no other process has, so that this one can take its own lease back after its connection broke.
    holder: String,
}

/// Why a duty is not held any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The connection failed.
    #[error("the lease of a duty")]
    Database(#[from] sqlx::Error),
    /// The server was too slow.
    #[error("the lease of a duty could not be read within {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    /// Another process holds it.
    #[error("the lease was not renewed in time")]
    Over,
}

/// The right to a duty for now.
#[derive(Debug, Clone)]
pub struct Lease {
    epoch: i64,
    until: watch::Receiver<Instant>,
}

impl Lease {
    /// What a write is fenced with.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// # Errors
    /// When the lease is over: nothing may be done in its name any more.
    pub fn check(&self) -> Result<(), Lost> {
        if Instant::now() < *self.until.borrow() { Ok(()) } else { Err(Lost::Over) }
    }

    /// A lease that does not end.
    #[cfg(test)]
    pub fn endless(epoch: i64) -> Self {
        let (_, until) = watch::channel(Instant::now() + Duration::from_secs(3600));
        Self { epoch, until }
    }
}

/// What a holder does at a moment.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait(Duration),
    Renew,
    Stop,
}

/// What is next when the last renewal that succeeded was sent at `renewed`.
fn next(renewed: Instant, now: Instant) -> Next {
    let since = now.saturating_duration_since(renewed);
    match RENEW.checked_sub(since) {
        Some(left) if !left.is_zero() => Next::Wait(left),
        _ if since < LEASE - MARGIN => Next::Renew,
        _ => Next::Stop,
    }
}

impl Duty {
    /// A duty in the instance that `login` leads to.
    pub fn new(name: Name, login: &Login) -> Self {
        Self { name, login: login.clone(), holder: Uuid::new_v4().to_string() }
    }

    /// Waits for the duty and does `work` as long as it is held. Ends well at `shutdown` only; the duty is free at once then.
    ///
    /// # Errors
    /// When the work fails, or the duty is lost.
    pub async fn hold<E: From<Lost>>(
        &self,
        shutdown: &CancellationToken,
        work: impl AsyncFnOnce(Lease) -> Result<Infallible, E>,
    ) -> Result<(), E> {
        let taken = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            taken = self.take() => taken?,
        };
        let (mut connection, epoch, renewed) = taken;
        let (granted, until) = watch::channel(renewed + LEASE - MARGIN);
        let lease = Lease { epoch, until };
        let ended = tokio::select! {
            // What is cut off here is done again by whoever has the duty next.
            () = shutdown.cancelled() => Ok(()),
            Err(error) = work(lease) => Err(error),
            Err(lost) = self.keep(&mut connection, epoch, renewed, &granted) => Err(lost.into()),
        };
        // When this fails the lease ends by itself.
        let _released = tokio::time::timeout(RELEASE_LIMIT, self.release(&mut connection, epoch)).await;
        ended
    }

    /// Stands by until the duty is free; the moment is that before the lease was asked for.
    async fn take(&self) -> Result<(PgConnection, i64, Instant), Lost> {
        let mut connection = within(self.login.connect()).await?;
        loop {
            let asked = Instant::now();
            let take = sqlx::query_scalar(
                "UPDATE tenantry.duty SET epoch = epoch + 1, holder = $2, \
                    expires_at = clock_timestamp() + make_interval(secs => $3) \
                 WHERE name = $1 AND (expires_at <= clock_timestamp() OR holder = $2) RETURNING epoch",
            );
            let take = take.bind(self.name.as_str()).bind(&self.holder).bind(LEASE.as_secs_f64());
            if let Some(epoch) = within(take.fetch_optional(&mut connection)).await? {
                return Ok((connection, epoch, asked));
            }
            tokio::time::sleep(STAND_BY.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    async fn keep(
        &self,
        connection: &mut PgConnection,
        epoch: i64,
        mut renewed: Instant,
        granted: &watch::Sender<Instant>,
    ) -> Result<Infallible, Lost> {
        loop {
            match next(renewed, Instant::now()) {
                Next::Wait(pause) => tokio::time::sleep(pause).await,
                Next::Stop => return Err(Lost::Over),
                Next::Renew => {
                    let asked = Instant::now();
                    let renew = sqlx::query(
                        "UPDATE tenantry.duty SET expires_at = clock_timestamp() + make_interval(secs => $3) \
                         WHERE name = $1 AND epoch = $2",
                    );
                    let renew = renew.bind(self.name.as_str()).bind(epoch).bind(LEASE.as_secs_f64());
                    let left = (renewed + LEASE - MARGIN).saturating_duration_since(asked);
                    let done = tokio::time::timeout(left, renew.execute(&mut *connection)).await;
                    if done.map_err(|_| Lost::Over)??.rows_affected() == 0 {
                        return Err(Lost::Over);
                    }
                    renewed = asked;
                    granted.send_replace(renewed + LEASE - MARGIN);
                }
            }
        }
    }

    async fn release(&self, connection: &mut PgConnection, epoch: i64) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE tenantry.duty SET expires_at = '-infinity' WHERE name = $1 AND epoch = $2")
            .bind(self.name.as_str())
            .bind(epoch)
            .execute(connection)
            .await?;
        Ok(())
    }
}

async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T, Lost> {
    Ok(tokio::time::timeout(LIMIT, work).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_in_time_or_given_up_before_it_is_over() {
        let renewed = Instant::now();
        let at = |millis| next(renewed, renewed + Duration::from_millis(millis));
        assert_eq!(at(0), Next::Wait(RENEW));
        assert_eq!(at(600), Next::Wait(Duration::from_millis(400)));
        assert_eq!(at(1000), Next::Renew);
        assert_eq!(at(3499), Next::Renew);
        assert_eq!(at(3500), Next::Stop);
        assert_eq!(at(60_000), Next::Stop);
    }

    #[test]
    fn a_lease_that_is_over_allows_nothing() {
        let (granted, until) = watch::channel(Instant::now() + Duration::from_secs(60));
        let lease = Lease { epoch: 1, until };
        assert!(lease.check().is_ok());
        granted.send_replace(Instant::now());
        assert!(matches!(lease.check(), Err(Lost::Over)));
    }
}
