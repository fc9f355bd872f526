//! What a replica knows of one bucket. Times are nanoseconds since some moment.

use std::sync::Arc;

use tokio::sync::Notify;

use super::limit::Limit;

/// How long tokens that were taken from Redis stay after the last use: an idle replica must not save them up for a later burst.
const CREDIT_NANOS: u64 = 2_000_000_000;

/// What a replica knows of one bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Tokens from Redis.
    credit: u32,
    credit_until: u64,
    /// Redis was asked and has not answered.
    asked: bool,
    /// Requests that wait for that answer.
    waiting: u32,
    answered: Option<Arc<Notify>>,
    /// Redis had none left; the next one comes then.
    empty_until: u64,
    /// When the bucket would be full again if this replica were alone.
    full_at: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Take {
    /// It may go on. Ask Redis for more when `ask` is set.
    Go { ask: bool },
    /// Wait until Redis has answered, then try again. Ask it when `ask` is set.
    Wait { ask: bool, answered: Arc<Notify> },
    /// Not before so many nanoseconds.
    Refused { nanos: u64 },
}

impl Bucket {
    /// Takes a token that Redis granted.
    pub fn take(&mut self, limit: Limit, now: u64) -> Take {
        if self.credit > 0 && now < self.credit_until {
            self.credit -= 1;
            // Else a caller who asks now and then would wait for Redis every two seconds.
            self.credit_until = now + CREDIT_NANOS;
            self.count(limit, now);
            // Before the last one is gone, so that nobody has to wait; of single tokens there is no half.
            let ask = !self.asked
                && limit.chunk() > 1
                && self.credit <= limit.chunk() / 2
                && now >= self.empty_until;
            self.asked |= ask;
            return Take::Go { ask };
        }
        self.credit = 0;
        if now < self.empty_until {
            return Take::Refused { nanos: self.empty_until - now };
        }
        self.waiting += 1;
        let ask = !self.asked;
        self.asked = true;
        Take::Wait { ask, answered: Arc::clone(self.answered.get_or_insert_default()) }
    }

    /// Takes a token as if this replica were alone.
    pub fn take_alone(&mut self, limit: Limit, now: u64) -> Take {
        let reach = limit.interval() * u64::from(limit.burst());
        match (self.full_at.max(now) + limit.interval()).checked_sub(now + reach) {
            None | Some(0) => {
                self.count(limit, now);
                Take::Go { ask: false }
            }
            Some(nanos) => Take::Refused { nanos },
        }
    }

    /// How many tokens to ask for.
    pub fn wants(&mut self, limit: Limit) -> u32 {
        limit.chunk().max(std::mem::take(&mut self.waiting)).min(limit.burst())
    }

    /// Redis granted so many; when it granted none, the next one comes after `nanos`.
    pub fn granted(&mut self, tokens: u32, nanos: u64, now: u64) {
        if tokens == 0 {
            self.empty_until = now + nanos;
        } else {
            self.credit += tokens;
            self.credit_until = now + CREDIT_NANOS;
        }
        self.wake();
    }

    /// Whoever waits for an answer looks again.
    pub fn wake(&mut self) {
        self.asked = false;
        self.waiting = 0;
        if let Some(answered) = self.answered.take() {
            answered.notify_waiters();
        }
    }

    fn count(&mut self, limit: Limit, now: u64) {
        self.full_at = self.full_at.max(now) + limit.interval();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LIMIT: Limit = Limit { per_minute: 60 };

    fn goes(take: &Take) -> bool {
        matches!(take, Take::Go { .. })
    }

    #[test]
    fn alone_a_burst_is_served_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let served = (0..100).filter(|_| goes(&bucket.take_alone(LIMIT, 5 * SECOND))).count();
        assert_eq!(served, 10);
        match bucket.take_alone(LIMIT, 5 * SECOND) {
            Take::Refused { nanos } => assert_eq!(nanos, SECOND),
            other => panic!("{other:?}"),
        }
        assert!(goes(&bucket.take_alone(LIMIT, 6 * SECOND)));
        assert!(!goes(&bucket.take_alone(LIMIT, 6 * SECOND)));
        let later = (0..100).filter(|_| goes(&bucket.take_alone(LIMIT, 600 * SECOND))).count();
        assert_eq!(later, 10, "a pause saves up no more than a burst");
    }

    #[test]
    fn tokens_of_redis_are_used_up_and_one_asks_for_more() {
        let mut bucket = Bucket::default();
        let limit = Limit { per_minute: 24_000 };
        let Take::Wait { ask: true, .. } = bucket.take(limit, 0) else { panic!("asks first") };
        let Take::Wait { ask: false, .. } = bucket.take(limit, 0) else { panic!("one asks") };
        assert_eq!(bucket.wants(limit), 200);
        bucket.granted(200, 0, 0);
        let mut asked = 0;
        for _ in 0..200 {
            match bucket.take(limit, 0) {
                Take::Go { ask } => asked += u32::from(ask),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(asked, 1, "half way through");
        assert!(matches!(bucket.take(limit, 0), Take::Wait { ask: false, .. }), "the answer is on its way");
    }

    #[test]
    fn an_empty_bucket_refuses_without_asking_until_the_next_token() {
        let mut bucket = Bucket::default();
        bucket.take(LIMIT, 0);
        bucket.granted(0, SECOND, 0);
        assert!(matches!(bucket.take(LIMIT, SECOND / 2), Take::Refused { nanos } if nanos == SECOND / 2));
        assert!(matches!(bucket.take(LIMIT, SECOND), Take::Wait { ask: true, .. }));
    }

    #[test]
    fn a_caller_who_comes_now_and_then_does_not_wait_for_redis_again() {
        let mut bucket = Bucket::default();
        let limit = Limit { per_minute: 24_000 };
        bucket.take(limit, 0);
        bucket.granted(200, 0, 0);
        for second in 1..=90 {
            assert!(matches!(bucket.take(limit, second * SECOND), Take::Go { ask: false }), "at {second}");
        }
    }

    #[test]
    fn tokens_are_not_saved_up() {
        let mut bucket = Bucket::default();
        bucket.take(LIMIT, 0);
        bucket.granted(5, 0, 0);
        assert!(goes(&bucket.take(LIMIT, 0)));
        assert!(matches!(bucket.take(LIMIT, 3 * SECOND), Take::Wait { ask: true, .. }));
    }
}
