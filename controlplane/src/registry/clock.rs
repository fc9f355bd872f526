//! Whether this process's clock agrees with that of a Postgres instance.
//!
//! Times in tokens come from the replica that issues them and are held against the clock of the one that reads them. A replica whose
//! clock is off issues what all others refuse, and refuses what all others issue, so it must not be asked.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::PgConnection;

/// What a server's clock said between two looks at the own one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Seconds since 1970, by the own clock, when the server was asked.
    sent: f64,
    /// How long the answer took, by a clock that nobody sets.
    took: Duration,
    /// Seconds since 1970, by the server's clock.
    told: f64,
}

impl Reading {
    /// Asks for one.
    pub(super) async fn of(connection: &mut PgConnection, clock: fn() -> SystemTime) -> sqlx::Result<Self> {
        let (sent, began) = (clock(), Instant::now());
        let told = sqlx::query_scalar("SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8");
        let told = told.fetch_one(connection).await?;
        let sent = sent.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        Ok(Self { sent, took: began.elapsed(), told })
    }

    /// Seconds that the own clock is ahead, if the server looked at its own halfway between question and answer.
    pub(super) fn ahead(self) -> f64 {
        self.sent + self.took.as_secs_f64() / 2.0 - self.told
    }

    /// Whether the clocks differ by more than `tolerance` whenever the server looked.
    pub(super) fn is_beyond(self, tolerance: Duration) -> bool {
        self.ahead().abs() - self.took.as_secs_f64() / 2.0 > tolerance.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(2);

    fn reading(sent: f64, took: f64, told: f64) -> Reading {
        Reading { sent, took: Duration::from_secs_f64(took), told }
    }

    #[test]
    fn the_time_of_the_way_is_not_a_difference_of_clocks() {
        // Ten seconds on the way: the server may have looked at any moment of them.
        for told in [98.5, 100.0, 105.0, 110.0, 111.5] {
            assert!(!reading(100.0, 10.0, told).is_beyond(TOLERANCE), "{told}");
        }
        for told in [97.5, 112.5] {
            assert!(reading(100.0, 10.0, told).is_beyond(TOLERANCE), "{told}");
        }
    }

    #[test]
    fn a_clock_may_be_off_in_either_direction() {
        for (told, ahead, beyond) in
            [(100.0, 0.0, false), (98.5, 1.5, false), (97.0, 3.0, true), (864_100.0, -864_000.0, true)]
        {
            let reading = reading(100.0, 0.0, told);
            assert!(
                (reading.ahead() - ahead).abs() < 1e-6 && reading.is_beyond(TOLERANCE) == beyond,
                "{told}"
            );
        }
    }
}
