//! Against a real Redis.

use std::sync::Arc;

use tenantry_config::settings;
use tenantry_rig::Stack;
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
