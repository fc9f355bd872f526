use std::time::{Duration, Instant};

use serde_json::json;
use tenantry_e2e::world::{Answer, unique};

use super::place::{PASSWORD, Place};

#[tokio::test]
async fn after_ten_wrong_passwords_the_right_one_has_to_wait_too() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    for _ in 0..10 {
        place.try_sign_in(&person.email, "wrong").await.refused(401, "invalid_credentials");
    }
    let locked = place.try_sign_in(&person.email, PASSWORD).await;
    locked.refused(429, "too_many_attempts");
    let wait: u64 = locked.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=15).contains(&wait), "{wait}");
    // Other users are not concerned, and a right password clears what came before.
    let other = place.person(&[]).await;
    for _ in 0..9 {
        place.try_sign_in(&other.email, "wrong").await.refused(401, "invalid_credentials");
    }
    place.sign_in(&other).await;
    place.try_sign_in(&other.email, "wrong").await.refused(401, "invalid_credentials");
    place.sign_in(&other).await;
}

#[tokio::test]
async fn attempts_at_the_same_moment_are_all_counted() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let attempts = (0..40).map(|_| place.try_sign_in(&person.email, "wrong"));
    let answers = futures::future::join_all(attempts).await;
    let checked = answers.iter().filter(|answer| answer.status == 401).count();
    assert!(checked <= 10, "{checked} passwords were looked at");
}

#[tokio::test]
async fn an_account_that_does_not_exist_looks_like_one_that_does() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let nobody = format!("{}@acme.example", unique("nobody."));
    let known = place.try_sign_in(&person.email, "wrong").await;
    let unknown = place.try_sign_in(&nobody, "wrong").await;
    let without = |answer: &Answer| (answer.status, answer.body.clone());
    assert_eq!(without(&known), without(&unknown));
    for email in [&person.email, &nobody] {
        let recover = place.call("/api/v1/auth/recover", json!({"email": email})).await;
        assert_eq!((recover.status, recover.body), (202, json!("")));
    }
    // The lock says nothing either.
    for _ in 0..9 {
        place.try_sign_in(&nobody, "wrong").await.refused(401, "invalid_credentials");
    }
    place.try_sign_in(&nobody, "wrong").await.refused(429, "too_many_attempts");
    // Nor does time: the same work is done. Far from exact here, but without it the difference is the whole hash.
    let other = place.person_with(&[], None).await;
    let start = Instant::now();
    place.try_sign_in(&other.email, "wrong").await.refused(401, "invalid_credentials");
    assert!(start.elapsed() < Duration::from_secs(5));
}
