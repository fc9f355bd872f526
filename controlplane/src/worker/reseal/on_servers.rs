//! Secrets move to another key on a real server.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::*;
use crate::{
    fixture::{self, Fixture},
    instances::Home,
    postgres::Tuning,
    vault::Place,
};

const APP: &str = r#"
version: 1.0.0
docTypes:
  - name: card
    naming: {strategy: Series, pattern: "C-.####"}
    fields:
      - {name: pin, type: Secret}
      - {name: puk, type: Secret}
"#;

const PIN: Place<'static> = Place::Field { app: "crm", doc_type: "card", field: "pin" };

struct Test {
    fixture: Fixture,
    tenant: Arc<TenantEntry>,
}

impl Test {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let tenant = fixture.tenant("reseal", &[fixture::app("crm", APP)]).await;
        Self { fixture, tenant }
    }

    fn with(&self, vault: Vault) -> Arc<TenantEntry> {
        let database = Arc::new(self.fixture.database(Tuning::default()));
        let home = Arc::new(Home::with_vault(vault, Some(database)));
        Arc::new(TenantEntry { home, ..TenantEntry::clone(&self.tenant) })
    }

    async fn insert(&self, id: &str, pin: &str, puk: Option<&str>) {
        let puk = puk.map_or("NULL".to_owned(), |puk| format!("'{puk}'"));
        let table = self.table();
        let sql = format!(
            "INSERT INTO {table} (id, pin, puk, created_by, updated_by) VALUES ('{id}', '{pin}', {puk}, 'u', 'u')"
        );
        self.fixture.admin(&sql).await;
    }

    fn table(&self) -> String {
        format!("\"{}\".crm_card", self.tenant.schema.as_str())
    }

    async fn pins(&self) -> Vec<(String, String)> {
        let sql = format!("SELECT id, pin FROM {} ORDER BY id", self.table());
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.fixture.admin).await.unwrap()
    }
}

async fn look(tenant: &Arc<TenantEntry>) -> documents::Looked {
    let doc = tenant.apps.catalog().doc_type("crm", "cards").unwrap();
    let prefix = sealed::prefix_of(tenant.home.vault().unwrap().primary().unwrap());
    Shelf::new(tenant, doc).look(&prefix, None, &Lease::endless(1)).await
}

#[tokio::test]
async fn values_move_to_the_primary_key_and_what_is_under_which_is_told() {
    let test = Test::new().await;
    let old = Vault::of_keys("a", None);
    let origin = test.tenant.origin;
    for n in 0..3 {
        let sealed = old.of(origin).seal(&PIN, &format!("47{n}")).unwrap();
        test.insert(&format!("C-{n}"), &sealed, None).await;
    }
    // More than one transaction of them, in the clear, with a second secret beside.
    test.fixture
        .admin(&format!(
            "INSERT INTO {} (id, pin, puk, created_by, updated_by) \
             SELECT 'D-' || lpad(n::text, 4, '0'), 'clear ' || n, 'puk ' || n, 'u', 'u' FROM generate_series(1, 450) n",
            test.table()
        ))
        .await;
    let foreign = Vault::of_keys("z", None).of(origin).seal(&PIN, "lost").unwrap();
    test.insert("E-1", &foreign, None).await;

    let tenant = test.with(Vault::of_keys("b", Some("a")));
    let looked = look(&tenant).await;
    assert_eq!((looked.moved, looked.unreadable, looked.failed), (3 + 900, 1, false), "{looked:?}");
    assert_eq!(looked.goes_on_after, None);
    let vault = tenant.home.vault().unwrap();
    let primary = vault.primary().unwrap().to_string();
    assert_eq!(looked.found, Some(ByKey::from([(Some(primary), 453 + 450), (Some(String::new()), 1)])));

    // What somebody with direct access stores that is no secret, is not held in memory.
    test.insert("E-2", &"x".repeat(40_000), None).await;
    assert_eq!(look(&tenant).await.moved, 0);
    test.fixture.admin(&format!("DELETE FROM {} WHERE id = 'E-2'", test.table())).await;

    let new_only = Vault::of_keys("b", None);
    for (id, pin) in test.pins().await {
        let opened = new_only.of(origin).open(&PIN, &pin);
        match id.as_str() {
            "E-1" => assert_eq!(pin, foreign, "what no key opens stays as it is"),
            _ => assert!(opened.is_ok(), "{id}"),
        }
    }
    let again = look(&tenant).await;
    assert_eq!((again.moved, again.unreadable), (0, 1));
    let versions: Vec<i64> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT DISTINCT version FROM {}", test.table())))
            .fetch_all(&test.fixture.admin)
            .await
            .unwrap();
    assert_eq!(versions, [1], "no document has changed");
}

#[tokio::test]
async fn authenticators_of_all_tenants_move_at_once() {
    let test = Test::new().await;
    let (old, origin, user) = (Vault::of_keys("a", None), test.tenant.origin, Uuid::new_v4());
    let sealed = old.of(origin).seal(&Place::Authenticator(user), "ABCD").unwrap();
    test.fixture
        .admin(&format!(
            "INSERT INTO tenantry.auth_factor (role, id, nonce, sealed) VALUES ('{}', '{user}', '{user}', '{sealed}')",
            test.tenant.role.as_str()
        ))
        .await;
    let vault = Vault::of_keys("b", Some("a"));
    let registry = Registry::of([TenantEntry::clone(&test.tenant)]);
    let login = Login::of_url(&test.fixture.url);
    let resealer = Resealer {
        cell: InstanceName::default(),
        registry,
        duty: Duty::new(duty::Name::Reseal, &login),
        login,
        vault: Arc::new(vault),
        metrics: ResealMetrics::register(&prometheus::Registry::new()).unwrap().of(&InstanceName::default()),
    };
    let mut connection = resealer.login.connect().await.unwrap();
    let mut found = authenticators::Found::default();
    let lease = Lease::endless(1);
    assert!(resealer.authenticators(&mut connection, &mut found, &lease).await.unwrap());
    let primary = resealer.vault.primary().unwrap().to_string();
    assert_eq!(found.by_key, ByKey::from([(Some(primary), 1)]));
    let stored: String = sqlx::query_scalar("SELECT sealed FROM tenantry.auth_factor WHERE id = $1")
        .bind(user)
        .fetch_one(&test.fixture.admin)
        .await
        .unwrap();
    let opened = Vault::of_keys("b", None).of(origin).open(&Place::Authenticator(user), &stored).unwrap();
    assert_eq!(opened.as_str(), "ABCD");
    assert!(!resealer.authenticators(&mut connection, &mut found, &lease).await.unwrap(), "nothing is due");
}
