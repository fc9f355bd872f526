//! On a real Postgres.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use sqlx::AssertSqlSafe;
use tenantry_config::settings;
use uuid::Uuid;

use super::{
    attempts::{Attempt, Tally},
    forms::{Clash, give_form},
};
use crate::{
    auth::{SecretKey, sql},
    fixture::Fixture,
    instances::Home,
    postgres::{Group, Tuning},
    registry::TenantEntry,
};

/// A tenant that statements can be sent to.
async fn tenant(fixture: &Fixture) -> TenantEntry {
    let entry = fixture.tenant("acme", &[]).await;
    let database = Arc::new(fixture.database(Tuning::default()));
    TenantEntry { home: Arc::new(Home::with(database)), ..(*entry).clone() }
}

/// Stores an account past everything that would give its address a form.
async fn account(fixture: &Fixture, tenant: &TenantEntry, email: &str) -> Uuid {
    let id = Uuid::now_v7();
    let sql = format!(
        "INSERT INTO {}.core_user (id, email, created_by, updated_by) VALUES ($1, $2, 'sql', 'sql')",
        tenant.schema
    );
    sqlx::query(AssertSqlSafe(sql)).bind(id).bind(email).execute(&fixture.admin).await.unwrap();
    id
}

#[tokio::test]
async fn addresses_from_before_get_their_one_form_and_clashes_are_named() {
    let fixture = Fixture::new().await;
    let tenant = tenant(&fixture).await;
    let bob = account(&fixture, &tenant, "Bob@Acme.Example").await;
    let emile = account(&fixture, &tenant, "e\u{301}mile@acme.example").await;
    let ann = account(&fixture, &tenant, "ann@acme.example").await;
    let twin = account(&fixture, &tenant, "ANN@acme.example").await;
    let looked = give_form(&tenant, Uuid::nil()).await.unwrap();
    assert_eq!((looked.rewritten, looked.next), (2, None));
    assert_eq!(looked.clashes, [Clash { user: twin, holder: Some(ann) }]);
    let sql = format!("SELECT id, email, email_as_written FROM {}.core_user ORDER BY id", tenant.schema);
    let rows: Vec<(Uuid, String, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&fixture.admin).await.unwrap();
    let row = |id, email: &str, written: Option<&str>| (id, email.to_owned(), written.map(str::to_owned));
    assert_eq!(
        rows,
        [
            row(bob, "bob@acme.example", Some("Bob@Acme.Example")),
            row(emile, "émile@acme.example", Some("e\u{301}mile@acme.example")),
            row(ann, "ann@acme.example", None),
            row(twin, "ANN@acme.example", None),
        ]
    );
    // What has its form is left alone.
    assert_eq!(give_form(&tenant, Uuid::nil()).await.unwrap().rewritten, 0);
}

const ACCOUNT: &str = "rita@z.example";

fn key() -> SecretKey {
    let auth = settings::Auth {
        key: Some("a key of at least 32 bytes for attempts".to_owned().into()),
        ..Default::default()
    };
    SecretKey::new(&auth, &"unused".to_owned().into()).unwrap()
}

/// Whether an attempt on `account` from `address` is looked at.
async fn admits(tenant: &TenantEntry, account: &str, address: &str) -> bool {
    let attempt = Attempt::new(&key(), tenant.uid, account, Some(address.parse().unwrap()));
    let reply = sql::run(tenant, Group::write(vec![attempt.note(), attempt.blocked()])).await.unwrap();
    let mut tally = Tally::default();
    assert!(reply.rows.iter().all(|row| tally.takes(row)));
    tally.admit().is_ok()
}

/// What is counted, by its kind; and in which transaction each row was written.
async fn counted(fixture: &Fixture, tenant: &TenantEntry) -> BTreeMap<String, (i64, String)> {
    let sql = "SELECT split_part(id, ' ', 1), sum(failures), string_agg(xmin::text, ' ' ORDER BY id) \
         FROM tenantry.auth_attempt WHERE role = $1::text::name GROUP BY 1";
    let rows: Vec<(String, i64, String)> =
        sqlx::query_as(sql).bind(tenant.role.as_str()).fetch_all(&fixture.admin).await.unwrap();
    rows.into_iter().map(|(kind, failures, written)| (kind, (failures, written))).collect()
}

#[tokio::test]
async fn an_attempt_that_is_refused_writes_nothing_and_counts_for_nobody_else() {
    let fixture = Fixture::new().await;
    let tenant = tenant(&fixture).await;
    for n in 0..10 {
        assert!(admits(&tenant, ACCOUNT, "192.0.2.1").await, "{n}");
    }
    let before = counted(&fixture, &tenant).await;
    assert!(before.values().all(|(failures, _)| *failures == 10), "{before:?}");
    for _ in 0..100 {
        assert!(!admits(&tenant, ACCOUNT, "192.0.2.1").await);
    }
    assert_eq!(counted(&fixture, &tenant).await, before);
    assert!(admits(&tenant, ACCOUNT, "192.0.2.2").await && admits(&tenant, ACCOUNT, "203.0.113.1").await);
    // Nor does an address that may try nothing leave a row for each account that it names.
    for n in 0..90 {
        assert!(admits(&tenant, &format!("{n}@z.example"), "192.0.2.1").await, "{n}");
    }
    let before = counted(&fixture, &tenant).await;
    for n in 100..150 {
        assert!(!admits(&tenant, &format!("{n}@z.example"), "192.0.2.1").await);
    }
    assert_eq!(counted(&fixture, &tenant).await, before);
}

#[tokio::test]
async fn no_address_and_no_network_locks_an_account_for_others() {
    let fixture = Fixture::new().await;
    let tenant = tenant(&fixture).await;
    // All at one moment, each before it can know of the others.
    let address = |n: usize| format!("192.0.2.{}", 1 + n % 250);
    for _ in 0..3 {
        join_all((0..100).map(async |n| admits(&tenant, ACCOUNT, &address(n)).await)).await;
        join_all((0..100).map(async |_| admits(&tenant, ACCOUNT, "192.0.2.1").await)).await;
    }
    let kinds = counted(&fixture, &tenant).await;
    assert_eq!((kinds["near"].0, kinds["account"].0), (30, 10), "{kinds:?}");
    assert!(admits(&tenant, ACCOUNT, "203.0.113.1").await);
    // Of IPv6 a client has more addresses than can be counted.
    let account = "rosa@z.example";
    for from in [0, 100] {
        let address = |n: usize| format!("2001:db8:0:{}::1", from + n);
        join_all((0..100).map(async |n| admits(&tenant, account, &address(n)).await)).await;
    }
    assert!(!admits(&tenant, account, "2001:db8:0:ffff::1").await);
    assert!(admits(&tenant, account, "2001:db8:1::1").await);
    // From many networks it can be, since nobody else stands between them and the password.
    for n in 0..100 {
        admits(&tenant, account, &format!("198.51.{n}.1")).await;
    }
    assert!(!admits(&tenant, account, "203.0.113.1").await);
}

#[test]
fn a_tenant_has_a_bounded_number_of_rows_whoever_tries_whatever() {
    let tenant = Uuid::from_u128(7);
    let attempt = |account: &str| Attempt::new(&key(), tenant, account, Some("192.0.2.1".parse().unwrap()));
    for n in 0..100 {
        for id in attempt(&format!("{n}@z.example")).all() {
            let (_, bucket) = id.split_once(' ').unwrap();
            assert!(bucket.len() == 4 && u16::from_str_radix(bucket, 16).is_ok(), "{id}");
        }
    }
    assert_ne!(attempt("a@z.example").all(), attempt("b@z.example").all());
}
