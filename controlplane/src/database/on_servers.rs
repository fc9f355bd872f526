//! Against a real server, behind a wire that can be cut without a word.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::PgConnection;
use tenantry_rig::proxy::{Mode, Wire};

use super::{Login, Patience, Watch};
use crate::fixture::Fixture;

/// A wire to the server of `fixture`, and the way in through it.
pub async fn wired(fixture: &Fixture) -> (Wire, Login) {
    let mut url = reqwest::Url::parse(&fixture.url).unwrap();
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let wire = Wire::to(tokio::net::lookup_host(host).await.unwrap().next().unwrap()).unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(wire.address().port())).unwrap();
    (wire, Login::of_url(url.as_str()))
}

async fn pid(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await
}

async fn slow_pid(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("SELECT pg_backend_pid() FROM pg_sleep(1)").fetch_one(connection).await
}

#[tokio::test]
async fn what_a_dropped_connection_does_not_answer_another_one_does() {
    let fixture = Fixture::new().await;
    let (wire, login) = wired(&fixture).await;
    let mut watch = Watch::begin(&login).await.unwrap();
    let first = watch.ask(Patience::LOOK, |c| pid(c).boxed()).await.unwrap();
    assert_eq!(watch.ask(Patience::LOOK, |c| pid(c).boxed()).await.unwrap(), first);
    wire.set(Mode::Abandon);
    let began = Instant::now();
    let second = watch.ask(Patience::LOOK, |c| pid(c).boxed()).await.unwrap();
    assert!(second != first && began.elapsed() < Patience::LOOK.limit, "{:?}", began.elapsed());
    assert!(watch.was_renewed() && !watch.was_renewed());
    assert_eq!(watch.ask(Patience::LOOK, |c| pid(c).boxed()).await.unwrap(), second);
}

#[tokio::test]
async fn a_server_that_takes_its_time_keeps_its_connection() {
    let fixture = Fixture::new().await;
    let (_wire, login) = wired(&fixture).await;
    let mut watch = Watch::begin(&login).await.unwrap();
    let first = watch.ask(Patience::LOOK, |c| pid(c).boxed()).await.unwrap();
    assert_eq!(watch.ask(Patience::LOOK, |c| slow_pid(c).boxed()).await.unwrap(), first);
    assert!(!watch.was_renewed());
}

#[tokio::test]
async fn without_any_answer_the_server_is_gone() {
    let fixture = Fixture::new().await;
    let (wire, login) = wired(&fixture).await;
    let mut watch = Watch::begin(&login).await.unwrap();
    wire.set(Mode::Hang);
    let patience = Patience { doubt: Duration::from_millis(100), limit: Duration::from_millis(500) };
    let began = Instant::now();
    let lost = watch.ask(patience, |c| pid(c).boxed()).await.unwrap_err();
    assert!(matches!(lost, super::Lost::TooSlow(_)) && began.elapsed() >= patience.limit, "{lost}");
}
