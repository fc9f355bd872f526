//! When a job that failed is tried again.

use std::time::Duration;

const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(3600);

/// The wait before the attempt after `attempt`, with `jitter` between 0 and 1: exponential, and spread over the whole of the
/// wait so that jobs which failed together do not come back together.
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let ceiling = BASE.saturating_mul(1 << doublings).min(CAP);
    // Never at once: what just failed needs a moment.
    ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(BASE / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_is_never_nothing() {
        assert_eq!(backoff(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff(2, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(5, 0.5), Duration::from_secs(8));
        assert_eq!(backoff(u32::MAX, 1.0), CAP);
        assert_eq!(backoff(9, 0.0), BASE / 10);
    }
}
