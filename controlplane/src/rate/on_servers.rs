//! Against a real Redis.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tenantry_config::settings;
use tenantry_rig::{Stack, eventually};
use uuid::Uuid;

use super::{
    Rates,
    limit::{Limit, Subject},
};
use crate::error::Code;

async fn replicas() -> [Arc<Rates>; 2] {
    let stack = Stack::shared().await.unwrap();
    let redis = settings::Redis { url: stack.endpoints().redis_url.clone().into() };
    std::array::from_fn(|_| Arc::new(Rates::new(&settings::Limits::default(), &redis).unwrap()))
}

#[tokio::test]
async fn a_burst_over_two_replicas_never_exceeds_the_limit() {
    let replicas = replicas().await;
    let tenant = Uuid::new_v4();
    let limit = Limit { per_minute: 600 };
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let rates = Arc::clone(&replicas[n % 2]);
            tokio::spawn(async move { rates.check(Subject::Tenant(tenant), limit).await })
        })
        .collect();
    let mut served = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => served += 1,
            Err(error) => assert_eq!(error.code(), Code::RateLimited),
        }
    }
    // 100 at once, and what came back while the test ran: ten a second.
    assert!((95..=140).contains(&served), "{served} were served");
    let other = replicas[0].check(Subject::Tenant(Uuid::new_v4()), limit).await;
    assert!(other.is_ok(), "another tenant has a bucket of its own");
}

#[tokio::test]
async fn a_clock_that_was_set_back_empties_a_bucket_and_no_more() {
    let stack = Stack::shared().await.unwrap();
    let redis = redis::Client::open(stack.endpoints().redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let [rates, _] = replicas().await;
    let (subject, limit) = (Subject::Tenant(Uuid::new_v4()), Limit { per_minute: 600 });
    // As an hour's burst of before would have left it, by the clock of before.
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let (key, hour) = (subject.key(), hour.as_micros().to_string());
    let mut set = redis::cmd("SET");
    set.arg(key.as_str()).arg(hour).arg("PX").arg(3_600_000);
    let () = set.query_async(&mut redis).await.unwrap();
    assert_eq!(rates.check(subject, limit).await.unwrap_err().code(), Code::RateLimited);
    eventually("the bucket fills", Duration::from_secs(10), || rates.check(subject, limit)).await.unwrap();
    let left: i64 = redis::cmd("PTTL").arg(subject.key().as_str()).query_async(&mut redis).await.unwrap();
    assert!(left < 60_000, "kept for {left} ms");
}

#[tokio::test]
async fn subjects_have_buckets_of_their_own() {
    let [rates, _] = replicas().await;
    let tenant = Uuid::new_v4();
    let limit = Limit { per_minute: 1 };
    let address = "192.0.2.1".parse().unwrap();
    for subject in [
        Subject::User(tenant, "ann"),
        Subject::User(tenant, "bob"),
        Subject::UserRoute(tenant, "ann", "/a"),
        Subject::UserRoute(tenant, "ann", "/b"),
        Subject::AddressRoute(address, &tenant.to_string()),
    ] {
        assert!(rates.check(subject, limit).await.is_ok(), "{subject:?}");
        assert_eq!(rates.check(subject, limit).await.unwrap_err().code(), Code::RateLimited, "{subject:?}");
    }
}
