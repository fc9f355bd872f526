//! Against a real server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{body::Body, http::Request};
use prometheus::{GaugeVec, Opts};
use tenantry_config::probes::{self, Readiness};
use tenantry_crds::names::InstanceName;
use tenantry_rig::eventually;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{CLOCK_PART, Clock, Follower, Health, Registry};
use crate::{
    database::Login,
    fixture::Fixture,
    instances::{Cell, Homes},
    postgres::Tuning,
};

type Now = fn() -> SystemTime;

const TEN_DAYS: Duration = Duration::from_secs(864_000);

async fn readyz(readiness: &Readiness) -> String {
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let answer = probes::health(readiness.clone()).oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_replica_whose_clock_is_off_is_not_ready_and_says_so() {
    let fixture = Fixture::new().await;
    let cell = Cell {
        name: InstanceName::default(),
        login: Login::of_url(&fixture.url),
        pool: fixture.admin.clone(),
        database: Arc::new(fixture.database(Tuning::default())),
        changes: Arc::default(),
    };
    let clocks: [(Now, &str); 3] = [
        (SystemTime::now, "clock: ok"),
        (|| SystemTime::now() + TEN_DAYS, "clock: 86"),
        (|| SystemTime::now() - TEN_DAYS, "clock: -86"),
    ];
    for (clock, said) in clocks {
        let readiness = Readiness::of(&[CLOCK_PART]);
        let ahead = GaugeVec::new(Opts::new("ahead", "of Postgres"), &["instance"]).unwrap();
        let health = Health::new(readiness.clone(), None, [cell.name.clone()])
            .with_clock(Clock { tolerance: Duration::from_secs(2), ahead: ahead.clone() });
        let registry = Registry::new([cell.name.clone()]);
        let shutdown = CancellationToken::new();
        let follower = Follower::new(registry, &cell, Homes::default(), health).with_clock(clock);
        let following = tokio::spawn(follower.run(shutdown.clone()));
        eventually("the clock is judged", Duration::from_secs(20), || async {
            let told = readyz(&readiness).await;
            if told.contains("not started") { Err(told) } else { Ok(()) }
        })
        .await
        .unwrap();
        let told = readyz(&readiness).await;
        assert!(told.starts_with(said), "{told}");
        let measured = ahead.with_label_values(&[cell.name.as_str()]).get();
        assert!((measured.abs() > 800_000.0) == (said != "clock: ok"), "{measured}");
        shutdown.cancel();
        following.await.unwrap();
    }
}
