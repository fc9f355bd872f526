//! Against a real server.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tenantry_crds::names::{InstanceName, TrafficLogin};

use super::{
    SealKey, SealMetrics, Sealer,
    chain::{Checked, Finding},
    seal::{Lost, Term},
    verify::check,
};
use crate::{
    database::Login,
    duty::{self, Duty, Lease},
    fixture::Fixture,
    registry::TenantEntry,
};

struct Test {
    fixture: Fixture,
    acme: Arc<TenantEntry>,
    globex: Arc<TenantEntry>,
    sealer: Sealer,
}

impl Test {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let (acme, globex) = (fixture.tenant("acme", &[]).await, fixture.tenant("globex", &[]).await);
        let sealer = Sealer {
            cell: InstanceName::default(),
            duty: Duty::new(duty::Name::Seal, &Login::of_url(&fixture.url)),
            login: Login::of_url(&fixture.url),
            key: SealKey::derive(&"a secret".into()),
            pause: Duration::ZERO,
            metrics: SealMetrics::register(&prometheus::Registry::new()).unwrap(),
        };
        Self { fixture, acme, globex, sealer }
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.fixture.admin).await.unwrap();
    }

    /// Rows of a tenant, written under its role as a request's are; their ids.
    async fn write(&self, tenant: &TenantEntry, count: usize) -> Vec<i64> {
        let mut connection = self.fixture.admin.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let role = format!("SET LOCAL ROLE \"{}\"", tenant.role.as_str());
        sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut *transaction).await.unwrap();
        let ids = insert(&mut transaction, count).await;
        transaction.commit().await.unwrap();
        ids
    }

    async fn seal(&self) {
        let mut term = self.term().await;
        // Other tests of this server hold no lock in this database, so a few rounds are enough.
        for _ in 0..20 {
            while term.step().await.unwrap() {}
        }
    }

    async fn term(&self) -> Term<'_> {
        let connection = PgConnection::connect(&self.fixture.url).await.unwrap();
        Term::begin(&self.sealer, connection, Lease::endless(0)).await.unwrap()
    }

    async fn check(&self, tenant: &TenantEntry) -> Checked {
        let pool = PgPoolOptions::new().max_connections(1).connect(&self.fixture.url).await.unwrap();
        check(&pool, tenant.role.as_str(), &self.sealer.key).await.unwrap()
    }

    async fn findings(&self, tenant: &TenantEntry) -> Vec<Finding> {
        self.check(tenant).await.findings
    }
}

async fn insert(connection: &mut PgConnection, count: usize) -> Vec<i64> {
    sqlx::query_scalar(
        "WITH new AS (INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, changes) \
         SELECT 'ann', 'Create', 'crm', 'customer', n::text, 1, 'r', '{\"name\":  \"Ann\"}' FROM generate_series(1, $1) AS n \
         RETURNING id) SELECT id FROM new ORDER BY id",
    )
    .bind(i64::try_from(count).unwrap())
    .fetch_all(connection)
    .await
    .unwrap_or_default()
}

#[tokio::test]
async fn what_tenants_write_is_sealed_and_a_change_of_any_kind_is_found_and_named() {
    let test = Test::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(test.write(&test.acme, 2).await);
        test.write(&test.globex, 3).await;
        test.seal().await;
    }
    let (acme, globex) = (test.check(&test.acme).await, test.check(&test.globex).await);
    assert_eq!((acme.found, acme.last.rows, acme.last.seal), (0, 6, 3));
    assert_eq!((globex.found, globex.last.rows, globex.last.seal), (0, 9, 3));

    let role = test.acme.role.as_str();
    // As somebody would who owns the database, each undone before the next.
    let tampered = [
        (
            format!("UPDATE tenantry.audit SET actor = 'eve' WHERE id = {}", ids[1]),
            Finding::Changed { id: ids[1] },
        ),
        (
            format!("UPDATE tenantry.audit SET changes = '{{\"name\": \"Ann\"}}' WHERE id = {}", ids[2]),
            Finding::Changed { id: ids[2] },
        ),
        (
            format!(
                "UPDATE tenantry.audit SET occurred_at = occurred_at - interval '1 microsecond' WHERE id = {}",
                ids[5]
            ),
            Finding::Changed { id: ids[5] },
        ),
        (format!("DELETE FROM tenantry.audit WHERE id = {}", ids[0]), Finding::Removed { id: ids[0] }),
        (
            format!("DELETE FROM tenantry.audit_seal WHERE role = '{role}' AND seal = 3"),
            Finding::SealsMissing { first: 3, last: 3 },
        ),
        (format!("DELETE FROM tenantry.audit_head WHERE role = '{role}'"), Finding::HeadMissing),
        (format!("UPDATE tenantry.audit_head SET rows = rows + 1 WHERE role = '{role}'"), Finding::HeadWrong),
    ];
    for (sql, expected) in tampered {
        test.run("CREATE TABLE kept_rows AS SELECT * FROM tenantry.audit; CREATE TABLE kept_seals AS SELECT * FROM \
                  tenantry.audit_seal; CREATE TABLE kept_heads AS SELECT * FROM tenantry.audit_head")
            .await;
        test.run(&sql).await;
        let found = test.findings(&test.acme).await;
        assert!(found.contains(&expected), "{sql}: {found:?}");
        assert_eq!(test.findings(&test.globex).await, [], "{sql}");
        test.run("TRUNCATE tenantry.audit, tenantry.audit_seal, tenantry.audit_head; INSERT INTO tenantry.audit SELECT * FROM \
                  kept_rows; INSERT INTO tenantry.audit_seal SELECT * FROM kept_seals; INSERT INTO tenantry.audit_head \
                  SELECT * FROM kept_heads; DROP TABLE kept_rows, kept_seals, kept_heads")
            .await;
        assert_eq!(test.findings(&test.acme).await, [], "after {sql} was undone");
    }
    let smuggled = format!(
        "INSERT INTO tenantry.audit (id, role, actor, action, app, doc_type, doc_id, doc_version, request_id) \
         SELECT {}, '{role}', 'eve', 'Create', 'crm', 'customer', '9', 1, ''",
        ids[1] + 1
    );
    test.run(&smuggled).await;
    assert_eq!(test.findings(&test.acme).await, [Finding::Inserted { id: ids[1] + 1 }]);
}

#[tokio::test]
async fn a_row_is_not_sealed_while_an_older_one_may_still_come() {
    let test = Test::new().await;
    let mut slow = PgConnection::connect(&test.fixture.url).await.unwrap();
    let mut transaction = slow.begin().await.unwrap();
    let role = format!("SET LOCAL ROLE \"{}\"", test.acme.role.as_str());
    sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut *transaction).await.unwrap();
    let early = insert(&mut transaction, 1).await;
    let late = test.write(&test.acme, 1).await;
    assert!(early[0] < late[0]);
    let mut term = test.term().await;
    for _ in 0..5 {
        assert!(!term.step().await.unwrap());
    }
    assert_eq!(test.check(&test.acme).await.last.rows, 0, "the early row may still come");
    transaction.commit().await.unwrap();
    while term.step().await.unwrap() {}
    let checked = test.check(&test.acme).await;
    assert_eq!((checked.found, checked.last.rows), (0, 2));
}

#[tokio::test]
async fn an_open_transaction_of_a_tenants_own_login_delays_that_tenant_alone() {
    let test = Test::new().await;
    let login = TrafficLogin::of(&test.acme.name);
    test.run(&format!(
        "CREATE ROLE \"{login}\" LOGIN NOINHERIT PASSWORD 'own'; GRANT \"{}\" TO \"{login}\" WITH INHERIT FALSE, SET TRUE",
        test.acme.role.as_str(),
    ))
    .await;
    let mut term = test.term().await;
    assert!(!term.step().await.unwrap());
    let options: PgConnectOptions = test.fixture.url.parse().unwrap();
    let options = options.username(login.as_str()).password("own");
    let mut own = PgConnection::connect_with(&options).await.unwrap();
    let mut open = own.begin().await.unwrap();
    let role = format!("SET LOCAL ROLE \"{}\"", test.acme.role.as_str());
    sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut *open).await.unwrap();
    assert_eq!(insert(&mut open, 1).await.len(), 1);
    test.write(&test.acme, 2).await;
    test.write(&test.globex, 3).await;
    for _ in 0..5 {
        while term.step().await.unwrap() {}
    }
    assert_eq!(test.check(&test.globex).await.last.rows, 3, "others are sealed");
    assert_eq!(test.check(&test.acme).await.last.rows, 0, "its own row may still come");
    // Another process goes on with what it reads.
    let mut term = test.term().await;
    test.write(&test.globex, 1).await;
    for _ in 0..5 {
        while term.step().await.unwrap() {}
    }
    assert_eq!(test.check(&test.globex).await.last.rows, 4);
    open.commit().await.unwrap();
    for _ in 0..5 {
        while term.step().await.unwrap() {}
    }
    for (tenant, rows) in [(&test.acme, 3), (&test.globex, 4)] {
        let checked = test.check(tenant).await;
        assert_eq!((checked.found, checked.last.rows), (0, rows));
    }
    let late: i64 = sqlx::query_scalar("SELECT count(*) FROM tenantry.audit_late")
        .fetch_one(&test.fixture.admin)
        .await
        .unwrap();
    assert_eq!(late, 0);
    own.close().await.unwrap();
    test.run(&format!("DROP ROLE \"{login}\"")).await;
}

#[tokio::test]
async fn a_process_that_lost_the_duty_seals_nothing() {
    let test = Test::new().await;
    test.write(&test.acme, 2).await;
    let mut term = test.term().await;
    test.run("UPDATE tenantry.duty SET epoch = epoch + 1 WHERE name = 'seal'").await;
    let mut ended = term.step().await;
    for _ in 0..20 {
        if ended.is_err() {
            break;
        }
        ended = term.step().await;
    }
    assert!(matches!(ended, Err(Lost::NotAlone)), "{ended:?}");
    assert_eq!(test.check(&test.acme).await.last.rows, 0);
}

#[tokio::test]
async fn a_backlog_is_sealed_in_windows_and_a_forged_head_is_not_continued() {
    let test = Test::new().await;
    test.write(&test.acme, 4500).await;
    let mut term = test.term().await;
    assert!(term.step().await.unwrap(), "more wait");
    while term.step().await.unwrap() {}
    let checked = test.check(&test.acme).await;
    assert_eq!((checked.found, checked.last.rows), (0, 4500));
    assert!(checked.last.seal >= 3, "{checked:?}");

    test.run("UPDATE tenantry.audit_head SET mac = sha256(mac)").await;
    test.write(&test.acme, 1).await;
    test.write(&test.globex, 1).await;
    test.seal().await;
    assert_eq!(test.check(&test.globex).await.last.rows, 1, "others go on");
    let findings = test.findings(&test.acme).await;
    assert!(matches!(findings.as_slice(), [Finding::Inserted { .. }, Finding::HeadForged]), "{findings:?}");
}

#[tokio::test]
async fn a_tenants_transaction_chooses_neither_the_number_nor_the_time_of_its_rows() {
    let test = Test::new().await;
    for (column, value) in [("id", "1"), ("occurred_at", "now()"), ("role", "current_user")] {
        let mut connection = test.fixture.admin.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let sql = format!(
            "SET LOCAL ROLE \"{}\"; INSERT INTO tenantry.audit ({column}, actor, action, app, doc_type, doc_id, doc_version, \
             request_id) VALUES ({value}, 'ann', 'Create', 'crm', 'customer', '1', 1, '')",
            test.acme.role.as_str()
        );
        let refused = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{column}");
    }
    for sql in
        ["UPDATE tenantry.audit SET actor = 'x'", "DELETE FROM tenantry.audit", "TRUNCATE tenantry.audit"]
    {
        let mut connection = test.fixture.admin.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let sql = format!("SET LOCAL ROLE \"{}\"; {sql}", test.acme.role.as_str());
        let refused = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *transaction).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}");
    }
}
