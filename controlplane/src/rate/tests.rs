use tenantry_config::settings;
use uuid::Uuid;

use super::{
    Rates,
    limit::{Limit, Subject},
};

#[tokio::test]
async fn without_redis_each_replica_counts_for_itself() {
    let redis = settings::Redis { url: "redis://127.0.0.1:1".to_owned().into() };
    let rates = Rates::new(&settings::Limits::default(), &redis).unwrap();
    let subject = Subject::Tenant(Uuid::new_v4());
    let limit = Limit { per_minute: 60 };
    let mut served = 0;
    for _ in 0..50 {
        served += usize::from(rates.check(subject, limit).await.is_ok());
    }
    assert!((10..=12).contains(&served), "{served}");
}
