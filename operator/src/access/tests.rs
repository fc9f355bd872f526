use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use secrecy::SecretString;
use serde_json::json;
use tenantry_crds::v1alpha1::{AccessBackend, AccessSpec};

use super::{
    desired::{Credential, credentials},
    plan::{Held, Password, password, previous_ends, quiet},
    secret::{self, Account, Address, Contents, Database},
};
use crate::backend::postgres::access::{AccessRecord, Issued};

const EVERY: i64 = 3600;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn spec(backends: serde_json::Value) -> AccessSpec {
    serde_json::from_value(json!({
        "name": "reporting", "level": "Read", "secretRef": {"name": "acme", "namespace": "default"},
        "backends": backends, "rotation": {"everySeconds": EVERY, "overlapSeconds": 60},
    }))
    .unwrap()
}

fn wanted() -> Credential {
    credentials(&[spec(json!(["Postgres"]))]).unwrap().remove(0)
}

/// Made at second 0.
fn row(serial: i64, state: Issued) -> AccessRecord {
    let wanted = wanted();
    AccessRecord {
        access: wanted.key.access.to_string(),
        backend: AccessBackend::Postgres,
        level: wanted.level,
        secret_namespace: Some(wanted.secret.namespace),
        secret_name: Some(wanted.secret.name),
        serial,
        digest: String::new(),
        state,
        handled_rotate: Some("1".into()),
        rotated_at: at(0),
        previous_until: None,
    }
}

fn made(serial: i64, state: Issued, rotate: &str) -> Password {
    Password::Make { serial, state, handled_rotate: Some(rotate.into()) }
}

#[test]
fn each_backend_has_a_secret_of_its_own_and_no_two_share_one() {
    let all = credentials(&[spec(json!(["Search", "Postgres", "Redis"]))]).unwrap();
    let names: Vec<_> = all.iter().map(|one| one.secret.to_string()).collect();
    assert_eq!(names, ["default/acme", "default/acme-redis", "default/acme-search"]);
    let mut other = spec(json!(["Postgres"]));
    other.name = "other".into();
    other.secret_ref.name = "acme-redis".into();
    let error = credentials(&[spec(json!(["Redis"])), other]).unwrap_err();
    assert_eq!(error.reason().as_str(), "SecretConflict");
}

#[test]
fn what_is_in_place_stays() {
    let row = row(3, Issued::Applied);
    assert_eq!(password(&wanted(), Some(&row), Held::Expected, Some("1"), &at(EVERY - 1)), Password::Keep);
    assert_eq!(password(&wanted(), Some(&row), Held::Expected, None, &at(0)), Password::Keep);
    assert_eq!(quiet(&wanted(), &row, &at(600)), Some(Duration::from_secs(3000)));
}

#[test]
fn the_first_password_takes_the_annotation_as_handled() {
    let first = password(&wanted(), None, Held::Nothing, Some("7"), &at(0));
    assert_eq!(first, made(1, Issued::New, "7"));
}

#[test]
fn a_rotation_comes_when_it_is_due_or_asked_for() {
    let row = row(3, Issued::Applied);
    let next = |rotate, now| password(&wanted(), Some(&row), Held::Expected, rotate, &at(now));
    assert_eq!(next(None, EVERY), made(4, Issued::New, "1"));
    assert_eq!(next(Some("2"), 5), made(4, Issued::New, "2"));
    let by_hand = Credential { every: None, ..wanted() };
    assert_eq!(password(&by_hand, Some(&row), Held::Expected, None, &at(EVERY * 99)), Password::Keep);
    assert_eq!(quiet(&by_hand, &row, &at(0)), None);
}

#[test]
fn no_rotation_begins_while_the_one_before_overlaps() {
    let row = AccessRecord { previous_until: Some(at(EVERY + 60)), ..row(3, Issued::Applied) };
    assert_eq!(password(&wanted(), Some(&row), Held::Expected, Some("2"), &at(EVERY)), Password::Keep);
    assert!(!previous_ends(&wanted(), &row, &at(EVERY + 59)));
    assert!(previous_ends(&wanted(), &row, &at(EVERY + 60)));
    assert_eq!(quiet(&wanted(), &row, &at(EVERY)), Some(Duration::from_secs(60)));
}

#[test]
fn a_password_that_a_crash_lost_is_made_again_for_the_same_login() {
    let next = |state, held| password(&wanted(), Some(&row(4, state)), held, Some("1"), &at(EVERY * 9));
    assert_eq!(next(Issued::New, Held::Nothing), made(4, Issued::New, "1"));
    assert_eq!(next(Issued::New, Held::Expected), Password::Keep, "it reached the Secret");
    assert_eq!(next(Issued::Renewed, Held::Nothing), made(4, Issued::Renewed, "1"));
    let lost = password(&wanted(), Some(&row(4, Issued::Applied)), Held::Nothing, None, &at(1));
    assert_eq!(lost, made(4, Issued::Renewed, "1"), "the Secret is gone or edited");
}

#[test]
fn a_lower_level_ends_old_users_and_keys_at_once_but_not_logins() {
    let mut lower = wanted();
    let row = AccessRecord {
        previous_until: Some(at(60)),
        level: tenantry_crds::v1alpha1::AccessLevel::Write,
        ..row(3, Issued::Applied)
    };
    assert!(!previous_ends(&lower, &row, &at(0)));
    lower.key.backend = AccessBackend::Redis;
    assert!(previous_ends(&lower, &row, &at(0)));
}

fn account(previous: Option<&str>) -> Account {
    Account {
        username: "access_a".into(),
        password: SecretString::from("p@:w"),
        serial: 2,
        previous: previous.map(str::to_owned),
    }
}

fn contents(previous: Option<&str>) -> Contents {
    let address = Address { host: "fd00::1".into(), port: 5432 };
    let database = Database { name: "the db", schema: "tenant_acme", role: "access", ssl_mode: "require" };
    secret::postgres(&address, &account(previous), &database)
}

#[test]
fn a_secret_escapes_what_its_formats_need() {
    let contents = contents(None);
    let value = |key: &str| contents.values().find(|(name, _)| *name == key).map(|(_, value)| value);
    assert_eq!(value("uri"), Some("postgresql://access_a:p%40%3Aw@[fd00::1]:5432/the%20db?sslmode=require"));
    assert_eq!(value("pgpass"), Some(r"fd00\:\:1:5432:the db:access_a:p@\:w"));
    assert!(!format!("{contents:?}").contains("p@:w"));
}

#[test]
fn keys_of_others_are_left_and_a_previous_user_that_is_gone_is_not() {
    let found = |contents: &Contents| {
        let values = contents.values().map(|(key, value)| (key.to_owned(), SecretString::from(value)));
        values.chain([("theirs".to_owned(), SecretString::from("x"))]).collect()
    };
    assert!(contents(None).are_in(&found(&contents(None))));
    assert!(!contents(None).are_in(&found(&contents(Some("access_b")))));
    assert!(!contents(Some("access_b")).are_in(&found(&contents(None))));
}

#[test]
fn an_address_that_others_use_stands_for_ours() {
    let own = || Address { host: "pg".into(), port: 5432 };
    let settings = ["redis:6379=r.example.com:1".to_owned(), "pg:5432=db.example.com:6432".to_owned()];
    assert_eq!(own().public(&settings).unwrap(), Address { host: "db.example.com".into(), port: 6432 });
    assert_eq!(own().public(&settings[..1]).unwrap(), own());
    assert!(own().public(&["pg:5432=elsewhere".to_owned()]).is_err());
}
