//! When an object gets its next pass.

use std::time::Duration;

use super::verdict::Next;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// What only a person can fix is looked at this often, should the change that fixes it wake nobody.
const BLOCKED: Duration = Duration::from_secs(60);
/// Two writers met; the cache has the other's write by then.
const CONFLICT: Duration = Duration::from_millis(200);
/// A conflict that comes again and again is no race any more.
const CONFLICTS_AT_ONCE: u32 = 5;

/// The delay before the next pass, after `failures` in a row. `random` is uniform in `0.0..1.0`: without it, all tenants that
/// a backend failed would come back to it in step.
pub(super) fn delay(next: Next, failures: u32, resync: Duration, random: f64) -> Duration {
    match next {
        Next::Resync => resync.mul_f64(random.mul_add(0.4, 0.8)),
        Next::After(after) => after.mul_f64(random.mul_add(0.2, 1.0)),
        Next::By(time) => delay(Next::Resync, failures, resync, random).min(delay(
            Next::After(time),
            failures,
            resync,
            random,
        )),
        Next::Blocked => BLOCKED.mul_f64(random.mul_add(0.4, 0.8)),
        Next::Conflict if failures <= CONFLICTS_AT_ONCE => CONFLICT.mul_f64(random.mul_add(0.5, 0.5)),
        Next::Retry | Next::Conflict => {
            let doublings = failures.saturating_sub(1).min(30);
            let longest = FIRST.saturating_mul(1 << doublings).min(LONGEST);
            longest.mul_f64(random.mul_add(0.5, 0.5))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESYNC: Duration = Duration::from_secs(3600);

    #[test]
    fn retries_double_up_to_a_limit_and_are_spread() {
        let longest = |failures| delay(Next::Retry, failures, RESYNC, 1.0);
        assert_eq!(longest(1), Duration::from_secs(1));
        assert_eq!(longest(4), Duration::from_secs(8));
        assert_eq!(longest(1000), LONGEST);
        assert_eq!(delay(Next::Retry, 1, RESYNC, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn a_conflict_is_tried_again_at_once_but_not_for_ever() {
        assert!(delay(Next::Conflict, 1, RESYNC, 1.0) < Duration::from_secs(1));
        assert!(delay(Next::Conflict, 12, RESYNC, 1.0) >= Duration::from_secs(60));
    }

    #[test]
    fn what_time_changes_is_seen_to_in_time_and_no_resync_is_left_out() {
        let soon = Duration::from_secs(10);
        assert!((soon..=soon * 2).contains(&delay(Next::By(soon), 0, RESYNC, 0.5)));
        assert_eq!(delay(Next::By(RESYNC * 100), 0, RESYNC, 0.5), RESYNC);
    }

    #[test]
    fn resyncs_are_spread_by_a_fifth() {
        assert_eq!(delay(Next::Resync, 0, RESYNC, 0.0), Duration::from_secs(2880));
        assert_eq!(delay(Next::Resync, 0, RESYNC, 0.5), RESYNC);
    }
}
